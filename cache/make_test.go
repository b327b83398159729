package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// maker makes b of a blob, and remembers what it made.
type maker struct {
	b     []byte
	of    digest.Digest
	let   chan struct{} // closed when the second half may be written; nil: at once
	fails error         // after the first half; nil: it doesn't
	makes atomic.Int64
	told  atomic.Int64 // calls of Made
	known atomic.Pointer[digest.Digest]
}

func makerOf(b []byte) *maker {
	return &maker{b: b, of: digest.FromString("packed: " + digest.FromBytes(b).String())}
}

func (m *maker) want() Making {
	return Making{
		Of: m.of, Size: int64(len(m.b)), From: "test", Write: m.write,
		Known: func() (digest.Digest, int64, bool) {
			if d := m.known.Load(); d != nil {
				return *d, int64(len(m.b)), true
			}
			return "", 0, false
		},
		Made: func(d digest.Digest, _ int64) error {
			m.told.Add(1)
			m.known.Store(&d)
			return nil
		},
	}
}

func (m *maker) write(ctx context.Context, w io.Writer, _ io.ReaderAt) error {
	m.makes.Add(1)
	half := len(m.b) / 2
	if _, err := w.Write(m.b[:half]); err != nil {
		return err
	}
	if m.let != nil {
		select {
		case <-m.let:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if m.fails != nil {
		return m.fails
	}
	for part := range slices.Chunk(m.b[half:], 64<<10) {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// made makes a blob, which must succeed.
func made(t testing.TB, s *Store, m Making) *File {
	t.Helper()
	f, err := s.Make(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	madeSettled(t, s)
	return f
}

// madeSettled waits until what was made has its place.
func madeSettled(t testing.TB, s *Store) {
	t.Helper()
	eventually(t, "all that was made has its place", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.makings) == 0
	})
}

// startMaking makes n times at once.
func startMaking(ctx context.Context, s *Store, m Making, n int) <-chan outcome {
	c := make(chan outcome, n)
	for range n {
		go func() {
			f, err := s.Make(ctx, m)
			c <- outcome{f, err}
		}()
	}
	return c
}

// A blob is made once, known by its own digest, and served from the cache then, in this store
// and in the next.
func TestABlobIsMadeOnceAndThenServed(t *testing.T) {
	for name, size := range map[string]int64{"size known": 0, "size unknown": -1} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, Options{})
			for _, b := range [][]byte{content(1, 5<<20), {}, []byte("x")} {
				m := makerOf(b)
				want := m.want()
				if size < 0 {
					want.Size = -1
				}
				for range 3 {
					f := made(t, s, want)
					holds(t, f, b)
					if f.Digest() != digest.FromBytes(b) {
						t.Errorf("its digest is %s", f.Digest())
					}
					_ = f.Close()
				}
				if m.makes.Load() != 1 || m.told.Load() != 1 {
					t.Errorf("made %d times, told %d times", m.makes.Load(), m.told.Load())
				}
				undamaged(t, name, dir)
				f, err := s.Open(digest.FromBytes(b), int64(len(b)))
				if err != nil {
					t.Fatal(err)
				}
				_ = f.Close()
			}
			if st := s.Stats(); st.Made != 3 || st.MakeFailures != 0 || st.Entries != 3 || st.Downloads != 0 {
				t.Errorf("stats: %+v", st)
			}
			eventually(t, "nothing is open", func() bool { return s.Stats().Open == 0 })
			if left := files(t, s.partials()); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
		})
	}
}

