package upload

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry/ref"
)

// fetching is a bench whose blobs are opened when the test says so.
type fetching struct {
	*bench
	asked chan struct{} // gets a value for each blob that is asked for
	open  chan struct{} // closed when they come
}

func newFetching(b *bench) *fetching {
	s := &fetching{bench: b, asked: make(chan struct{}, 10), open: make(chan struct{})}
	b.area.o.Tree = s
	return s
}

func (s *fetching) OpenBlob(ctx context.Context, by Program, b Blob) (Content, error) {
	s.asked <- struct{}{}
	select {
	case <-s.open:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	return s.bench.OpenBlob(ctx, by, b)
}

// borrowed gives a blob of another repository of the same registry.
func (b *bench) borrowed() (content []byte, blob Blob) {
	content = []byte(strings.Repeat("blob", 1000))
	b.s.Blob("other/app", content)
	return content, Blob{ref.Repository{Host: b.s.Host, Path: "other/app"}, digest.FromBytes(content), int64(len(content))}
}

// createAs makes a file that stands for a blob.
func (b *bench) createAs(path string, blob Blob) *Handle {
	b.t.Helper()
	h := b.create(path)
	if n, err := h.CopyFrom(b.t.Context(), blob, 0, 0, blob.Size); n != blob.Size || err != nil {
		b.t.Fatal(n, err)
	}
	return h
}

// atOnce calls do, which may not wait.
func (b *bench) atOnce(what string, do func()) {
	b.t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		b.t.Fatalf("%s waits", what)
	}
}

// While a file waits for the bytes of a blob, all that is known without them answers at once:
// lists, lookups and attributes, its own as well. Other files are made, written, renamed and
// removed, and the file itself is renamed.
func TestAFileThatWaitsKeepsNobodyElseWaiting(t *testing.T) {
	b := newBench(t)
	s := newFetching(b)
	content, blob := b.borrowed()
	h := b.createAs("waits.tmp", blob)
	wrote := make(chan error)
	go func() {
		_, err := h.WriteAt(t.Context(), []byte("y"), blob.Size)
		wrote <- err
	}()
	<-s.asked
	b.atOnce("a list", func() {
		if n := len(b.top.List()); n != 5 {
			t.Errorf("%d names are listed, want 5", n)
		}
	})
	b.atOnce("stat of upload/", func() { b.top.Attr() })
	b.atOnce("a lookup and stat of the file", func() {
		n, err := b.top.Lookup(t.Context(), "waits.tmp")
		if err != nil || n.Attr().Size != blob.Size {
			t.Errorf("%v, %v", n, err)
		}
	})
	b.atOnce("chmod", func() {
		mode := uint32(0o600)
		b.ok(h.f.Set(t.Context(), nil, Change{Mode: &mode}))
	})
	b.atOnce("reading what is pushed", func() { b.area.Records(); b.area.Staged(); b.area.Transfers() })
	b.atOnce("another file", func() {
		b.ok(b.write("one.tmp", []byte("bytes")))
		b.ok(b.rename("one.tmp", "two.tmp"))
		b.ok(b.top.Unlink(t.Context(), "two.tmp"))
		b.dirAt("v1")
		b.ok(b.top.Rmdir(t.Context(), "v1"))
	})
	b.atOnce("its rename", func() { b.ok(b.rename("waits.tmp", "moved.tmp")) })
	close(s.open)
	b.ok(<-wrote)
	want := string(content) + "y"
	if got, err := h.f.readAll(t.Context(), 1<<20); string(got) != want || err != nil {
		t.Errorf("it has %d bytes, %v; want %d", len(got), err, len(want))
	}
	h.Release()
}

// Whoever waits for the bytes of a blob, or for another who does, can leave.
func TestEveryWaitCanBeLeft(t *testing.T) {
	size := int64(10)
	for name, c := range map[string]struct {
		do   func(ctx context.Context, h *Handle) error
		wait bool // it waits for the blob itself
	}{
		"truncation": {func(ctx context.Context, h *Handle) error { return h.f.Set(ctx, nil, Change{Size: &size}) }, true},
		"a write": {func(ctx context.Context, h *Handle) error {
			_, err := h.WriteAt(ctx, []byte("x"), 0)
			return err
		}, true},
		"opening to write":     {func(ctx context.Context, h *Handle) error { _, err := h.f.OpenWrite(ctx, nil); return err }, false},
		"opening with O_TRUNC": {func(ctx context.Context, h *Handle) error { _, err := h.f.OpenEmpty(ctx, nil); return err }, false},
		"a copy into it": {func(ctx context.Context, h *Handle) error {
			_, err := h.CopyFrom(ctx, Blob{Size: 5}, 1, 1, 2)
			return err
		}, false},
		"truncation in a handle": {func(ctx context.Context, h *Handle) error { return h.truncate(ctx, size) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			s := newFetching(b)
			_, blob := b.borrowed()
			h := b.createAs("waits.tmp", blob)
			before := h.f.Attr()
			first := make(chan error)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if !c.wait {
				go func() {
					_, err := h.WriteAt(ctx, []byte("y"), 0)
					first <- err
				}()
				<-s.asked
			}
			inner, leave := context.WithCancel(t.Context())
			left := make(chan error)
			go func() { left <- c.do(inner, h) }()
			if c.wait {
				<-s.asked
			}
			leave()
			b.atOnce(name, func() {
				if err := <-left; !errors.Is(err, context.Canceled) {
					t.Errorf("%v, want that it was cancelled", err)
				}
			})
			if !c.wait {
				cancel()
				<-first
			}
			if after := h.f.Attr(); after.Size != before.Size {
				t.Errorf("it has %d bytes afterwards, want %d", after.Size, before.Size)
			}
			close(s.open)
			if got, err := h.f.readAll(t.Context(), 1<<20); int64(len(got)) != blob.Size || err != nil {
				t.Errorf("%d bytes are read, %v; want %d", len(got), err, blob.Size)
			}
			h.Release()
			b.ok(b.area.Close(t.Context()))
		})
	}
}

