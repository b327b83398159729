package cache

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// at gives the directory of a cache as others see it.
func at(t *testing.T, dir string) *Directory {
	t.Helper()
	c, err := At(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// cluttered is a cache in use that has one of each: the store, and what is in it.
func cluttered(t *testing.T) (s *Store, blob, damaged digest.Digest) {
	t.Helper()
	s = openScanned(t, t.TempDir(), Options{For: "the test"}) // the first sweep would take what is private
	blob, damaged = fill(t, s, content(1, 1000)), fill(t, s, content(2, 100))
	aged(t, s.layout, blob, 48*time.Hour)
	for name, size := range map[string]int{
		s.partial(digest.FromString("left")):                            10,
		s.partial(digest.FromString("left")) + ".beside":                20,
		filepath.Join(s.partials(), "tmp-now"):                          30,
		filepath.Join(s.partials(), "tmp-old"):                          40,
		filepath.Join(s.quarantine(), digest.FromString("x").Encoded()): 50,
		filepath.Join(s.partials(), "foreign"):                          60,
		filepath.Join(s.blobs(), "foreign"):                             70,
		filepath.Join(s.dir, version, "foreign"):                        80,
		filepath.Join(s.Staging(), "1-1/tree/file"):                     90,
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, content(3, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-2 * temporaryFor)
	if err := os.Chtimes(filepath.Join(s.partials(), "tmp-old"), old, old); err != nil {
		t.Fatal(err)
	}
	for key, d := range map[string]digest.Digest{"leads": blob, "led": digest.FromString("gone"), "led lately": digest.FromString("gone")} {
		if err := s.Remember(key, Pointer{Digest: d}); err != nil {
			t.Fatal(err)
		}
		if old := time.Now().Add(-2 * pointerFor); key != "led lately" {
			if err := os.Chtimes(s.pointer(key), old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s, blob, damaged
}

// downloading begins a download in a store of its own that has one byte so far, and goes
// on when let is closed.
func downloading(t *testing.T, s *Store) (o <-chan outcome, let chan struct{}, b []byte) {
	t.Helper()
	b = content(77, 5000)
	w, let, fetches := held(b)
	c := start(t.Context(), s, w, 1)
	eventually(t, "it downloads", func() bool { return fetches.Load() == 1 })
	return c, let, b
}

// A survey counts all there is, by what it is, and changes nothing.
func TestASurveyCountsAllAndChangesNothing(t *testing.T) {
	s, _, _ := cluttered(t)
	c, let, _ := downloading(t, s)
	defer func() { close(let); _ = (<-c).f.Close() }()
	before := tree(t, s.dir)
	got, err := at(t, s.dir).Survey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if after := tree(t, s.dir); !slices.Equal(before, after) {
		t.Errorf("it changed\n%q to\n%q", before, after)
	}
	for what, is := range map[string]bool{
		"blobs":       got.Blobs == Held{2, 2 * 4096},
		"left":        got.Left == Held{2, 2 * 4096},
		"downloads":   got.Downloads.Files == 1,
		"temporary":   got.Temporary == Held{2, 2 * 4096},
		"quarantined": got.Quarantined == Held{1, 4096},
		"pointers":    got.Pointers.Files == 3,
		"users":       len(got.Users) == 1 && got.Users[0].For == "the test" && got.Users[0].PID == os.Getpid(),
		"uses":        time.Since(got.OldestUse) > 47*time.Hour && time.Since(got.NewestUse) < time.Hour,
		"disk":        got.Free > 0 && got.Disk >= got.Free && got.Dir == s.dir,
	} {
		if !is {
			t.Errorf("%s: %+v", what, got)
		}
	}
}

// What is no cache is refused, where there is none that is told, and neither is touched.
func TestWhatIsNoCacheIsLeftAsItIs(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"empty", "foreign/precious", "newer/v2", "file"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "file", "v1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	before := tree(t, dir)
	for name, none := range map[string]bool{"absent": true, "empty": true, "foreign": false, "newer": false, "file": false, "file/v1": false} {
		_, err := At(filepath.Join(dir, name))
		if err == nil || errors.Is(err, fs.ErrNotExist) != none {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := At(filepath.Join(dir, "foreign")); err == nil || !strings.Contains(err.Error(), "it was left as it is") {
		t.Errorf("foreign: %v", err)
	}
	if after := tree(t, dir); !slices.Equal(before, after) {
		t.Errorf("it changed\n%q to\n%q", before, after)
	}
}

// All of it ends with the context.
func TestWhatIsDoneToADirectoryEndsWithTheContext(t *testing.T) {
	s, _, _ := cluttered(t)
	before := tree(t, s.dir)
	c := at(t, s.dir)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, do := range map[string]func() error{
		"survey": func() error { _, err := c.Survey(ctx); return err },
		"verify": func() error { _, err := c.Verify(ctx, VerifyOptions{}); return err },
		"prune":  func() error { _, err := c.Prune(ctx, PruneOptions{To: 1}); return err },
		"clear":  func() error { _, err := c.Clear(ctx, nil); return err },
	} {
		if err := do(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after := tree(t, s.dir); !slices.Equal(before, after) {
		t.Errorf("it changed\n%q to\n%q", before, after)
	}
}

// A disk of its own may be a cache, with what the system keeps at its root. Nothing of that is
// counted or removed, and nothing else may have its name.
func TestTheRootOfADiskIsACache(t *testing.T) {
	dir := t.TempDir()
	found := filepath.Join(dir, "lost+found", "#12")
	if err := os.Mkdir(filepath.Dir(found), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(found, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Usable(dir); err != nil {
		t.Error(err)
	}
	s := open(t, dir, Options{})
	fill(t, s, content(1, 1000))
	c, err := At(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Survey(t.Context()); err != nil || got.Blobs.Files != 1 || got.Temporary.Files+got.Left.Files != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := c.Clear(t.Context(), nil); err != nil || got.Total().Files != 1 {
		t.Errorf("cleared: %+v, %v", got, err)
	}
	if _, err := os.Stat(found); err != nil {
		t.Error(err)
	}
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "lost+found"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(other, Options{}); err == nil {
		t.Error("a file lost+found is no disk's")
	}
}
