package upload

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// faults are the panics that an area told of.
type faults struct {
	mu     sync.Mutex
	causes []any
	stacks []string
}

func (f *faults) told(cause any, stack []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.causes = append(f.causes, cause)
	f.stacks = append(f.stacks, string(stack))
}

// are checks that panics were told, with the stack of where they were, and gives how many.
func (f *faults) are(t *testing.T, at string) int {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, cause := range f.causes {
		if cause != "a fault" || !strings.Contains(f.stacks[i], at) {
			t.Errorf("told of %v, and not of a panic in %s: %s", cause, at, f.stacks[i])
		}
	}
	return len(f.causes)
}

func (f *faults) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.causes)
}

// isOne checks that one panic was told.
func (f *faults) isOne(t *testing.T, at string) {
	t.Helper()
	if n := f.are(t, at); n != 1 {
		t.Errorf("told of %d panics, want 1", n)
	}
}

// faulty is a bench whose methods fail by a panic, where the test says so.
type faulty struct {
	*bench
	in string // the method that does
	mu sync.Mutex
}

func (f *faulty) fail(in string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.in == in {
		panic("a fault")
	}
}

func (f *faulty) failIn(method string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.in = method
}

func (f *faulty) Adopt(d digest.Digest, size int64, path string) error {
	f.fail("Adopt")
	return f.bench.Adopt(d, size, path)
}

func (f *faulty) Deferring(r ref.Repository, tag string) {
	f.fail("Deferring")
	f.bench.Deferring(r, tag)
}

func (f *faulty) Lacks(r ref.Repository, d digest.Digest) bool {
	f.fail("Lacks")
	return f.bench.Lacks(r, d)
}

func (f *faulty) Manifest(ctx context.Context, r ref.Repository, d digest.Digest) (*registry.Manifest, error) {
	f.fail("Manifest")
	return f.bench.Manifest(ctx, r, d)
}

// failing makes a bench that fails by a panic in a method.
func failing(t *testing.T, in string) (*bench, *faulty, *faults) {
	b := newBench(t)
	tree, told := &faulty{bench: b, in: in}, &faults{}
	b.area.o.Tree, b.area.o.Panicked = tree, told.told
	return b, tree, told
}

// A cache that fails by a panic leaves the file as one that the registry has: it is read and
// written, and takes no room.
func TestAPanicOfTheCacheLeavesTheFileUsable(t *testing.T) {
	b, tree, told := failing(t, "Adopt")
	b.area.attendAfter = time.Millisecond
	b.ok(b.write("blobs/x", []byte("bytes")))
	b.area.work.Wait()
	told.isOne(t, "Adopt")
	tree.failIn("")
	b.staged("after the panic", int64(len(startLayout)+len(startIndex)), 0)
	f := b.dirAt("blobs").children["x"].(*File)
	b.atOnce("opening it", func() {
		h, err := f.OpenWrite(t.Context(), nil)
		b.ok(err)
		if _, err := h.WriteAt(t.Context(), []byte("!"), 5); err != nil {
			t.Error(err)
		}
		b.ok(h.Flush(t.Context()))
		h.Release()
	})
	if got := b.s.ReadBlob(b.repo.Path, digest.FromString("bytes!")); string(got) != "bytes!" {
		t.Errorf("the registry has %q", got)
	}
	told.isOne(t, "Adopt")
}

// A panic in one of several goroutines that push an image is the error of the close, and the
// next close pushes.
func TestAPanicInAPushIsTheErrorOfTheClose(t *testing.T) {
	b, tree, told := failing(t, "")
	i := newImage("x")
	b.pieces("v1", i)
	b.area.Deleted(b.repo, digest.FromBytes(i.layer).String()) // so that it is pushed once more
	tree.failIn("Lacks")
	if err := b.write("v1/index.json", indexOf(i.descriptor("v1"))); !errors.Is(err, errPanic) {
		t.Errorf("close says %v", err)
	}
	// The first blob ends the push of the other one, which may have failed as well.
	if n := told.are(t, "carryOut"); n < 1 || n > 2 {
		t.Errorf("told of %d panics", n)
	}
	if b.state("v1") != Failed {
		t.Errorf("uploads.json says %v", b.area.Records())
	}
	b.pointsAt("v1", "")
	tree.failIn("")
	b.ok(b.write("v1/index.json", indexOf(i.descriptor("v1"))))
	b.pointsAt("v1", i.digest)
}

