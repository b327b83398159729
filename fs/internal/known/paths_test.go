package known

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ocifs/ocifs/registry/ref"
)

// A directory has what is right below it, each once, however the names around it sort;
// what can't be a repository is left out.
func TestADirectoryHasTheComponentsBelowIt(t *testing.T) {
	named := []string{
		"a-b", "a/b", "a", "a.b/c", "a/b/c", "a-b/c", "a/b-c/d", "a/b", "library", "library/alpine", "library/tags",
		"team/tags", "team/tags/sub/blobs", "team/app", "team/app/app", "team/app.x", "team/app__x/y", "team/app0", "a0/b",
		"team1/x", "deep/er/and/deep/er",
		"", "/", "/a", "a/", "a//b", "Team/app", "team/app:v1", "team/-x", "team/../x", "a b", "_tags", strings.Repeat("x", 300),
	}
	dirs := map[string]string{
		"":              "a a-b a.b a0 deep library team team1",
		"a":             "b b-c",
		"a-b":           "c",
		"a.b":           "c",
		"a/b":           "c",
		"library":       "alpine tags",
		"team":          "app app.x app0 app__x tags",
		"team/tags":     "sub",
		"team/tags/sub": "blobs",
		"team/app":      "app",
		"deep/er/and":   "deep",
		"te":            "",
		"none":          "",
		"team1/x":       "",
		"zzz":           "",
	}
	rs := New(Options{})
	for _, p := range newPaths("seen.example", named) {
		for range 2 {
			rs.Repository(ref.Repository{Host: "seen.example", Path: p}).visit()
		}
	}
	rs.Repository(ref.Repository{Host: "another.example", Path: "other"}).visit()
	for dir, want := range dirs {
		for host, paths := range map[string]paths{"named.example": newPaths("named.example", named), "seen.example": nil} {
			if got := strings.Join(rs.Host(host).below(catalog{paths: paths}, dir), " "); got != want {
				t.Errorf("%s/%s has %q, want %q", host, dir, got, want)
			}
		}
	}
	if got := strings.Join(rs.Hosts(), " "); got != "another.example seen.example" {
		t.Errorf("the hosts visited are %q", got)
	}
}

// Listing a directory makes a step for each of its own children, and steps over all that
// is below them or elsewhere in a catalog of 100,000.
func TestADirectoryIsListedWithoutALookAtTheOthers(t *testing.T) {
	ps := newPaths("r.example", manyPaths(100_000))
	for dir, want := range map[string]int{"": 1000, "team7": 100, "team7/app50": 0, "none": 0} {
		n := 0
		for range ps.below(dir) {
			n++
		}
		if n != want {
			t.Errorf("in %q %d steps are made, want %d", dir, n, want)
		}
	}
}

// manyPaths are the paths of n repositories, a hundred in each directory.
func manyPaths(n int) []string {
	named := make([]string, 0, n)
	for i := range n {
		named = append(named, fmt.Sprintf("team%d/app%d", i/100, i%100))
	}
	return named
}

// Listing one directory of a hundred repositories takes as long, whatever else the catalog
// names and this mount has visited. The memory of a repository is reported as well.
func BenchmarkListADirectoryOfACatalog(b *testing.B) {
	for _, n := range []int{100, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			rs := New(Options{ListTTL: time.Hour})
			heap := func() uint64 {
				var m runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&m)
				return m.HeapAlloc
			}
			before := heap()
			named := newPaths("r.example", manyPaths(n))
			each := float64(heap()-before) / float64(n)
			for _, p := range named[:min(n, maxVisited)] {
				rs.Repository(ref.Repository{Host: "r.example", Path: p}).visit()
			}
			for b.Loop() {
				rs.Host("r.example").below(catalog{paths: named}, "team0")
			}
			b.ReportMetric(each, "B/repository")
		})
	}
}
