package cache

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// agedBlobs puts blobs into a store, the first one used the longest ago, and gives their digests.
func agedBlobs(t *testing.T, s *Store, n int) (ds []digest.Digest) {
	t.Helper()
	for i := range n {
		d := fill(t, s, content(byte(i), 10_000))
		aged(t, s.layout, d, time.Duration(n-i)*time.Hour)
		ds = append(ds, d)
	}
	return ds
}

// left says which of some blobs are on the disk.
func left(t *testing.T, s *Store, of []digest.Digest) (is []int) {
	t.Helper()
	for i, d := range of {
		if _, err := os.Lstat(s.blob(d)); err == nil {
			is = append(is, i)
		}
	}
	return is
}

// A blob that is demoted goes first: here, after a restart, and by prune. One that is used again
// goes last.
func TestADemotedBlobGoesFirst(t *testing.T) {
	for name, evict := range map[string]func(t *testing.T, s *Store, bytes int64){
		"here": func(_ *testing.T, s *Store, bytes int64) { s.evict(bytes) },
		"after a restart": func(t *testing.T, s *Store, bytes int64) {
			_ = s.Close()
			openScanned(t, s.dir, Options{}).evict(bytes)
		},
		"by prune": func(t *testing.T, s *Store, bytes int64) {
			if _, err := at(t, s.dir).Prune(t.Context(), PruneOptions{To: s.Stats().Bytes - bytes}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := openScanned(t, t.TempDir(), Options{})
			ds := agedBlobs(t, s, 5)
			before, err := os.Stat(s.blob(ds[3]))
			if err != nil {
				t.Fatal(err)
			}
			s.Demote(ds[3])
			s.Demote(ds[1])
			s.Demote(digest.FromString("nothing"))
			after, err := os.Stat(s.blob(ds[3]))
			if err != nil {
				t.Fatal(err)
			}
			if !after.ModTime().Equal(before.ModTime()) {
				t.Error("its time changed")
			}
			f, err := s.Open(ds[1], -1)
			if err != nil {
				t.Fatal(err)
			}
			_ = f.Close()
			evict(t, s, 1)
			if is := left(t, s, ds); !slices.Equal(is, []int{0, 1, 2, 4}) {
				t.Errorf("left are %v", is)
			}
			if name != "here" {
				return // the rest is the same
			}
			for _, want := range [][]int{{1, 2, 4}, {1, 4}, {1}} {
				s.evict(1)
				if is := left(t, s, ds); !slices.Equal(is, want) {
					t.Errorf("left are %v, and not %v", is, want)
				}
			}
		})
	}
}

// A demoted blob that was used lately isn't older than it is.
func TestADemotedBlobIsntOlder(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	ds := agedBlobs(t, s, 5)
	s.Demote(ds[4])
	if _, err := at(t, s.dir).Prune(t.Context(), PruneOptions{OlderThan: 150 * time.Minute}); err != nil {
		t.Fatal(err)
	}
	if is := left(t, s, ds); !slices.Equal(is, []int{3, 4}) {
		t.Errorf("left are %v", is)
	}
}

// After an unclean end a demoted blob is in doubt as if it weren't.
func TestADemotedBlobIsInDoubt(t *testing.T) {
	dir := t.TempDir()
	cmd, says := process(t, dir, "holder")
	if l := says(); l != "holding" {
		t.Fatalf("the second process says %q", l)
	}
	s := open(t, dir, Options{})
	d := digest.FromBytes(childContent)
	s.Demote(d)
	_ = s.Close()
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	st, err := os.Stat(s.blob(d))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.blob(d), content(98, len(childContent)), 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(s.blob(d), st.ModTime(), st.ModTime()); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{})
	if f, err := s.Open(d, -1); !errors.Is(err, fs.ErrNotExist) || f != nil {
		t.Errorf("got %v, %v", f, err)
	}
}

// A blob that was read while it came is demoted before it has its place, and goes first all the same.
func TestABlobThatIsDemotedOnItsWayGoesFirst(t *testing.T) {
	s := openScanned(t, t.TempDir(), Options{})
	ds := agedBlobs(t, s, 2)
	b := content(9, 10_000)
	then := atStep(t, "verified")
	demote := func() { s.Demote(digest.FromBytes(b)) }
	then.Store(&demote)
	ds = append(ds, fill(t, s, b))
	settled := func() bool { return len(s.Transfers()) == 0 && s.Stats().Open == 0 } // the job itself has it open until it is demoted
	for late := time.Now().Add(10 * time.Second); !settled() && time.Now().Before(late); {
		time.Sleep(time.Millisecond)
	}
	s.evict(1)
	if is := left(t, s, ds); !slices.Equal(is, []int{0, 1}) {
		t.Errorf("left are %v", is)
	}
}
