package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

// flip damages a cached blob, whose size and times stay as they were.
func flip(t *testing.T, l layout, d digest.Digest) {
	t.Helper()
	path := l.blob(d)
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	replace(t, path, b)
	if err := os.Chtimes(path, st.ModTime(), st.ModTime()); err != nil {
		t.Fatal(err)
	}
}

// aged makes a blob one that was last used long ago.
func aged(t *testing.T, l layout, d digest.Digest, age time.Duration) {
	t.Helper()
	at := time.Now().Add(-age)
	if err := os.Chtimes(l.blob(d), at, at); err != nil {
		t.Fatal(err)
	}
}

// unclean gives a cache that holds blobs, of a process that was killed.
func unclean(t *testing.T, blobs ...[]byte) layout {
	t.Helper()
	dir := t.TempDir()
	s := open(t, dir, Options{})
	for _, b := range blobs {
		fill(t, s, b)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	kill(t, holder(t, dir))
	return s.layout
}

// workedOff waits until nothing is in doubt any more.
func workedOff(t *testing.T, s *Store) {
	t.Helper()
	eventually(t, "nothing is in doubt", func() bool {
		_, n := s.users()
		s.checker.mu.Lock()
		defer s.checker.mu.Unlock()
		return n == 0 && !s.checker.doubt.is
	})
}

// checks counts the checks that are through.
func checks(t *testing.T) *atomic.Int64 {
	var n atomic.Int64
	hook(t, "checked", func() { n.Add(1) })
	return &n
}

// unlisted keeps the background from working off anything until what it gives is called.
func unlisted(t *testing.T) (listed func()) {
	let := make(chan struct{})
	listed = sync.OnceFunc(func() { close(let) })
	hook(t, "listed", func() { <-let })
	return listed
}

// After a process was killed, no byte is read of what it may have left damaged before that was
// hashed again, however large it is; what is older isn't looked at.
func TestNoByteIsReadOfWhatIsInDoubt(t *testing.T) {
	listed := unlisted(t)
	small, large, sound, old := content(1, 1000), content(2, checkAtOnce+1), content(3, checkAtOnce+2), content(4, 1000)
	l := unclean(t, small, large, sound, old)
	for _, b := range [][]byte{small, large, old} {
		flip(t, l, digest.FromBytes(b))
	}
	aged(t, l, digest.FromBytes(old), time.Hour)

	s := open(t, l.dir, Options{})
	t.Cleanup(listed) // before Close, which waits for it
	for _, c := range []struct {
		b   []byte
		err error
	}{{small, fs.ErrNotExist}, {large, ErrUnchecked}, {sound, ErrUnchecked}, {old, nil}} {
		f, err := s.Open(digest.FromBytes(c.b), -1)
		if err == nil {
			_ = f.Close()
		}
		if !errors.Is(err, c.err) || err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%d bytes: %v", len(c.b), err)
		}
	}
	for _, c := range []struct {
		b       []byte
		fetches int64
	}{{small, 1}, {large, 1}, {sound, 0}} {
		src := &source{b: c.b}
		holds(t, get(t, s, src.want()), c.b)
		if src.fetches.Load() != c.fetches {
			t.Errorf("%d bytes: %d fetches", len(c.b), src.fetches.Load())
		}
	}
	if n := s.Stats().Quarantined; n != 2 {
		t.Errorf("%d are set aside", n)
	}
	if _, err := os.Stat(s.blob(digest.FromBytes(old))); err != nil {
		t.Errorf("what is old: %v", err)
	}
}

// A stream shows nothing of what is in doubt either.
func TestAStreamOfWhatIsInDoubtWaitsForItsCheck(t *testing.T) {
	listed := unlisted(t)
	b := content(1, checkAtOnce+1)
	l := unclean(t, b)
	flip(t, l, digest.FromBytes(b))
	s := open(t, l.dir, Options{})
	t.Cleanup(listed)
	src := &source{b: b}
	st := s.Stream(src.want())
	defer st.Close()
	got := make([]byte, len(b))
	if n, err := st.ReadAt(t.Context(), got, 0); n != len(b) || err != nil && err != io.EOF || !bytes.Equal(got, b) {
		t.Errorf("%d bytes, %v; right: %t", n, err, bytes.Equal(got, b))
	}
	if src.fetches.Load() != 1 {
		t.Errorf("%d fetches", src.fetches.Load())
	}
	settled(t, s)
}

// One hashing serves all who wait, each may leave, the next one goes on where they stopped, and
// what was hashed isn't again: neither by another reader, nor behind, nor by the next process.
func TestWhatIsInDoubtIsHashedOnce(t *testing.T) {
	n := checks(t)
	large, other := content(1, checkAtOnce+1), content(2, 1000)
	l := unclean(t, large, other)
	s := open(t, l.dir, Options{})
	var got errgroup.Group
	for range 20 {
		got.Go(func() error {
			f, err := s.Get(t.Context(), (&source{b: large}).want())
			if err != nil {
				return err
			}
			defer f.Close()
			if b, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size())); err != nil || !bytes.Equal(b, large) {
				return fmt.Errorf("%d bytes, %v", len(b), err)
			}
			return nil
		})
	}
	if err := got.Wait(); err != nil {
		t.Error(err)
	}
	workedOff(t, s)
	if got := n.Load(); got != 3 { // and childContent
		t.Errorf("%d were hashed", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, l.dir, Options{})
	holds(t, get(t, s, (&source{b: large}).want()), large)
	if got := n.Load(); got != 3 {
		t.Errorf("%d were hashed after another start", got)
	}
}

