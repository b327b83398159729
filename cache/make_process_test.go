package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// makingChild wants what is made of a blob. A waiter mustn't make it; a victim makes half of it.
func makingChild(dir, role string) error {
	s, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	m := flakyMaking(s, childContent, 2)
	m.Write = func(ctx context.Context, w io.Writer, _ io.ReaderAt) error {
		if role == "waiter" {
			return errors.New("the second process makes it")
		}
		if _, err := w.Write(content(97, len(childContent)/2)); err != nil { // which aren't its bytes
			return err
		}
		fmt.Println("half")
		<-ctx.Done()
		return ctx.Err()
	}
	if role == "waiter" {
		go func() {
			for waiting(s) != 1 || s.Progress(m.Of) == 0 { // of the other process
				time.Sleep(time.Millisecond)
			}
			fmt.Println("waiting")
		}()
	}
	f, err := s.Make(context.Background(), m)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := same(f, childContent); err != nil {
		return err
	}
	fmt.Println("got it")
	return nil
}

// Two processes that want what is made of one blob make it once.
func TestTwoProcessesMakeOnce(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	m := makerOf(childContent)
	m.let = make(chan struct{})
	want := flakyMaking(s, childContent, 2)
	want.Write = m.write
	c := startMaking(t.Context(), s, want, 1)
	eventually(t, "half of it is made", func() bool { return s.Progress(want.Of) == int64(len(childContent)/2) })
	_, says := process(t, dir, "maker:waiter")
	if l := says(); l != "waiting" {
		t.Fatalf("the second process says %q", l)
	}
	close(m.let)
	o := <-c
	if o.err != nil {
		t.Fatal(o.err)
	}
	_ = o.f.Close()
	if l := says(); l != "got it" {
		t.Errorf("the second process says %q", l)
	}
}

// What a process that was killed had made is of no use to another, which starts over.
func TestWhatAKilledProcessMadeIsMadeAnew(t *testing.T) {
	dir := t.TempDir()
	cmd, says := process(t, dir, "maker:victim")
	if l := says(); l != "half" {
		t.Fatalf("the second process says %q", l)
	}
	s := open(t, dir, Options{})
	c := startMaking(t.Context(), s, flakyMaking(s, childContent, 2), 1)
	eventually(t, "this one waits, and sees what the other has", func() bool {
		return waiting(s) == 1 && s.Progress(packed(childContent)) >= int64(len(childContent)/2)
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	o := <-c
	if o.err != nil {
		t.Fatal(o.err)
	}
	holds(t, o.f, childContent)
	_ = o.f.Close()
	madeSettled(t, s)
	if left := files(t, s.partials()); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// One who isn't told what the other process made makes it too, and there is one file.
func TestWhoDoesntKnowWhatAnotherMadeMakesItToo(t *testing.T) {
	dir := t.TempDir()
	one, two := open(t, dir, Options{}), open(t, dir, Options{})
	b := content(1, 100<<10)
	a, z := makerOf(b), makerOf(b)
	holds(t, made(t, one, a.want()), b)
	f := made(t, two, z.want())
	holds(t, f, b)
	if z.makes.Load() != 1 || len(files(t, two.blobs())) != 1 || f.Digest() != digest.FromBytes(b) {
		t.Errorf("made %d times, %q", z.makes.Load(), files(t, two.blobs()))
	}
}

// Where locks can't be had, each process makes in a file of its own, and one of them is kept.
func TestWhereLocksCantBeHadEachMakesForItself(t *testing.T) {
	for name, answer := range brokenLocks {
		t.Run(name, func(t *testing.T) {
			locksAre(t, answer)
			dir := t.TempDir()
			one, two := open(t, dir, Options{}), open(t, dir, Options{})
			m := makerOf(content(1, 100<<10))
			m.let = make(chan struct{})
			a, z := startMaking(t.Context(), one, m.want(), 1), startMaking(t.Context(), two, m.want(), 1)
			eventually(t, "both make", func() bool { return m.makes.Load() == 2 })
			close(m.let)
			for _, c := range []<-chan outcome{a, z} {
				o := <-c
				if o.err != nil {
					t.Fatal(o.err)
				}
				holds(t, o.f, m.b)
				_ = o.f.Close()
			}
			madeSettled(t, one)
			madeSettled(t, two)
			undamaged(t, name, dir)
			if left := files(t, one.partials()); len(left) > 0 || len(files(t, one.blobs())) != 1 {
				t.Errorf("left: %q, %q", left, files(t, one.blobs()))
			}
		})
	}
}
