package upload

import (
	"errors"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// staged says how many bytes are staged besides those that were before.
func (b *bench) staged(what string, before, want int64) {
	b.t.Helper()
	if got := b.area.Staged() - before; got != want {
		b.t.Errorf("%s: %d bytes are staged, want %d", what, got, want)
	}
}

// begun is a bench that has staged something, and how many bytes upload/ starts with.
func begun(t *testing.T) (*bench, int64) {
	b := newBench(t)
	b.area.attendAfter = time.Millisecond // what these tests wait for ends soon
	b.ok(b.write("warm.tmp", nil))
	return b, int64(len(startLayout) + len(startIndex))
}

// The files that upload/ starts with count, and once when they are written anew.
func TestWhatUploadStartsWithIsCounted(t *testing.T) {
	b, start := begun(t)
	b.staged("at the start", 0, start)
	b.ok(b.write("index.json", indexOf()))
	b.staged("index.json anew", 0, int64(len(startLayout)+len(indexOf())))
	b.ok(b.top.Unlink(t.Context(), "index.json"))
	b.ok(b.top.Unlink(t.Context(), "oci-layout"))
	b.staged("both removed", 0, 0)
}

// A file that is removed while the cache takes it over gives its room back once.
func TestAFileThatIsRemovedWhileItIsAdoptedIsCountedOnce(t *testing.T) {
	b, start := begun(t)
	s := &slowly{bench: b, adopts: make(chan struct{})}
	b.area.o.Tree = s
	b.ok(b.write("blobs/x", make([]byte, 1500)))
	b.staged("while the cache takes it over", start, 0)
	b.ok(b.dirAt("blobs").Unlink(t.Context(), "x"))
	b.staged("removed meanwhile", start, 0)
	close(s.adopts)
	b.area.work.Wait()
	b.staged("in the end", start, 0)
}

// A file that has no name any more holds its room until its last handle is gone, and no longer.
func TestAFileWithoutANameIsCountedUntilItIsClosed(t *testing.T) {
	b, start := begun(t)
	h := b.create("x.tmp")
	other, err := h.f.OpenRead(t.Context(), nil)
	b.ok(err)
	if _, err := h.WriteAt(t.Context(), make([]byte, 100), 0); err != nil {
		t.Fatal(err)
	}
	b.ok(b.top.Unlink(t.Context(), "x.tmp"))
	b.staged("removed", start, 100)
	if _, err := h.WriteAt(t.Context(), make([]byte, 5000), 0); err != nil {
		t.Fatal(err)
	}
	b.staged("written after that", start, 5000)
	h.Release()
	b.staged("closed by the writer", start, 5000)
	other.Release()
	b.staged("closed by all", start, 0)
}

// A file holds as much room as it has bytes here, whatever is done to it.
func TestAFileIsCountedByItsBytes(t *testing.T) {
	b, start := begun(t)
	content, blob := b.borrowed()
	size := int64(len(content))
	h := b.createAs("x.tmp", blob)
	is := func(what string, want int64) { t.Helper(); b.staged(what, start, want) }
	is("a copy of a blob", 0)
	if _, err := h.WriteAt(t.Context(), []byte("1234"), size); err != nil {
		t.Fatal(err)
	}
	is("with more bytes", size+4)
	if _, err := h.WriteAt(t.Context(), []byte("1234"), 0); err != nil {
		t.Fatal(err)
	}
	is("written over", size+4)
	b.ok(h.truncate(t.Context(), 10))
	is("cut", 10)
	b.ok(h.truncate(t.Context(), 3000))
	is("with a hole", 3000)
	b.ok(b.rename("x.tmp", "y.tmp"))
	is("renamed", 3000)
	b.ok(b.write("z.tmp", make([]byte, 70)))
	is("beside another", 3070)
	b.ok(b.rename("z.tmp", "y.tmp"))
	is("without a name, and open", 3070)
	h.Release()
	is("without a name, and closed", 70)
	b.ok(b.top.Unlink(t.Context(), "y.tmp"))
	is("removed", 0)
}

// A copy that can't be had in full leaves nothing behind, and one that is refused takes no room.
func TestWhatFailsTakesNoRoom(t *testing.T) {
	b := newBench(t)
	b.ok(b.area.Close(t.Context()))
	b.open(Options{MaxBytes: 2000})
	b.ok(b.write("warm.tmp", nil))
	start := b.area.Staged()
	_, blob := b.borrowed() // 4000 bytes
	h := b.createAs("x.tmp", blob)
	if _, err := h.WriteAt(t.Context(), []byte("y"), 0); !errors.Is(err, ErrNoSpace) {
		t.Errorf("a write says %v", err)
	}
	b.staged("a blob that is larger than the bound", start, 0)
	if n := h.f.Attr().Size; n != blob.Size {
		t.Errorf("the file has %d bytes, want those of the blob", n)
	}
	if err := h.truncate(t.Context(), 10_000); !errors.Is(err, ErrNoSpace) {
		t.Errorf("truncate says %v", err)
	}
	b.staged("a hole that is larger than the bound", start, 0)
	b.ok(h.truncate(t.Context(), 0))
	if _, err := h.WriteAt(t.Context(), make([]byte, 2000-start), 0); err != nil {
		t.Errorf("all that is left: %v", err)
	}
	if _, err := h.WriteAt(t.Context(), []byte("y"), 2000-start); !errors.Is(err, ErrNoSpace) {
		t.Errorf("one byte more: %v", err)
	}
	b.staged("full", 0, 2000)
	h.Release()
	b.ok(b.top.Unlink(t.Context(), "x.tmp"))
	b.staged("removed", start, 0)
}

// A pushed file that is written again counts again.
func TestAPushedFileThatIsWrittenCountsAgain(t *testing.T) {
	b, start := begun(t)
	b.ok(b.write("blobs/x", make([]byte, 1000)))
	b.area.work.Wait()
	b.staged("adopted", start, 0)
	n, err := b.dirAt("blobs/sha256").Lookup(t.Context(), digest.FromBytes(make([]byte, 1000)).Encoded())
	b.ok(err)
	h, err := n.(*File).OpenWrite(t.Context(), nil)
	b.ok(err)
	b.staged("open to be written", start, 0)
	if _, err := h.WriteAt(t.Context(), []byte("y"), 1000); err != nil {
		t.Fatal(err)
	}
	b.staged("written", start, 1001)
	b.ok(h.Flush(t.Context()))
	h.Release()
	b.area.work.Wait()
	b.staged("adopted again", start, 0)
}
