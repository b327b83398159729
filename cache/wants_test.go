package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
)

// A size that the content can't have is the promise's fault: it fails whoever
// believed it, and neither the cached file nor anyone else.
func TestAWrongPromiseHarmsNobodyElse(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	b := content(1, 1000)
	src := &source{b: b}
	right, wrong := src.want(), src.want()
	wrong.Size, wrong.From = 1001, "a liar"
	_ = get(t, s, right).Close()
	fetched := src.fetches.Load()
	if _, err := s.Open(wrong.Digest, wrong.Size); err == nil {
		t.Error("opened with another size")
	}
	if _, err := s.Get(t.Context(), wrong); !errors.Is(err, ErrMismatch) {
		t.Errorf("a wrong size: %v", err)
	}
	f := get(t, s, right)
	holds(t, f, b)
	_ = f.Close()
	if n := src.fetches.Load() - fetched; n != 0 || s.Stats().Quarantined != 0 {
		t.Errorf("%d fetches, %d files set aside", n, s.Stats().Quarantined)
	}
}

// Two who promise different sizes of one digest wait for one download; only the
// one who was right gets it, whoever began.
func TestTwoPromisesOfOneDigest(t *testing.T) {
	for name, liarFirst := range map[string]bool{"the right one first": false, "the wrong one first": true} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir(), Options{})
			b := content(1, 1000)
			right, let, _ := held(b)
			wrong := right
			wrong.Size, wrong.From = 999, "a liar"
			first, second := right, wrong
			if liarFirst {
				first, second = wrong, right
			}
			one := start(t.Context(), s, first, 1)
			eventually(t, "the first waits", func() bool { return waiting(s) == 1 })
			two := start(t.Context(), s, second, 1)
			eventually(t, "both wait", func() bool { return waiting(s) == 2 })
			close(let)
			got, refused := <-one, <-two
			if liarFirst {
				got, refused = refused, got
			}
			if got.err != nil {
				t.Fatal(got.err)
			}
			holds(t, got.f, b)
			_ = got.f.Close()
			if !errors.Is(refused.err, ErrMismatch) {
				t.Errorf("the wrong promise: %v", refused.err)
			}
			eventually(t, "nothing is open", func() bool { return s.Stats().Open == 0 })
		})
	}
}

// A registry that fails is the failure of those who asked it, and of no one who
// asks another for the same blob.
func TestAnotherSourceIsTriedAfterAFailure(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	b := content(1, 1000)
	good, let, _ := held(b)
	close(let)
	down := errors.New("down")
	bad, fail := good, make(chan struct{})
	bad.From = "a registry that is down"
	bad.Fetch = func(context.Context, int64, int64) (io.ReadCloser, error) {
		<-fail
		return nil, down
	}
	losers := start(t.Context(), s, bad, 2)
	eventually(t, "both wait", func() bool { return waiting(s) == 2 })
	winner := start(t.Context(), s, good, 1)
	eventually(t, "all wait", func() bool { return waiting(s) == 3 })
	close(fail)
	for range 2 {
		if o := <-losers; !errors.Is(o.err, down) {
			t.Errorf("who asked the registry that is down: %v", o.err)
		}
	}
	o := <-winner
	if o.err != nil {
		t.Fatal(o.err)
	}
	holds(t, o.f, b)
	_ = o.f.Close()
}

// A source that brings nothing holds nobody up who knows another.
func TestASlowSourceHoldsNobodyUp(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	b := content(1, 1000)
	good, let, fetches := held(b)
	close(let)
	slow := good
	slow.From = "a slow registry"
	slow.Fetch = func(ctx context.Context, _, _ int64) (io.ReadCloser, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	ctx, interrupt := context.WithCancel(t.Context())
	stuck := start(ctx, s, slow, 1)
	eventually(t, "the first waits", func() bool { return waiting(s) == 1 })
	both := start(t.Context(), s, good, 2)
	for range 2 {
		o := <-both
		if o.err != nil {
			t.Fatal(o.err)
		}
		holds(t, o.f, b)
		_ = o.f.Close()
	}
	if fetches.Load() != 1 {
		t.Errorf("the two fetched %d times", fetches.Load())
	}
	interrupt()
	if o := <-stuck; !errors.Is(o.err, context.Canceled) {
		t.Errorf("the one who waits for the slow source: %v", o.err)
	}
}

// A promise of much makes nothing go before a byte of it came.
func TestAPromiseAloneEvictsNothing(t *testing.T) {
	s := open(t, t.TempDir(), Options{MaxBytes: 40_960})
	d := fill(t, s, content(1, 20_480))
	src := &source{b: content(2, 36_864)}
	w := src.want()
	w.Fetch = func(context.Context, int64, int64) (io.ReadCloser, error) { return nil, errors.New("not found") }
	if _, err := s.Get(t.Context(), w); err == nil {
		t.Error("got it")
	}
	f, err := s.Open(d, 20_480)
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
}

// What interrupted downloads leave counts, and goes before what is whole.
func TestLeftoversCount(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{MaxBytes: 40_960})
	d := fill(t, s, content(100, 4096))
	broken := errors.New("broken off")
	for i := range 10 {
		src := &source{b: content(byte(i), 16_384)}
		w := src.want()
		w.Fetch = func(context.Context, int64, int64) (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(bytes.NewReader(src.b[:12_288]), failing{broken})), nil
		}
		if _, err := s.Get(t.Context(), w); !errors.Is(err, broken) {
			t.Fatal(err)
		}
		if st := s.Stats(); st.Bytes+st.Partial > 40_960 || st.Partial == 0 {
			t.Fatalf("after %d downloads: %+v", i+1, st)
		}
		if n := len(files(t, s.partials())); n > 3 {
			t.Fatalf("%d files are left", n)
		}
	}
	if _, err := s.Open(d, 4096); err != nil {
		t.Errorf("what was whole went first: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir, Options{MaxBytes: 14_336})
	eventually(t, "after a reopen it counts as well", func() bool { return len(files(t, again.partials())) == 0 })
}

// failing is a reader that fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
