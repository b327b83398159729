package cache

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// Whatever is damaged is found, told and set aside, while a store is open that then fetches
// it again; what is sound stays, and isn't taken to have been used.
func TestVerifyFindsWhatIsDamaged(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	var all []digest.Digest
	var want []digest.Digest
	for i := range byte(20) {
		d := fill(t, s, content(i, 1000*int(i)))
		aged(t, s.layout, d, time.Hour)
		all = append(all, d)
		switch {
		case i == 4:
			halve(t, s, d)
		case i%5 == 4:
			flip(t, s.layout, d)
		default:
			continue
		}
		want = append(want, d)
	}
	var told []digest.Digest
	var done, total int64
	got, err := at(t, s.dir).Verify(t.Context(), VerifyOptions{
		Progress: func(d, t int64) { done, total = d, t },
		Damaged:  func(d Damage) { told = append(told, d.Digest) },
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(told)
	slices.Sort(want)
	if !slices.Equal(told, want) || len(got.Damaged) != 4 || got.Sound.Files != 16 || got.Vanished != 0 {
		t.Errorf("told of %q, want %q; %+v", told, want, got)
	}
	if done != total || total == 0 {
		t.Errorf("%d of %d bytes", done, total)
	}
	for _, d := range got.Damaged {
		if st, err := os.Stat(d.Aside); err != nil || st.Size() != d.Bytes || d.Why == "" {
			t.Errorf("%+v: %v", d, err)
		}
	}
	for i, d := range all {
		st, err := os.Stat(s.blob(d))
		if (err == nil) == slices.Contains(want, d) {
			t.Errorf("%d: %v", i, err)
		}
		if err == nil && time.Since(st.ModTime()) < 30*time.Minute {
			t.Errorf("%d counts as used at %v", i, st.ModTime())
		}
	}
	src := &source{b: content(4, 4000)}
	holds(t, get(t, s, src.want()), src.b)
	if src.fetches.Load() != 1 {
		t.Errorf("%d fetches", src.fetches.Load())
	}
	if again, err := at(t, s.dir).Verify(t.Context(), VerifyOptions{Workers: 1}); err != nil || len(again.Damaged) != 0 || again.Sound.Files != 17 {
		t.Errorf("again: %+v, %v", again, err)
	}
}

// What is evicted, or fetched anew, while it is hashed is neither damaged nor an error.
func TestWhatVanishesWhileItIsVerifiedIsNoError(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	first, replaced, evicted := content(1, 3000), content(2, 2000), content(3, 1000)
	ds := []digest.Digest{fill(t, s, first), fill(t, s, replaced), fill(t, s, evicted)}
	flip(t, s.layout, ds[1])
	step := 0
	got, err := at(t, s.dir).Verify(t.Context(), VerifyOptions{Workers: 1, Progress: func(done, total int64) {
		step++
		switch done {
		case 3000: // the first was read
			if _, err := os.Stat(s.blob(ds[2])); err == nil {
				_ = os.Remove(s.blob(ds[2]))
			}
		case 5000: // the second was read, and is going to be found damaged
			replace(t, s.blob(ds[1]), replaced)
		}
	}})
	if err != nil || got.Sound.Files != 1 || len(got.Damaged) != 0 || got.Vanished != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	if b, err := os.ReadFile(s.blob(ds[1])); err != nil || !bytes.Equal(b, replaced) {
		t.Errorf("the good file is gone: %v", err)
	}
}

// An interrupt ends it in the middle of a blob, and what is found by then is told.
func TestVerifyIsInterruptedInTheMiddleOfABlob(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	fill(t, s, content(1, 8<<20))
	ctx, cancel := context.WithCancel(t.Context())
	var last int64
	got, err := at(t, s.dir).Verify(ctx, VerifyOptions{Progress: func(done, _ int64) {
		if last = done; done > 0 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || last >= 8<<20 || got.Sound.Files != 0 || len(got.Damaged) != 0 {
		t.Errorf("after %d bytes: %+v, %v", last, got, err)
	}
}

// What all was hashed of isn't in doubt any more, whatever was killed before.
func TestVerifyEndsTheDoubt(t *testing.T) {
	dir := t.TempDir()
	kill(t, holder(t, dir))
	c := at(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Verify(ctx, VerifyOptions{}); err == nil {
		t.Fatal("it wasn't interrupted")
	}
	if _, n := c.users(); n != 1 {
		t.Errorf("interrupted: %d unclean ends are left", n)
	}
	if _, err := c.Verify(t.Context(), VerifyOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, n := c.users(); n != 0 {
		t.Errorf("%d unclean ends are left", n)
	}
}
