package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// fed is a blob of three held-back ends and a bit, whose bytes are fed to it.
type fed struct {
	want Want
	b    []byte
	w    *io.PipeWriter
}

func feed(t *testing.T) *fed {
	b := content(3, 3*heldBack+5)
	r, w := io.Pipe()
	t.Cleanup(func() { w.Close() })
	f := &fed{Want{Digest: digest.FromBytes(b), Size: int64(len(b)), From: "test"}, b, w}
	f.want.Fetch = func(ctx context.Context, _, _ int64) (io.ReadCloser, error) {
		context.AfterFunc(ctx, func() { r.CloseWithError(ctx.Err()) })
		return r, nil
	}
	return f
}

// bytes feeds b, and returns when it has come.
func (f *fed) bytes(t *testing.T, b []byte) {
	t.Helper()
	if _, err := f.w.Write(b); err != nil {
		t.Error(err)
	}
}

// shows checks that a read gives what is right.
func (f *fed) shows(t *testing.T, st *Stream, off, n int64) {
	t.Helper()
	p := make([]byte, n)
	k, err := st.ReadAt(t.Context(), p, off)
	if want := f.b[off:min(off+n, int64(len(f.b)))]; err != nil && err != io.EOF || !bytes.Equal(p[:k], want) {
		t.Errorf("read of %d bytes at %d: %d bytes, %v", n, off, k, err)
	}
}

// waits checks that a read doesn't give anything for a moment.
func (f *fed) waits(t *testing.T, st *Stream, off, n int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if k, err := st.ReadAt(ctx, make([]byte, n), off); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("read of %d bytes at %d: %d bytes, %v", n, off, k, err)
	}
}

func TestAStreamShowsWhatHasComeAndHoldsTheEndBack(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	f := feed(t)
	st := s.Stream(f.want)
	defer st.Close()
	if len(s.Transfers()) != 0 {
		t.Error("it is fetched before anyone reads")
	}
	go f.bytes(t, f.b[:100<<10])
	f.shows(t, st, 0, 10)
	f.shows(t, st, 1000, 99<<10)
	f.waits(t, st, 100<<10-1, 2)
	go f.bytes(t, f.b[100<<10:3*heldBack+4])
	f.shows(t, st, heldBack, heldBack)
	f.shows(t, st, 3*heldBack-1, 1)
	f.waits(t, st, 3*heldBack-1, 2)
	f.waits(t, st, 3*heldBack, 1)
	f.bytes(t, f.b[3*heldBack+4:])
	f.waits(t, st, 3*heldBack, 1) // it may be longer
	f.w.Close()
	f.shows(t, st, 3*heldBack-10, 100)
	f.shows(t, st, 0, int64(len(f.b)))
	if n, err := st.ReadAt(t.Context(), make([]byte, 10), int64(len(f.b))+1); n != 0 || err != io.EOF {
		t.Errorf("beyond the end: %d, %v", n, err)
	}
	settled(t, s)
	holds(t, get(t, s, f.want), f.b)
}

func TestASmallBlobIsHeldBackWhole(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	f := feed(t)
	f.b = f.b[:heldBack]
	f.want.Digest, f.want.Size = digest.FromBytes(f.b), heldBack
	st := s.Stream(f.want)
	defer st.Close()
	go f.bytes(t, f.b[:heldBack-1])
	f.waits(t, st, 0, 1)
	go func() { f.bytes(t, f.b[heldBack-1:]); f.w.Close() }()
	f.shows(t, st, 0, heldBack)
}

// Everyone who reads a blob that doesn't match is told, whatever they have read, and
// whatever they read then.
func TestAStreamThatDoesntMatchEndsAllReaders(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	f := feed(t)
	early, late := s.Stream(f.want), s.Stream(f.want)
	defer early.Close()
	defer late.Close()
	go f.bytes(t, f.b[:2*heldBack])
	f.shows(t, early, 0, heldBack)
	f.shows(t, late, heldBack, heldBack)
	ends := make(chan error)
	go func() {
		_, err := late.ReadAt(t.Context(), make([]byte, 1), int64(len(f.b))-1)
		ends <- err
	}()
	wrong := bytes.Clone(f.b[2*heldBack:])
	wrong[0] ^= 1
	f.bytes(t, wrong)
	f.w.Close()
	if err := <-ends; !errors.Is(err, ErrMismatch) {
		t.Errorf("who waits for the end: %v", err)
	}
	for range 2 {
		if n, err := early.ReadAt(t.Context(), make([]byte, 10), 0); n != 0 || !errors.Is(err, ErrMismatch) {
			t.Errorf("who reads on: %d bytes, %v", n, err)
		}
	}
	empty(t, s)
}

// What turned out to be wrong and is fetched anew is right for who saw nothing of it, and
// an error for who did.
func TestWhoSawWhatIsFetchedAnewIsTold(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	f := feed(t)
	first := f.want.Fetch
	fetches := 0
	f.want.Fetch = func(ctx context.Context, off, n int64) (io.ReadCloser, error) {
		if fetches++; fetches == 1 {
			return first(ctx, off, n)
		}
		return io.NopCloser(bytes.NewReader(f.b)), nil
	}
	f.want.Doubt = func() bool { return true }
	saw := s.Stream(f.want)
	defer saw.Close()
	go f.bytes(t, append([]byte("wrong"), f.b[5:2*heldBack]...))
	if _, err := saw.ReadAt(t.Context(), make([]byte, 10), 0); err != nil {
		t.Fatal(err)
	}
	c := start(t.Context(), s, f.want, 1)
	eventually(t, "both wait", func() bool { return waiting(s) == 2 })
	f.bytes(t, f.b[2*heldBack:])
	f.w.Close()
	o := <-c
	if o.err != nil {
		t.Fatal(o.err)
	}
	holds(t, o.f, f.b)
	_ = o.f.Close()
	for range 2 {
		if n, err := saw.ReadAt(t.Context(), make([]byte, 10), 10); !errors.Is(err, ErrMismatch) {
			t.Errorf("%d bytes, %v", n, err)
		}
	}
}

