package cache

import (
	"bytes"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// atStep has a function called, once, at the next step of a name, from then on that the
// function is stored. It is to be called before a store is opened.
func atStep(t *testing.T, name string) *atomic.Pointer[func()] {
	t.Helper()
	var then atomic.Pointer[func()]
	was := step
	step = func(s string) {
		if s != name {
			return
		}
		if f := then.Swap(nil); f != nil {
			(*f)()
		}
	}
	t.Cleanup(func() { step = was })
	return &then
}

// The cache directory is removed under two processes that download one blob. What the first
// one wrote has no name any more; the file that has the name is the other's, and isn't
// whole. The first one serves its own, and keeps nothing; the other is undisturbed.
func TestWhatHasThePartialFilesNameIsKeptOnlyIfItIsThatFile(t *testing.T) {
	for _, when := range []string{"bytes written", "name checked"} {
		t.Run(when, func(t *testing.T) {
			then := atStep(t, when)
			dir := t.TempDir()
			one, two := open(t, dir, Options{}), open(t, dir, Options{})
			b := content(2, 300_000)
			p := &gatedOrigin{b: b, first: 200_000, let: make(chan struct{})}
			q := &gatedOrigin{b: b, first: 100_000, let: make(chan struct{})}
			a := start(t.Context(), one, p.want(), 1)
			eventually(t, "the first has some", func() bool { ts := one.Transfers(); return len(ts) == 1 && ts[0].Done == p.first })
			at, on := make(chan struct{}), make(chan struct{})
			swap := func() {
				close(at)
				<-on
			}
			then.Store(&swap)
			close(p.let)
			<-at
			if err := os.RemoveAll(filepath.Join(dir, version)); err != nil {
				t.Fatal(err)
			}
			z := start(t.Context(), two, q.want(), 1)
			eventually(t, "the second has some", func() bool { ts := two.Transfers(); return len(ts) == 1 && ts[0].Done == q.first })
			close(on)
			o := <-a
			if o.err != nil {
				t.Fatal(o.err)
			}
			holds(t, o.f, b)
			o.f.Close()
			settled(t, one)
			if got, err := os.ReadFile(one.blob(o.f.Digest())); err == nil && !bytes.Equal(got, b) {
				t.Errorf("a file of %d bytes that isn't the blob has its name", len(got))
			}
			close(q.let)
			o = <-z
			if o.err != nil {
				t.Fatal(o.err)
			}
			holds(t, o.f, b)
			o.f.Close()
			settled(t, two)
			if got, err := os.ReadFile(two.blob(o.f.Digest())); err != nil || !bytes.Equal(got, b) {
				t.Errorf("the second one's isn't kept: %d bytes, %v", len(got), err)
			}
			if left := files(t, one.partials()); len(left) != 0 {
				t.Errorf("left: %q", left)
			}
		})
	}
}