// However many want what is made of a blob, it is made once, and each leaves when it wants to.
func TestAThousandWhoWantWhatIsMadeAreOneMaking(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	m := makerOf(content(1, 100<<10))
	m.let = make(chan struct{})
	c := startMaking(t.Context(), s, m.want(), 1000)
	eventually(t, "all wait", func() bool { return waiting(s) == 1000 })
	eventually(t, "half is there", func() bool { return s.Progress(m.of) == 50<<10 })
	tr := s.Transfers()[0]
	if tr.Kind != "unpack" || tr.Digest != m.of || tr.Size != 100<<10 || tr.From != "test" || tr.Done != 50<<10 || tr.Started.IsZero() {
		t.Errorf("transfer: %+v", tr)
	}
	ctx, cancel := context.WithCancel(t.Context())
	one := startMaking(ctx, s, m.want(), 1)
	eventually(t, "one more waits", func() bool { return waiting(s) == 1001 })
	cancel()
	if o := <-one; !errors.Is(o.err, context.Canceled) {
		t.Errorf("who left got %v", o.err)
	}
	close(m.let)
	for range 1000 {
		o := <-c
		if o.err != nil {
			t.Fatal(o.err)
		}
		if m.told.Load() != 1 {
			t.Fatal("the blob was given before it was known")
		}
		_ = o.f.Close()
	}
	if m.makes.Load() != 1 {
		t.Errorf("made %d times", m.makes.Load())
	}
	madeSettled(t, s)
	if n := s.Progress(m.of); n != 0 {
		t.Errorf("progress afterwards: %d", n)
	}
}

// Who was given what was made opens it by its digest at once.
func TestWhatWasMadeIsOpenedByItsDigestAtOnce(t *testing.T) {
	g := gateAt(t, "synced")
	s := open(t, t.TempDir(), Options{})
	b := content(1, 100<<10)
	g.shut.Store(true)
	o := <-startMaking(t.Context(), s, makerOf(b).want(), 1)
	if o.err != nil {
		t.Fatal(o.err)
	}
	defer o.f.Close()
	<-g.reached
	f, err := s.Open(digest.FromBytes(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	holds(t, f, b)
	_ = f.Close()
	close(g.opened)
}

// What is written can be read back while it is written.
func TestAMakerReadsBackWhatItWrote(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	m := makerOf(content(1, 1<<20))
	want := m.want()
	want.Write = func(ctx context.Context, w io.Writer, raw io.ReaderAt) error {
		if _, err := w.Write(m.b[:1000]); err != nil {
			return err
		}
		got := make([]byte, 500)
		if _, err := raw.ReadAt(got, 400); err != nil || !bytes.Equal(got, m.b[400:900]) {
			t.Errorf("read back: %v", err)
		}
		_, err := w.Write(m.b[1000:])
		return err
	}
	holds(t, made(t, s, want), m.b)
}

// What isn't what it should be is nobody's, and nothing of it is kept.
func TestWhatIsMadeWrongIsRefusedAndNotKept(t *testing.T) {
	other := digest.FromString("another")
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		change func(m *maker, want *Making)
		err    error
		told   int64
	}{
		"another blob than is known": {func(_ *maker, want *Making) {
			want.Known = func() (digest.Digest, int64, bool) { return other, want.Size, true }
		}, ErrMismatch, 0},
		"too short":             {func(_ *maker, want *Making) { want.Size++ }, ErrMismatch, 0},
		"too long":              {func(_ *maker, want *Making) { want.Size-- }, ErrMismatch, 0},
		"a maker that fails":    {func(m *maker, _ *Making) { m.fails = broken }, broken, 0},
		"a Made that refuses":   {func(_ *maker, want *Making) { want.Made = func(digest.Digest, int64) error { return broken } }, broken, 0},
		"a Begin that refuses":  {func(_ *maker, want *Making) { want.Begin = func(context.Context) error { return broken } }, broken, 0},
		"a digest that is none": {func(_ *maker, want *Making) { want.Of = "sha256:x" }, digest.ErrDigestInvalidLength, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir(), Options{})
			m := makerOf(content(1, 300<<10))
			want := m.want()
			c.change(m, &want)
			if f, err := s.Make(t.Context(), want); !errors.Is(err, c.err) || f != nil {
				t.Fatalf("got %v, %v", f, err)
			}
			if m.told.Load() != c.told {
				t.Errorf("told %d times", m.told.Load())
			}
			madeSettled(t, s)
			empty(t, s)
			if st := s.Stats(); st.Made != 0 || st.Open != 0 || s.ledger.sums().used() != 0 {
				t.Errorf("stats: %+v", st)
			}
			m.fails = nil
			holds(t, made(t, s, m.want()), m.b) // the next one isn't harmed
		})
	}
}