// Changes of the tree wait for each other, and can be left as well.
func TestAChangeOfTheTreeCanBeLeft(t *testing.T) {
	b := newBench(t)
	b.ok(b.write("a.tmp", nil))
	b.dirAt("dir")
	r := b.top.root
	b.ok(r.shape.take(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, do := range map[string]func() error{
		"create":  func() error { _, _, err := b.top.Create(ctx, "x", 0o644, Openly, nil); return err },
		"mkdir":   func() error { _, err := b.top.Mkdir(ctx, "x", 0o755); return err },
		"symlink": func() error { _, err := b.top.Symlink(ctx, "x", "y"); return err },
		"link":    func() error { _, err := b.top.Link(ctx, "x", Blob{}, nil); return err },
		"unlink":  func() error { return b.top.Unlink(ctx, "a.tmp") },
		"rmdir":   func() error { return b.top.Rmdir(ctx, "dir") },
		"rename":  func() error { return b.top.Rename(ctx, "a.tmp", b.top, "b.tmp", true, nil) },
	} {
		b.atOnce(name, func() {
			if err := do(); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	r.shape.give()
	if _, err := b.top.Lookup(t.Context(), "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("x is there: %v", err)
	}
	if _, err := b.top.Lookup(t.Context(), "a.tmp"); err != nil {
		t.Errorf("a.tmp is gone: %v", err)
	}
}

// A wait for the turn of a file ends with the mount.
func TestAWaitEndsWithTheMount(t *testing.T) {
	b := newBench(t)
	s := newFetching(b)
	_, blob := b.borrowed()
	h := b.createAs("waits.tmp", blob)
	errs := make(chan error)
	go func() { _, err := h.WriteAt(context.Background(), []byte("y"), 0); errs <- err }()
	<-s.asked
	go func() { errs <- h.truncate(context.Background(), 5) }()
	b.ok(b.area.Close(t.Context()))
	for range 2 {
		if err := <-errs; !errors.Is(err, ErrClosed) {
			t.Errorf("%v, want %v", err, ErrClosed)
		}
	}
	h.Release()
}

// Opening a file to write it waits for the cache to have taken over what was pushed, and can
// be left. Reading it doesn't wait.
func TestAWriterThatWaitsForTheCacheCanLeave(t *testing.T) {
	b := newBench(t)
	s := &slowly{bench: b, adopts: make(chan struct{})}
	b.area.o.Tree = s
	b.ok(b.write("blobs/x", []byte("bytes")))
	f := b.dirAt("blobs").children["x"].(*File)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := f.OpenWrite(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("opened, %v", err)
	}
	b.atOnce("reading", func() {
		if got, err := f.readAll(t.Context(), 100); string(got) != "bytes" || err != nil {
			t.Errorf("it reads %q, %v", got, err)
		}
	})
	close(s.adopts)
	h, err := f.OpenWrite(t.Context(), nil)
	b.ok(err)
	if _, err := h.WriteAt(t.Context(), []byte("!"), 5); err != nil {
		t.Fatal(err)
	}
	if got, err := f.readAll(t.Context(), 100); string(got) != "bytes!" || err != nil {
		t.Errorf("it reads %q, %v", got, err)
	}
	h.Release()
}

// A reader doesn't wait for a digest that is being computed.
func TestAReaderWaitsForNoTurn(t *testing.T) {
	b := newBench(t)
	h := b.create("x.tmp")
	if _, err := h.WriteAt(t.Context(), []byte("bytes"), 0); err != nil {
		t.Fatal(err)
	}
	b.ok(h.f.writing.take(t.Context()))
	b.atOnce("a read", func() {
		if got, err := h.f.readAll(t.Context(), 100); string(got) != "bytes" || err != nil {
			t.Errorf("it reads %q, %v", got, err)
		}
	})
	h.f.writing.give()
	h.Release()
}
