package cache

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// halve damages a cached blob, as a failing disk would.
func halve(t *testing.T, s *Store, d digest.Digest) {
	t.Helper()
	b, err := os.ReadFile(s.blob(d))
	if err != nil {
		t.Fatal(err)
	}
	replace(t, s.blob(d), b[:len(b)/2])
}

// replace puts another file in the place of one.
func replace(t *testing.T, path string, b []byte) {
	t.Helper()
	fresh := filepath.Join(filepath.Dir(path), "new-"+filepath.Base(path)) // which no sweep takes for a private one
	if err := os.WriteFile(fresh, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(fresh, path); err != nil {
		t.Fatal(err)
	}
}

// A disk that damages a blob each time isn't given it again: the blob is served all the
// same, and the log names the disk.
func TestABlobThatIsDamagedAgainAndAgainIsntKept(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	var log bytes.Buffer
	s := open(t, t.TempDir(), Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	src := &source{b: content(1, 1000)}
	d := fill(t, s, src.b)
	for n := 1; n <= spoilAfter; n++ {
		halve(t, s, d)
		f := get(t, s, src.want())
		holds(t, f, src.b)
		_ = f.Close()
		if src.fetches.Load() != int64(n) || s.Stats().Quarantined != int64(n) {
			t.Fatalf("damaged %d times: %d fetches, %+v", n, src.fetches.Load(), s.Stats())
		}
	}
	if got := len(files(t, s.blobs())) + len(files(t, s.partials())) + len(files(t, tmp)); got != 0 {
		t.Errorf("%d files of it are kept", got)
	}
	if err := s.Put(d, src.b); err != nil || len(files(t, s.blobs())) != 0 {
		t.Errorf("put where it was damaged: %v", err)
	}
	holds(t, get(t, s, src.want()), src.b)
	if !strings.Contains(log.String(), "disk of the cache may be failing") {
		t.Errorf("the log doesn't name the disk:\n%s", log.String())
	}
	other := fill(t, s, content(2, 1000)) // all else is kept
	if _, err := os.Stat(s.blob(other)); err != nil {
		t.Error(err)
	}

	s.mu.Lock()
	for i, at := range s.damaged[d] {
		s.damaged[d][i] = at.Add(-spoilWithin - time.Second)
	}
	s.mu.Unlock()
	holds(t, get(t, s, src.want()), src.b)
	if _, err := os.Stat(s.blob(d)); err != nil {
		t.Errorf("after a while it is tried again: %v", err)
	}
}

// What was put in place of a damaged file meanwhile isn't set aside for it.
func TestOnlyTheFileThatWasDamagedIsSetAside(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	b := content(1, 1000)
	d := fill(t, s, b)
	bad, err := os.Open(s.blob(d))
	if err != nil {
		t.Fatal(err)
	}
	defer bad.Close()
	replace(t, s.blob(d), b)
	if to, err := s.aside(d, bad); to != "" || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("set aside as %q, %v", to, err)
	}
	if got, err := os.ReadFile(s.blob(d)); err != nil || !bytes.Equal(got, b) {
		t.Errorf("the good file: %d bytes, %v", len(got), err)
	}
	if left := files(t, s.quarantine()); len(left) > 0 {
		t.Errorf("quarantine: %q", left)
	}
}

// It is kept for a day from then on, and not from when it was last used.
func TestWhatIsSetAsideIsKeptForALook(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	d := fill(t, s, content(1, 1000))
	old := time.Now().Add(-7 * 24 * time.Hour)
	if err := os.Chtimes(s.blob(d), old, old); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(s.blob(d))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s.setAside(d, f, "the test says so")
	s.sweep()
	if _, err := os.Stat(filepath.Join(s.quarantine(), d.Encoded())); err != nil {
		t.Error(err)
	}
}

// Where the disk is full, what was set aside goes before any blob does.
func TestWhatWasSetAsideGoesFirstWhereTheDiskIsFull(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	d := fill(t, s, content(1, 1000))
	if err := os.MkdirAll(s.quarantine(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.quarantine(), "damaged"), content(2, 500), 0o600); err != nil {
		t.Fatal(err)
	}
	s.shrink(500)
	if left := files(t, s.quarantine()); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	if _, err := os.Stat(s.blob(d)); err != nil {
		t.Error(err)
	}
}