// A panic of a maker fails those who wait for it, is told, and leaves nothing behind.
func TestAPanicFailsOneMaking(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	told := make(chan string, 10)
	s.OnPanic(func(_ any, stack []byte) { told <- string(stack) })
	m := makerOf(content(1, 1000))
	for name, bad := range map[string]func(*Making){
		"Write": func(w *Making) { w.Write = func(context.Context, io.Writer, io.ReaderAt) error { panic("a bug") } },
		"Made":  func(w *Making) { w.Made = func(digest.Digest, int64) error { panic("a bug") } },
	} {
		want := m.want()
		bad(&want)
		if f, err := s.Make(t.Context(), want); err == nil || !strings.Contains(err.Error(), "panic: a bug") {
			t.Errorf("%s: got %v, %v", name, f, err)
		}
		if stack := <-told; !strings.Contains(stack, "make_test.go") {
			t.Errorf("%s: the stack doesn't show where: %s", name, stack)
		}
		empty(t, s)
	}
	holds(t, made(t, s, m.want()), m.b)
}

// A making lives for as long as anyone waits, and through the grace period, and then its writer
// fails and nothing is left.
func TestAMakingEndsWithItsGrace(t *testing.T) {
	s := open(t, t.TempDir(), Options{Grace: time.Millisecond})
	m := makerOf(content(1, 1<<20))
	ended := make(chan error, 1)
	want := m.want()
	want.Write = func(ctx context.Context, w io.Writer, _ io.ReaderAt) error {
		for {
			if _, err := w.Write(m.b[:1]); err != nil { // which no one tells that nobody waits
				ended <- err
				return err
			}
			time.Sleep(time.Millisecond)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	c := startMaking(ctx, s, want, 1)
	eventually(t, "it is made", func() bool { return s.Progress(m.of) > 0 })
	cancel()
	if o := <-c; !errors.Is(o.err, context.Canceled) {
		t.Errorf("who waited got %v", o.err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the writer got %v", err)
	}
	eventually(t, "nothing is left", func() bool { return len(files(t, s.partials())) == 0 })
	holds(t, made(t, s, m.want()), m.b)
}

func TestCloseEndsAMaking(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	m := makerOf(content(1, 1000))
	m.let = make(chan struct{})
	c := startMaking(t.Context(), s, m.want(), 1)
	eventually(t, "it is made", func() bool { return s.Progress(m.of) > 0 })
	_ = s.Close()
	if o := <-c; !errors.Is(o.err, ErrClosed) {
		t.Errorf("who waited got %v", o.err)
	}
	empty(t, s)
	if _, err := s.Make(t.Context(), m.want()); !errors.Is(err, ErrClosed) {
		t.Errorf("afterwards: %v", err)
	}
}

// What is made of two blobs and is the same is one file.
func TestTheSameMadeOfTwoBlobsIsOneFile(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	one := makerOf(content(1, 100<<10))
	two := &maker{b: one.b, of: digest.FromString("packed otherwise")}
	a, b := made(t, s, one.want()), made(t, s, two.want())
	holds(t, b, two.b)
	if a.Inode() != b.Inode() || s.Stats().Entries != 1 || two.told.Load() != 1 {
		t.Errorf("inodes %d and %d, %+v", a.Inode(), b.Inode(), s.Stats())
	}
}

// A partial file of a making that was left over is never written to: it may be a blob by now.
func TestAMakingStartsOverInAFileOfItsOwn(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	b := content(2, 1000)
	d := fill(t, s, b)
	m := makerOf(content(1, 2000))
	if err := os.Link(s.blob(d), s.madePartial(m.of)); err != nil {
		t.Fatal(err)
	}
	holds(t, made(t, s, m.want()), m.b)
	undamaged(t, "the other blob", s.dir)
	if left := files(t, s.partials()); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}