// A panic before a deferred push is told as a failure of the push, and nobody waits for it.
func TestAPanicOfADeferredPushIsItsFailure(t *testing.T) {
	b, _, told := failing(t, "Deferring")
	b.patient()
	i := newImage("x")
	b.pieces("v1", i)
	b.ok(b.write("v1/index.json", indexOf(i.descriptor(""))))
	b.awaits("v1")
	told.isOne(t, "Deferring")
	if failed := b.failed(); len(failed) != 1 || !errors.Is(failed[0], errPanic) || b.state("v1") != Failed {
		t.Errorf("told %v; %v", failed, b.area.Records())
	}
}

// A panic of what sends a blob before it is whole is the error of the close, and the file is
// closed on the disk when nobody has it open.
func TestAPanicOfASenderIsTheErrorOfTheClose(t *testing.T) {
	b := streaming(t)
	tree, told := &faulty{bench: b, in: "Lacks"}, &faults{}
	b.area.o.Tree, b.area.o.Panicked = tree, told.told
	content := noise(2 * early)
	h := b.create(at("", digest.FromBytes(content)))
	b.put(h, content, 0, len(content))
	h.f.mu.Lock()
	sender := h.f.ahead
	h.f.mu.Unlock()
	<-sender.done
	tree.failIn("")
	if err := h.Flush(t.Context()); !errors.Is(err, errPanic) {
		t.Errorf("close says %v", err)
	}
	told.isOne(t, "send")
	b.put(h, content, len(content)-1, len(content))
	b.ok(h.Flush(t.Context()))
	h.Release()
	b.ok(b.area.Close(t.Context()))
	if disk, _, _ := h.f.bytesOn(); disk != nil {
		t.Error("it is open")
	}
	if got := b.s.ReadBlob(b.repo.Path, digest.FromBytes(content)); !slices.Equal(got, content) {
		t.Errorf("the registry has %d bytes", len(got))
	}
}

// A panic of what hashes behind a writer costs the writer nothing but that.
func TestAPanicBehindAWriterCostsNothing(t *testing.T) {
	b, _, told := failing(t, "")
	content := noise(2 << 20)
	h := b.create("blobs/x")
	h.f.mu.Lock()
	h.f.sum = &runningSum{algo: digest.Canonical}
	h.f.mu.Unlock()
	b.put(h, content, 0, len(content))
	b.atOnce("the panic", func() {
		for told.count() == 0 {
			time.Sleep(time.Millisecond)
		}
	})
	b.atOnce("a close", func() { b.ok(h.Flush(t.Context())) })
	h.Release()
	if n := told.count(); n != 1 {
		t.Errorf("told of %d panics, want 1", n)
	}
	if got := b.s.ReadBlob(b.repo.Path, digest.FromBytes(content)); !slices.Equal(got, content) {
		t.Errorf("the registry has %d bytes", len(got))
	}
}

// A directory that is looked at in vain is looked at again when something happens there.
func TestAPanicInALookEndsNoOther(t *testing.T) {
	b, tree, told := failing(t, "Manifest")
	b.area.attendAfter = time.Millisecond
	i := newImage("x")
	b.ok(b.write(at("", i.digest), i.raw))
	b.area.work.Wait()
	told.isOne(t, "reportWaiting")
	tree.failIn("")
	b.ok(b.write("touch.tmp", nil))
	b.area.work.Wait()
	if failed := b.failed(); len(failed) != 1 || !strings.Contains(failed[0].Error(), i.digest.String()) {
		t.Errorf("told %v", failed)
	}
}
