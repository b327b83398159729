package cache

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// locksAre has flock answer in its own way until the test ends.
func locksAre(t *testing.T, answer func(fd, how int) error) {
	t.Helper()
	was := flock
	flock = answer
	t.Cleanup(func() { flock = was })
}

// brokenLocks are file systems without locks that keep others out.
var brokenLocks = map[string]func(fd, how int) error{
	"NFS without a lock daemon": func(int, int) error { return syscall.ENOLCK },
	"Lustre without -o flock":   func(int, int) error { return syscall.ENOSYS },
	"not supported":             func(int, int) error { return syscall.EOPNOTSUPP },
	"locks that hold nobody":    func(int, int) error { return nil },
}

// Two processes that can't lock each other out download one blob at different paces. Both
// get the right bytes, and the file that has the blob's name never changes.
func TestWhereLocksCantBeHadEachDownloadHasAFileOfItsOwn(t *testing.T) {
	for name, answer := range brokenLocks {
		t.Run(name, func(t *testing.T) {
			locksAre(t, answer)
			dir := t.TempDir()
			one, two := open(t, dir, Options{}), open(t, dir, Options{})
			b := content(6, 3<<20)
			fast := &gatedOrigin{b: b, first: 1 << 20, let: make(chan struct{})}
			late := &gatedOrigin{b: b, first: 2 << 20, let: make(chan struct{})}
			came := func(s *Store, n int64) func() bool {
				return func() bool { ts := s.Transfers(); return len(ts) == 1 && ts[0].Done == n }
			}
			a := start(t.Context(), one, fast.want(), 1)
			eventually(t, "the first has some", came(one, fast.first))
			// The second brings wrong bytes: what it writes must not show in what the first has.
			wrong := late.want()
			inner := wrong.Fetch
			wrong.Fetch = func(ctx context.Context, off, n int64) (io.ReadCloser, error) {
				r, err := inner(ctx, off, n)
				return struct {
					io.Reader
					io.Closer
				}{flipped{r}, r}, err
			}
			z := start(t.Context(), two, wrong, 1)
			eventually(t, "the second has some", came(two, late.first))
			close(fast.let)
			o := <-a
			if o.err != nil {
				t.Fatal(o.err)
			}
			defer o.f.Close()
			settled(t, one)
			path := one.blob(o.f.Digest())
			before, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			close(late.let)
			if o := <-z; o.err == nil {
				t.Error("wrong bytes were taken")
				o.f.Close()
			}
			holds(t, o.f, b)
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, b) {
				t.Errorf("the blob in the cache was changed (%v)", err)
			}
			if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
				t.Errorf("the blob in the cache was replaced (%v)", err)
			}
			holds(t, get(t, two, late.want()), b)
			if left := files(t, one.partials()); len(left) != 0 {
				t.Errorf("left: %q", left)
			}
		})
	}
}

// flipped turns every byte around.
type flipped struct{ io.Reader }

func (r flipped) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	for i := range p[:n] {
		p[i] ^= 0xff
	}
	return n, err
}

func TestLocksThatCantBeHadAreSaidOnceWithAWayOut(t *testing.T) {
	for name, answer := range brokenLocks {
		t.Run(name, func(t *testing.T) {
			log := &logged{}
			o := Options{Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn}))}
			sound := open(t, t.TempDir(), o)
			if why := sound.Stats().NoLocks; why != "" || len(log.lines()) != 0 {
				t.Errorf("of sound locks: %q, %q", why, log.lines())
			}
			_ = sound.Close()
			locksAre(t, answer)
			s := open(t, t.TempDir(), o)
			fill(t, s, content(1, 1000))
			fill(t, s, content(2, 1000))
			if lines := log.lines(); len(lines) != 1 || !strings.Contains(lines[0], "--cache-dir") {
				t.Errorf("said: %q", lines)
			}
			if s.Stats().NoLocks == "" {
				t.Error("the stats don't say it")
			}
		})
	}
}

// What a crash left of a download is swept by its age where no lock can be had.
func TestWhereLocksCantBeHadLeftoversAreSweptByAge(t *testing.T) {
	locksAre(t, brokenLocks["NFS without a lock daemon"])
	dir := t.TempDir()
	if err := open(t, dir, Options{}).Close(); err != nil {
		t.Fatal(err)
	}
	l := layout{dir}
	fresh, old := filepath.Join(l.partials(), "tmp-fresh"), filepath.Join(l.partials(), "tmp-old")
	shared := l.partial(bigDigest())
	for _, path := range []string{fresh, old, shared} {
		replace(t, path, []byte("a part of a blob"))
	}
	long := time.Now().Add(-leftFor - time.Minute)
	for _, path := range []string{old, shared} {
		if err := os.Chtimes(path, long, long); err != nil {
			t.Fatal(err)
		}
	}
	open(t, dir, Options{})
	eventually(t, "only what is fresh is left", func() bool {
		left := files(t, l.partials())
		return len(left) == 1 && left[0] == fresh
	})
}

// A download's file counts for other processes, and neither they nor a sweep after the machine
// slept for a day take it away.
func TestWhereLocksCantBeHadTheFilesOfOthersCountAndStay(t *testing.T) {
	for name, answer := range brokenLocks {
		t.Run(name, func(t *testing.T) {
			locksAre(t, answer)
			dir := t.TempDir()
			one, two := openScanned(t, dir, Options{}), openScanned(t, dir, Options{})
			p := &gatedOrigin{b: content(6, 3<<20), first: 2 << 20, let: make(chan struct{})}
			c := start(t.Context(), one, p.want(), 1)
			eventually(t, "some has come", func() bool { ts := one.Transfers(); return len(ts) == 1 && ts[0].Done == p.first })
			one.scan()
			two.scan()
			if n := one.ledger.sums(); n.left != 0 || n.used() != int64(len(p.b)) {
				t.Errorf("its own process counts %+v", n)
			}
			if n := two.ledger.sums(); n.left != p.first {
				t.Errorf("another process counts %+v", n)
			}
			two.shrink(1 << 40)
			long := time.Now().Add(-leftFor - time.Minute)
			for _, path := range files(t, one.partials()) {
				if err := os.Chtimes(path, long, long); err != nil {
					t.Fatal(err)
				}
			}
			one.scan()
			close(p.let)
			o := <-c
			if o.err != nil {
				t.Fatal(o.err)
			}
			defer o.f.Close()
			settled(t, one)
			if _, err := os.Stat(one.blob(o.f.Digest())); err != nil {
				t.Errorf("it wasn't kept: %v", err)
			}
			two.scan()
			if n := two.ledger.sums(); n.left != 0 || n.kept != int64(len(p.b)) {
				t.Errorf("another process counts %+v when it is over", n)
			}
			countedAsOnDisk(t, one)
		})
	}
}
