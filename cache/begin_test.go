package cache

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
)

// Who begins a download is asked first; who joins one, or finds the blob cached,
// makes nothing be fetched and isn't asked.
func TestOnlyADownloadThatBeginsIsAskedFor(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	b := content(1, 1000)
	w, let, fetches := held(b)
	refused := errors.New("refused")
	var asked atomic.Int64
	say := refused
	w.Begin = func(context.Context) error { asked.Add(1); return say }

	if _, err := s.Get(t.Context(), w); !errors.Is(err, refused) {
		t.Fatalf("got %v", err)
	}
	if st := s.Stats(); fetches.Load() != 0 || len(s.Transfers()) != 0 || st.Misses != 0 {
		t.Errorf("it was refused, and there are %d fetches, %+v, %+v", fetches.Load(), s.Transfers(), st)
	}

	say = nil
	first := start(t.Context(), s, w, 1)
	eventually(t, "it is under way", func() bool { return waiting(s) == 1 })
	say = refused
	others := start(t.Context(), s, w, 10)
	eventually(t, "all wait", func() bool { return waiting(s) == 11 })
	close(let)
	for i := range 11 {
		c := others
		if i == 0 {
			c = first
		}
		o := <-c
		if o.err != nil {
			t.Fatal(o.err)
		}
		_ = o.f.Close()
	}
	_ = get(t, s, w).Close()
	if asked.Load() != 2 || fetches.Load() != 1 {
		t.Errorf("asked %d times, want 2; %d fetches", asked.Load(), fetches.Load())
	}
}
