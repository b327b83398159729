package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// open opens a store that is closed with the test.
func open(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// openScanned opens a store, and waits until it has read its directory for the first time.
func openScanned(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	scanned := make(chan struct{})
	var once sync.Once
	o.Scanned = func(int) { once.Do(func() { close(scanned) }) }
	s := open(t, dir, o)
	<-scanned
	return s
}

// content gives n bytes that differ for each seed.
func content(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(b) // never fails
	return b
}

// source serves b, and counts.
type source struct {
	b       []byte
	fetches atomic.Int64
	offset  atomic.Int64 // of the last fetch
}

func (s *source) want() Want {
	return Want{Digest: digest.FromBytes(s.b), Size: int64(len(s.b)), From: "test", Fetch: s.fetch}
}

func (s *source) fetch(_ context.Context, offset, length int64) (io.ReadCloser, error) {
	s.fetches.Add(1)
	s.offset.Store(offset)
	if offset > int64(len(s.b)) {
		return nil, errors.New("range not satisfiable")
	}
	end := int64(len(s.b))
	if length >= 0 {
		end = min(end, offset+length)
	}
	return io.NopCloser(bytes.NewReader(s.b[offset:end])), nil
}

// get gets a blob that must come.
func get(t testing.TB, s *Store, w Want) *File {
	t.Helper()
	f, err := s.Get(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	settled(t, s)
	return f
}

// settled waits until what was downloaded, put or adopted has its place.
func settled(t testing.TB, s *Store) {
	t.Helper()
	eventually(t, "all that came has its place", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for dl := range s.underWay() {
			if dl.over {
				return false
			}
		}
		return len(s.placing) == 0
	})
}

// holds checks what a file gives.
func holds(t testing.TB, f *File, want []byte) {
	t.Helper()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
	if err != nil || !bytes.Equal(b, want) {
		t.Fatalf("the file gives %d bytes that aren't the %d that are right (%v)", len(b), len(want), err)
	}
}

// fill gets a blob and closes it again.
func fill(t testing.TB, s *Store, b []byte) digest.Digest {
	t.Helper()
	src := &source{b: b}
	f := get(t, s, src.want())
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return f.Digest()
}

// files lists the regular files below dir.
func files(t testing.TB, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && !e.IsDir() {
			out = append(out, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// empty checks that nothing was kept of what came.
func empty(t *testing.T, s *Store) {
	t.Helper()
	if f := append(files(t, s.blobs()), files(t, s.partials())...); len(f) > 0 {
		t.Errorf("kept: %q", f)
	}
}

// eventually waits for what goes on behind.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestABlobIsFetchedOnceAndThenServed(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	for _, b := range [][]byte{content(1, 1<<20), {}, []byte("x")} {
		src := &source{b: b}
		for range 3 {
			f := get(t, s, src.want())
			holds(t, f, b)
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			if f.Close() != nil {
				t.Error("a second Close fails")
			}
		}
		want := int64(min(1, len(b))) // an empty blob is known by its digest
		if n := src.fetches.Load(); n != want {
			t.Errorf("%d fetches of %d bytes", n, len(b))
		}
		if got, err := os.ReadFile(s.blob(digest.FromBytes(b))); err != nil || !bytes.Equal(got, b) {
			t.Errorf("the file of the store isn't the blob: %v", err)
		}
	}
	if st := s.Stats(); st.Downloads != 3 || st.Misses != 3 || st.Hits != 6 {
		t.Errorf("stats: %+v", st)
	}
	eventually(t, "nothing is open", func() bool { return s.Stats().Open == 0 })
	if left := files(t, s.partials()); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

func TestWhatDoesntMatchIsRefusedAndNotKept(t *testing.T) {
	right := content(1, 300<<10)
	for name, came := range map[string][]byte{
		"another content": content(2, 300<<10),
		"short":           right[:200<<10],
		"empty":           nil,
		"long":            append(bytes.Clone(right), 'x'),
		"much longer":     append(bytes.Clone(right), content(3, 1<<20)...),
	} {
		for size, known := range map[int64]string{int64(len(right)): "size known", -1: "size unknown"} {
			t.Run(name+", "+known, func(t *testing.T) {
				s := open(t, t.TempDir(), Options{})
				src := &source{b: came}
				w := Want{Digest: digest.FromBytes(right), Size: size, Fetch: src.fetch}
				if f, err := s.Get(t.Context(), w); !errors.Is(err, ErrMismatch) || f != nil {
					t.Fatalf("got %v, %v", f, err)
				}
				empty(t, s)
				if n := src.fetches.Load(); n != 1 {
					t.Errorf("fetched %d times", n)
				}
				if _, err := s.Open(w.Digest, -1); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("Open: %v", err)
				}
			})
		}
	}
}

func TestAMalformedDigestIsRefused(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	for _, d := range []digest.Digest{"", "sha256", "sha256:", "sha256:../../etc/passwd", "md5:00", "sha256:abc"} {
		src := &source{}
		if _, err := s.Get(t.Context(), Want{Digest: d, Fetch: src.fetch}); err == nil {
			t.Errorf("Get %q", d)
		}
		if _, err := s.Open(d, -1); err == nil {
			t.Errorf("Open %q", d)
		}
		if err := s.Put(d, nil); err == nil {
			t.Errorf("Put %q", d)
		}
		if src.fetches.Load() != 0 {
			t.Errorf("%q was fetched", d)
		}
	}
}

func TestPutKeepsWhatMatches(t *testing.T) {
	s := open(t, t.TempDir(), Options{MaxBytes: 1 << 20})
	b := content(1, 1000)
	d := digest.FromBytes(b)
	if err := s.Put(d, b[1:]); !errors.Is(err, ErrMismatch) {
		t.Errorf("another content: %v", err)
	}
	empty(t, s)
	for range 2 {
		if err := s.Put(d, b); err != nil {
			t.Fatal(err)
		}
	}
	f, err := s.Open(d, 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	holds(t, f, b)
	settled(t, s)
	if st := s.Stats(); st.Bytes != 4096 || st.Entries != 1 || st.Open != 1 {
		t.Errorf("stats: %+v", st)
	}
	large := content(2, 2<<20)
	if err := s.Put(digest.FromBytes(large), large); err != nil || len(files(t, s.blobs())) != 1 {
		t.Errorf("larger than the store: %v, %q", err, files(t, s.blobs()))
	}
}

func TestExistingEntriesAreFoundAfterReopen(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	a, b := content(1, 1000), content(2, 2000)
	fill(t, s, a)
	fill(t, s, b)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{})
	src := &source{b: a}
	holds(t, get(t, s, src.want()), a) // at once, whether or not the scan is through
	if src.fetches.Load() != 0 {
		t.Error("fetched again")
	}
	eventually(t, "the index is filled", func() bool { st := s.Stats(); return st.Entries == 2 && st.Bytes == 2*4096 })
}

func TestUnknownContentIsRefusedAndUntouched(t *testing.T) {
	for _, name := range []string{"photo.jpg", "v2", ".hidden"} {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := Open(dir, Options{}); err == nil {
			_ = s.Close()
			t.Errorf("a directory with %s was taken", name)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != "mine" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		if all := files(t, dir); len(all) != 1 {
			t.Errorf("written: %q", all)
		}
		if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o755 {
			t.Errorf("the mode was changed: %v, %v", st.Mode(), err)
		}
	}
}

func TestTheDirectoryIsPrivateAndTagged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s := open(t, dir, Options{})
	d := fill(t, s, []byte("x"))
	for path, perm := range map[string]fs.FileMode{dir: 0o700, s.blob(d): 0o600, filepath.Dir(s.blob(d)): 0o700} {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != perm {
			t.Errorf("%s: %v, %v", path, st.Mode(), err)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "CACHEDIR.TAG"))
	if err != nil || !bytes.HasPrefix(b, []byte("Signature: 8a477f597d28d172789f06886806bc55")) {
		t.Errorf("%q, %v", b, err)
	}
}