// A reader to whom Open said that a blob is in doubt comes too late: the check is over by then.
func TestADoubtThatIsOverIsntCheckedAgain(t *testing.T) {
	n := checks(t)
	large := content(1, checkAtOnce+1)
	l := unclean(t, large)
	s := open(t, l.dir, Options{})
	want := (&source{b: large}).want()
	holds(t, get(t, s, want), large)
	workedOff(t, s)
	before := n.Load()
	if err := s.examineAfter(t.Context(), want, ErrUnchecked); err != nil {
		t.Fatal(err)
	}
	if got := n.Load(); got != before {
		t.Errorf("it was hashed %d times more", got-before)
	}
}

// A reader that waits for a check can leave at once, and the check is gone on with later.
func TestACheckThatIsInterruptedIsGoneOnWith(t *testing.T) {
	listed := unlisted(t)
	b := content(1, checkAtOnce+1)
	d := digest.FromBytes(b)
	l := unclean(t, b)
	s := open(t, l.dir, Options{})
	t.Cleanup(listed)
	for range cap(s.checker.slots) { // no place for it
		s.checker.slots <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	src := &source{b: b}
	ended := make(chan error)
	go func() { _, err := s.Get(ctx, src.want()); ended <- err }()
	eventually(t, "it is told", func() bool {
		ts := s.Transfers()
		return len(ts) == 1 && ts[0].Kind == "check" && ts[0].Size == int64(len(b))
	})
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	other := content(2, 1000)
	holds(t, get(t, s, (&source{b: other}).want()), other) // waits for nobody

	// It had come that far.
	s.checker.mu.Lock()
	k := s.checker.checks[d]
	s.checker.mu.Unlock()
	eventually(t, "nobody hashes", func() bool { s.checker.mu.Lock(); defer s.checker.mu.Unlock(); return k.run == nil })
	const done = 1 << 20
	k.hash.Write(b[:done])
	k.done.Store(done)
	for range cap(s.checker.slots) {
		<-s.checker.slots
	}
	holds(t, get(t, s, src.want()), b)
	if k.done.Load() != int64(len(b)) || src.fetches.Load() != 0 {
		t.Errorf("%d bytes were hashed, %d fetches", k.done.Load(), src.fetches.Load())
	}
}

// While one process works off what is in doubt, another serves nothing of it unchecked, and
// takes over what the first one leaves.
func TestWhatAnotherProcessWorksOffIsInDoubtHereToo(t *testing.T) {
	listed := unlisted(t)
	b := content(1, checkAtOnce+1)
	l := unclean(t, b)
	flip(t, l, digest.FromBytes(b))
	one := open(t, l.dir, Options{})
	t.Cleanup(listed)
	two := open(t, l.dir, Options{})
	t.Cleanup(listed)
	if _, err := two.Open(digest.FromBytes(b), -1); !errors.Is(err, ErrUnchecked) {
		t.Errorf("the other serves it: %v", err)
	}
	one.cancel() // before it has done anything
	listed()
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	workedOff(t, two)
	if n := two.Stats().Quarantined; n != 1 {
		t.Errorf("%d are set aside", n)
	}
}

// A blob that is fetched, put or adopted anew isn't in doubt any more.
func TestWhatIsNewIsntInDoubt(t *testing.T) {
	let := make(chan struct{})
	var checked atomic.Int64
	step = func(name string) {
		switch name {
		case "listed":
			<-let
		case "checked":
			checked.Add(1)
		}
	}
	t.Cleanup(func() { step = func(string) {} })
	put, adopted := content(1, 1000), content(2, 1000)
	l := unclean(t, put, adopted)
	flip(t, l, digest.FromBytes(put))
	flip(t, l, digest.FromBytes(adopted))
	s := open(t, l.dir, Options{})
	t.Cleanup(func() { close(let) })
	if err := s.Put(digest.FromBytes(put), put); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(s.Staging(), 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.Staging(), "x")
	if err := os.WriteFile(path, adopted, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Adopt(digest.FromBytes(adopted), 1000, path); err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{put, adopted} {
		f, err := s.Open(digest.FromBytes(b), -1)
		if err != nil {
			t.Fatal(err)
		}
		holds(t, f, b)
		_ = f.Close()
	}
	if n := checked.Load(); n != 0 {
		t.Errorf("%d were hashed", n)
	}
}

// The background leaves the disk to readers: while one waits for a check, it reads nothing.
func TestTheBackgroundGivesWayToReaders(t *testing.T) {
	b := content(1, 3<<20)
	l := unclean(t, b)
	s := open(t, l.dir, Options{})
	workedOff(t, s)
	another := &check{} // that a reader waits for
	count := func(n int) {
		s.checker.mu.Lock()
		defer s.checker.mu.Unlock()
		s.checker.count(another, n)
	}
	count(1)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { _, err := s.checker.wait(ctx, digest.FromBytes(b), 0, false); ended <- err }()
	done := func() int64 {
		s.checker.mu.Lock()
		defer s.checker.mu.Unlock()
		if k := s.checker.checks[digest.FromBytes(b)]; k != nil {
			return k.done.Load()
		}
		return 0
	}
	eventually(t, "it has begun", func() bool { return done() > 0 })
	if n := done(); n != 256<<10 {
		t.Errorf("it read %d bytes", n)
	}
	if v, err := s.checker.check(t.Context(), digest.FromBytes(b)); err != nil || !v.sound { // a reader makes it fast
		t.Errorf("%+v, %v", v, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	cancel()
	count(-1)
}

// A right file isn't called damaged, whoever asks for it with whichever size; one that was mended
// meanwhile isn't set aside.
func TestAWantOfAnotherSizeThanARightFileHas(t *testing.T) {
	var worst func()
	hook(t, "setting aside", func() { worst() })
	s := open(t, t.TempDir(), Options{})
	b := content(1, 1000)
	d := fill(t, s, b)
	for size, want := range map[int64]error{1000: nil, -1: nil, 999: ErrMismatch} {
		if err := s.examine(t.Context(), Want{Digest: d, Size: size}); !errors.Is(err, want) {
			t.Errorf("size %d: %v", size, err)
		}
	}
	halve(t, s, d)
	bad, err := os.Open(s.blob(d))
	if err != nil {
		t.Fatal(err)
	}
	defer bad.Close()
	worst = func() { replace(t, s.blob(d), b) }
	s.setAside(d, bad, "the test says so")
	if got, err := os.ReadFile(s.blob(d)); err != nil || !bytes.Equal(got, b) {
		t.Errorf("the right file: %d bytes, %v", len(got), err)
	}
	if left := files(t, s.quarantine()); len(left) > 0 || s.Stats().Quarantined != 0 {
		t.Errorf("set aside: %q, %+v", left, s.Stats())
	}
}

// Wants of a wrong size cost one read of the blob. A file that is cut off later is found out all
// the same.
func TestWantsOfAWrongSizeHashTheBlobOnce(t *testing.T) {
	n := checks(t)
	s := open(t, t.TempDir(), Options{})
	src := &source{b: content(1, 1000)}
	d := fill(t, s, src.b)
	wrong := src.want()
	for wrong.Size = range 5 {
		if f, err := s.Get(t.Context(), wrong); !errors.Is(err, ErrMismatch) {
			t.Fatalf("%d bytes: got %v, %v", wrong.Size, f, err)
		}
		st := s.Stream(wrong)
		if _, err := st.ReadAt(t.Context(), make([]byte, 1), 0); !errors.Is(err, ErrMismatch) {
			t.Errorf("a stream of %d bytes: %v", wrong.Size, err)
		}
		_ = st.Close()
	}
	if n.Load() != 1 || src.fetches.Load() != 0 {
		t.Errorf("hashed %d times, fetched %d times", n.Load(), src.fetches.Load())
	}
	halve(t, s, d)
	holds(t, get(t, s, src.want()), src.b)
	if n := s.Stats().Quarantined; n != 1 {
		t.Errorf("%d were set aside", n)
	}
}

// Who is interrupted leaves it to the next.
func TestAnInterruptedCheckIsGoneOnWithByTheNextProcess(t *testing.T) {
	listed := unlisted(t)
	l := unclean(t)
	flip(t, l, digest.FromBytes(childContent))
	aside := filepath.Join(l.quarantine(), digest.FromBytes(childContent).Encoded())
	s := open(t, l.dir, Options{})
	s.cancel()
	listed()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, n := l.users(); n != 1 {
		t.Fatalf("%d are found to have ended uncleanly", n)
	}
	if _, err := os.Stat(aside); err == nil {
		t.Fatal("it wasn't interrupted")
	}
	s = open(t, l.dir, Options{})
	workedOff(t, s)
	if _, err := os.Stat(aside); err != nil {
		t.Error(err)
	}
}

// Close ends the wait for a check, as it ends every other.
func TestCloseEndsTheWaitForACheck(t *testing.T) {
	listed := unlisted(t)
	defer listed()
	b := content(2, checkAtOnce+1)
	l := unclean(t, b)
	s := open(t, l.dir, Options{})
	for range cap(s.checker.slots) {
		s.checker.slots <- struct{}{}
	}
	src := &source{b: b}
	c := start(t.Context(), s, src.want(), 1)
	eventually(t, "it waits", func() bool { return len(s.Transfers()) == 1 })
	closed := make(chan error)
	go func() { closed <- s.Close() }()
	if o := <-c; !errors.Is(o.err, ErrClosed) {
		t.Errorf("got %v", o.err)
	}
	listed()
	if err := <-closed; err != nil {
		t.Error(err)
	}
}
