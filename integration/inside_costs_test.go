package integration

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// layered is a registry with two images that share all layers but the top, and the names of all
// their pieces.
type layered struct {
	*registries.Server
	names map[digest.Digest]string
}

func newLayered(t *testing.T) *layered {
	t.Helper()
	s := &layered{startOlareg(t, registries.Options{}), map[digest.Digest]string{}}
	base := tarOf(t, dir("etc/"), file("etc/passwd", "root"), dir("dir/").mode(0o750), file("dir/base", "x"), file("opq/low", "x"),
		file("usr/big", string(content.NoiseBytes(61, 300_000))))
	middle := tarOf(t, file("opq/.wh..wh..opq", ""), file("opq/middle", "x"), file("dir/middle", "x"))
	for tag, version := range map[string]string{"v1": "one", "v2": "two"} {
		top := tarOf(t, dir("app/"), file("app/run", version), file("app/other", version), file("dir/top", "x"), file("opq/top", "x"), file(".wh.gone", ""))
		m := must(repo(t, s.Server, testImage).Image(t.Context(), tag, content.Image{Layers: layersOf(base, middle, top)}))(t)
		s.names[m.Digest], s.names[m.Config.Digest] = "manifest", "config"
		for i, name := range []string{"base", "middle", "top"} {
			s.names[m.Layers[i].Digest] = name
		}
	}
	return s
}

// brings runs a step, and checks which pieces it fetches: their names, sorted.
func (s *layered) brings(t *testing.T, what, want string, step func()) {
	t.Helper()
	s.Forget()
	step()
	var got []string
	for _, r := range s.Requests() {
		name := s.names[digest.Digest(r.Object)]
		if name == "" {
			name = string(r.Kind) // by a tag
		}
		if r.Method != "GET" {
			name = r.Method + " " + name
		}
		got = append(got, name)
	}
	slices.Sort(got)
	if g := strings.Join(got, " "); g != want {
		t.Errorf("%s brings %q, want %q\n%v", what, g, want, s.Requests())
	}
}

// Each step in an image fetches the layers that it needs, and no other.
func TestInsideCosts(t *testing.T) {
	t.Parallel()
	s := newLayered(t)
	cache := filepath.Join(t.TempDir(), "cache")
	m := testMount(t, mounting{cache: cache})
	v1, v2 := m.at(s.Server, testImage, "tags/v1"), m.at(s.Server, testImage, "tags/v2")
	s.brings(t, "a look at the image", "manifest", func() {
		m.sh("ls -lR %[1]s; du -a %[1]s; ls -ld %[1]s/rootfs/ %[1]s/unpacked/*/", v1)
		for _, name := range []string{"rootfs", "unpacked", "archives"} {
			m.sh("find %s", m.at(s.Server, testImage, name))
		}
	})
	s.brings(t, "a file of the top layer", "config top", func() { m.holds(v1+"/rootfs/app/run", []byte("one")) })
	s.brings(t, "all others of that layer", "", func() {
		m.holds(v1+"/rootfs/app/other", []byte("one"))
		m.sh("stat %[1]s/app/run %[1]s/app %[1]s/dir/top %[1]s/opq/top && cat %[1]s/dir/top", v1+"/rootfs")
		m.probe("ENOENT", "stat", v1+"/rootfs/gone")
		m.sh("ls -l %s/unpacked/02-*/ && cat %s/unpacked/02-*/app/run", v1, v1)
	})
	s.brings(t, "a listing down to an opaque directory", "middle", func() { m.lists(v1+"/rootfs/opq", "middle", "top") })
	s.brings(t, "stat of that directory, which nothing describes", "", func() { m.sh("stat %s/rootfs/opq", v1) })
	s.brings(t, "stat of a directory", "base", func() {
		if got := m.sh("stat -c %%a %s/rootfs/dir", v1); got != "750\n" {
			t.Errorf("the directory has mode %s", got)
		}
	})
	all := func() {
		m.sh("ls -lR %[1]s/rootfs/ && find %[1]s/rootfs/ -type f -exec cat {} + && du %[1]s/rootfs/", v1)
	}
	s.brings(t, "all that is in it", "", all)
	s.brings(t, "all of another image that shares layers", "config manifest top", func() {
		m.sh("ls -lR %[1]s/rootfs/ && find %[1]s/rootfs/ -type f -exec cat {} +", v2)
	})

	// What was seen is known when the layers are gone.
	m.evictAll()
	lists := "cd %s/rootfs/ && find . -ls && du -a && ls -lR && stat app/run dir"
	s.brings(t, "listings when nothing is cached", "", func() { m.sh(lists, v1) })
	s.brings(t, "a file when nothing is cached", "top", func() { m.holds(v1+"/rootfs/app/run", []byte("one")) })
	m.evictAll()
	s.brings(t, "diff -r of two images", "top top", func() {
		if r := m.run("diff -r " + v1 + "/rootfs/ " + v2 + "/rootfs/"); r.Code != 1 || strings.Count(r.Stdout, "diff -r") != 2 {
			t.Errorf("diff -r: exit code %d: %s%s", r.Code, r.Stdout, r.Stderr)
		}
	})
	m.evictAll()
	m.unmount()

	m = testMount(t, mounting{cache: cache})
	v1 = m.at(s.Server, testImage, "tags/v1")
	s.brings(t, "listings after a remount, when nothing is cached", "", func() { m.sh(lists, v1) })
}

// A diff of two images, of which nothing is known, fetches each layer once: what is in it has to be
// known.
func TestInsideCostsOfADiff(t *testing.T) {
	t.Parallel()
	s := newLayered(t)
	m := testMount(t, mounting{})
	s.brings(t, "diff -r of two images", "base config config manifest manifest middle top top", func() {
		r := m.run("cd " + m.at(s.Server, testImage, "tags") + " && diff -r v1/rootfs/ v2/rootfs/")
		if strings.Count(r.Stdout, "diff -r") < 2 {
			t.Errorf("diff -r: exit code %d: %s%s", r.Code, r.Stdout, r.Stderr)
		}
	})
}

// evictAll drops all blobs of the cache.
func (m *mounted) evictAll() {
	m.t.Helper()
	m.leavesNothing() // which is evicted by nobody
	m.cache(0, "prune --to 1")
	if blobs := m.cacheStats().Blobs; blobs.Files != 0 {
		m.t.Fatalf("after `ocifs cache prune --to 1` there are %+v", blobs)
	}
}