func TestAStreamThatIsClosedWaitsForNothing(t *testing.T) {
	s := open(t, t.TempDir(), Options{Grace: time.Millisecond})
	f := feed(t)
	one, two := s.Stream(f.want), s.Stream(f.want)
	go f.bytes(t, f.b[:heldBack])
	f.shows(t, one, 0, 10)
	f.shows(t, two, heldBack-1, 1)
	if n := waiting(s); n != 2 {
		t.Errorf("%d wait", n)
	}
	_ = one.Close()
	_ = one.Close()
	if n := waiting(s); n != 1 {
		t.Errorf("%d wait", n)
	}
	f.shows(t, two, 10, 10)
	_ = two.Close()
	eventually(t, "nothing is under way", func() bool { return len(s.Transfers()) == 0 })
	if _, err := two.ReadAt(t.Context(), make([]byte, 1), 0); !errors.Is(err, ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
}

// Who was shown nothing tries anew; who was shown something can't know that it would go
// on with the same.
func TestAStreamThatBreaksOff(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	f := feed(t)
	broken := errors.New("the wire broke")
	fetch := f.want.Fetch
	f.want.Fetch = func(context.Context, int64, int64) (io.ReadCloser, error) { return nil, broken }
	st := s.Stream(f.want)
	defer st.Close()
	for range 2 {
		if _, err := st.ReadAt(t.Context(), make([]byte, 1), 0); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
	}
	f.want.Fetch = fetch
	st = s.Stream(f.want)
	defer st.Close()
	go func() { f.bytes(t, f.b[:heldBack]); f.w.CloseWithError(broken) }()
	f.shows(t, st, 0, 10)
	eventually(t, "it broke", func() bool { return len(s.Transfers()) == 0 })
	for range 2 {
		if _, err := st.ReadAt(t.Context(), make([]byte, 1), 0); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
	}
}

func TestAStreamOfWhatIsCachedIsTheFile(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	b := content(1, 2*heldBack)
	fill(t, s, b)
	src := &source{b: b}
	st := s.Stream(src.want())
	p := make([]byte, len(b))
	if n, err := st.ReadAt(t.Context(), p, 0); n != len(b) || err != nil || !bytes.Equal(p, b) || src.fetches.Load() != 0 {
		t.Errorf("%d bytes, %v, %d fetches", n, err, src.fetches.Load())
	}
	_ = st.Close()
	eventually(t, "nothing is open", func() bool { return s.Stats().Open == 0 })
}

// A stream whose want has another size than the blob shows nothing of it, whether the blob is
// cached already or comes by another process.
func TestAStreamOfAnotherSizeThanTheBlobHasIsAMismatch(t *testing.T) {
	refused := func(s *Store, w Want) {
		t.Helper()
		st := s.Stream(w)
		if n, err := st.ReadAt(t.Context(), make([]byte, 10), 0); n != 0 || !errors.Is(err, ErrMismatch) {
			t.Errorf("%d bytes of a want of %d: %v", n, w.Size, err)
		}
		_ = st.Close()
		eventually(t, "nothing is open", func() bool { return s.Stats().Open == 0 })
		if _, err := os.Stat(s.blob(w.Digest)); err != nil {
			t.Error(err)
		}
	}
	b := content(1, 3*heldBack)
	for _, more := range []int64{-1, 1} {
		dir := t.TempDir()
		s, other := open(t, dir, Options{}), open(t, dir, Options{})
		w, let, fetches := held(b)
		wrong := w
		wrong.Size += more
		c := start(t.Context(), other, w, 1)
		eventually(t, "the other downloads", func() bool { return fetches.Load() == 1 })
		time.AfterFunc(2*lockPoll, func() { close(let) })
		refused(s, wrong)
		_ = (<-c).f.Close()
		refused(s, wrong)
		if n := fetches.Load(); n != 1 {
			t.Errorf("%d fetches", n)
		}
	}
}

// A stream finds out that a cached file isn't the blob where its size tells.
func TestAStreamOfAFileThatWasCutOffFetchesItAgain(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	src := &source{b: content(1, 3*heldBack)}
	d := fill(t, s, src.b)
	if err := os.Truncate(s.blob(d), heldBack); err != nil {
		t.Fatal(err)
	}
	st := s.Stream(src.want())
	defer st.Close()
	got := make([]byte, len(src.b))
	if n, err := st.ReadAt(t.Context(), got, 0); n != len(got) || !bytes.Equal(got, src.b) {
		t.Errorf("%d bytes, %v", n, err)
	}
	if n := s.Stats().Quarantined; n != 1 {
		t.Errorf("%d were set aside", n)
	}
	settled(t, s)
}

// A read of what has come that the file refuses fails, and doesn't go round until the rest has.
func TestAReadOfAStreamThatFailsEnds(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	p := &gatedOrigin{b: content(5, 4*heldBack), first: 2 * heldBack, let: make(chan struct{})}
	st := s.Stream(p.want())
	defer st.Close()
	if _, err := st.ReadAt(t.Context(), make([]byte, 1), 0); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() { _, err := st.ReadAt(t.Context(), make([]byte, 10), -1); failed <- err }()
	select {
	case err := <-failed:
		if err == nil {
			t.Error("bytes before the first")
		}
	case <-time.After(10 * time.Second):
		t.Error("it goes round")
		close(p.let)
		<-failed
	}
}
