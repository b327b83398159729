package cache

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
)

// clocked opens a store, and gives what its clock is to be ahead.
func clocked(t *testing.T, o Options) (*Store, *atomic.Int64) {
	t.Helper()
	read := make(chan struct{})
	hook(t, "scanned", sync.OnceFunc(func() { close(read) }))
	s := open(t, t.TempDir(), o)
	<-read // by its own clock
	ahead := new(atomic.Int64)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	return s, ahead
}

// hook has f be called at a step of the stores that are opened after it.
func hook(t testing.TB, at string, f func()) {
	step = func(name string) {
		if name == at {
			f()
		}
	}
	t.Cleanup(func() { step = func(string) {} })
}

const year = 365 * 24 * time.Hour

// A clock that jumps while the store is open changes nothing of the order of use.
func TestAClockThatJumpsKeepsTheOrderOfUse(t *testing.T) {
	for name, jump := range map[string]time.Duration{"forward": year, "back": -year} {
		t.Run(name, func(t *testing.T) {
			s, ahead := clocked(t, Options{MaxBytes: 40_960})
			var ds []digest.Digest
			for i := range 10 {
				if i == 5 {
					ahead.Store(int64(jump))
				}
				ds = append(ds, fill(t, s, content(byte(i), 4096)))
			}
			fill(t, s, content(0, 4096)) // a is used after the jump
			ds = append(ds, fill(t, s, content(10, 4096)))
			if k := kept(s, ds); k != "adefghijk" {
				t.Errorf("kept %q", k)
			}
			st, err := os.Stat(s.blob(ds[0]))
			if err != nil || st.ModTime().Sub(s.now()).Abs() > time.Minute {
				t.Errorf("used now, which is %v, and its time is %v (%v)", s.now(), st.ModTime(), err)
			}
		})
	}
}

// What has a time to come was used before the clock was set back: it goes first, in its
// order, and once it is used again it is as any other.
func TestTimesToComeAreBeforeTheClockWasSetBack(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	var ds []digest.Digest
	for i, when := range []time.Duration{year, -2 * time.Hour, 2 * year, -time.Hour, 3 * year} {
		d := fill(t, s, content(byte(i), 4096))
		used := time.Now().Add(when)
		if err := os.Chtimes(s.blob(d), used, used); err != nil {
			t.Fatal(err)
		}
		ds = append(ds, d)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{MaxBytes: 16_384}) // 14_745 at the low watermark
	eventually(t, "down to the bound", func() bool { return kept(s, ds) == "bde" })
	fill(t, s, content(4, 4096)) // e is used
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{MaxBytes: 4915})
	eventually(t, "down to the bound", func() bool { return kept(s, ds) == "e" })
}

// A download's waits and its grace don't go by the time of day, and nothing is told to
// have begun after now.
func TestTransfersOutliveAJumpOfTheClock(t *testing.T) {
	s, ahead := clocked(t, Options{})
	b := content(1, 4096)
	w, let, fetches := held(b)
	c := start(t.Context(), s, w, 2)
	eventually(t, "both wait", func() bool { return waiting(s) == 2 })
	ahead.Store(int64(-year))
	more := start(t.Context(), s, w, 1)
	eventually(t, "all wait", func() bool { return waiting(s) == 3 })
	close(let)
	for range 2 {
		if o := <-c; o.err != nil {
			t.Fatal(o.err)
		} else {
			holds(t, o.f, b)
			_ = o.f.Close()
		}
	}
	o := <-more
	if o.err != nil || fetches.Load() != 1 {
		t.Fatalf("%v, %d fetches", o.err, fetches.Load())
	}
	_ = o.f.Close()
}

// What is swept is old by any clock: what is fresh, and what is from a time to come,
// stays, and so does what someone has locked.
func TestTheSweepTakesOnlyWhatIsOld(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	if err := os.MkdirAll(s.quarantine(), 0o700); err != nil {
		t.Fatal(err)
	}
	lock := func(path string) {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		if err := tryLock(f); err != nil {
			t.Fatal(err)
		}
	}
	private := filepath.Base(s.partial(bigDigest()))
	for _, c := range []struct {
		name  string
		age   time.Duration
		stays bool
	}{
		{"partial/sha256-fresh", time.Minute, true},
		{"partial/sha256-old", leftFor + time.Minute, false},
		{"partial/sha256-locked", leftFor + time.Minute, true},
		{"partial/sha256-tocome", -year, true},
		{"partial/tmp-fresh", time.Minute, true},
		{"partial/tmp-old", leftFor + time.Minute, false},
		{"partial/tmp-locked", leftFor + time.Minute, true},
		{"partial/tmp-tocome", -year, true},
		{"partial/" + private + ".1", time.Minute, false}, // nobody looks for it
		{"partial/" + private + ".2-locked", time.Minute, true},
		{"partial/" + laterPrefix + private, time.Minute, false},
		{"partial/" + laterPrefix + private + "-locked", time.Minute, true},
		{"partial/" + private, time.Minute, true},
		{"partial/notes.txt", time.Minute, true},
		{"quarantine/fresh", time.Minute, true},
		{"quarantine/old", leftFor + time.Minute, false},
	} {
		path := filepath.Join(dir, version, c.name)
		if err := os.WriteFile(path, []byte("left"), 0o600); err != nil {
			t.Fatal(err)
		}
		written := time.Now().Add(-c.age)
		if err := os.Chtimes(path, written, written); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(path, "-locked") {
			lock(path)
		}
		defer func() {
			if _, err := os.Lstat(path); (err == nil) != c.stays || err != nil && !os.IsNotExist(err) {
				t.Errorf("%s: %v", c.name, err)
			}
		}()
	}
	s.sweep()
}

// Partial files that nobody continues go while the store is open, also where nothing is downloaded
// any more.
func TestWhatIsLeftGoesWhileTheStoreIsOpen(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, Options{})
		left := s.partial(bigDigest())
		replace(t, left, []byte("a part of a blob"))
		now := time.Now() // the disk has another
		if err := os.Chtimes(left, now, now); err != nil {
			t.Fatal(err)
		}
		time.Sleep(leftFor / 2)
		synctest.Wait()
		if _, err := os.Stat(left); err != nil {
			t.Error(err)
		}
		time.Sleep(3 * leftFor / 2)
		synctest.Wait()
		if _, err := os.Stat(left); !os.IsNotExist(err) {
			t.Errorf("after two days: %v", err)
		}
	})
}

// A private partial file that a sweep takes before it is locked is made again, and its blob kept.
func TestAPrivateFileThatIsSweptBeforeItIsLockedIsMadeAgain(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	var once sync.Once
	was := flock
	locksAre(t, func(fd, how int) error {
		if left := files(t, s.partials()); len(left) == 1 && strings.Contains(filepath.Base(left[0]), ".") {
			once.Do(func() { _ = os.Remove(left[0]) })
		}
		return was(fd, how)
	})
	src := &source{b: content(1, 1000)}
	dl, _, err := s.join(t.Context(), src.want(), true)
	if err != nil {
		t.Fatal(err)
	}
	<-dl.ended
	s.leave(dl)
	settled(t, s)
	if _, err := os.Stat(s.blob(dl.want.Digest)); err != nil {
		t.Errorf("it wasn't kept: %v", err)
	}
	if left := files(t, s.partials()); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}
