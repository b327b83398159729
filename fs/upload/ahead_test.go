package upload

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// early is how much has to be written here for a blob to be sent.
const early = 1 << 20

// streaming is a bench whose registry takes what is sent while it is written.
func streaming(t *testing.T) *bench {
	b := newBench(t)
	b.s.Change(func(tr *registrytest.Traits) { tr.Streamed = true })
	b.area.early = early
	return b
}

// noise is content that nothing else has.
func noise(n int) []byte {
	p := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)})
	_, _ = r.Read(p)
	return p
}

// arrives is closed when n bytes of a stream have come to the registry.
func (b *bench) arrives(n int) <-chan struct{} {
	come := make(chan struct{})
	b.s.Nth(1, "PATCH upload", registrytest.Look(func(x *registrytest.Exchange) {
		x.Request.Body = &counted{x.Request.Body, n, come}
	}))
	return come
}

type counted struct {
	io.ReadCloser
	left int
	come chan struct{}
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if was := c.left; was > 0 {
		if c.left -= n; c.left <= 0 {
			close(c.come)
		}
	}
	return n, err
}

// put writes some of content, from an offset on, in pieces as cp does.
func (b *bench) put(h *Handle, content []byte, from, to int) {
	b.t.Helper()
	const piece = 100_000
	for off := from; off < to; off += piece {
		if _, err := h.WriteAt(b.t.Context(), content[off:min(off+piece, to)], int64(off)); err != nil {
			b.t.Fatal(err)
		}
	}
}

// askedInAll gives what the registry was asked, once nothing more is. What is cancelled
// comes last.
func (b *bench) askedInAll() string {
	b.client.Close()
	asked := b.asked()
	slices.SortStableFunc(asked, func(a, b string) int {
		return strings.Count(a, "DELETE upload") - strings.Count(b, "DELETE upload")
	})
	return strings.Join(asked, ", ")
}

// A blob is on its way before its writer has closed it, and its bytes are sent once:
// under its digest, and under the names that programs give it until it is whole.
//
// Behaviour: push.ahead
func TestABlobIsSentBeforeItIsWhole(t *testing.T) {
	content := noise(3 * early)
	d := digest.FromBytes(content)
	for name, path := range map[string]string{
		"cp": at("", d), "cp -r": at("v1", d), "crane": at("", d) + "123456789", "oras": "ingest/" + d.Encoded() + "_42",
		"rsync": "v1/blobs/sha256/." + d.Encoded() + ".AbCdEf", "rclone": at("", d) + ".1234abcd.partial",
	} {
		t.Run(name, func(t *testing.T) {
			b := streaming(t)
			come := b.arrives(early)
			h := b.create(path)
			b.put(h, content, 0, 2*early)
			<-come
			if got := b.area.Transfers(); len(got) != 1 || got[0].Digest != d || got[0].Done < early || got[0].Size > 2*early {
				t.Errorf("transfers.json says %+v", got)
			}
			if b.s.ReadBlob(b.repo.Path, d) != nil {
				t.Error("it is seen before it is whole")
			}
			b.put(h, content, 2*early, 3*early)
			b.ok(h.Flush(t.Context()))
			h.Release()
			if path != at("", d) && path != at("v1", d) {
				b.ok(b.rename(path, at("v1", d)))
			}
			if got := b.s.ReadBlob(b.repo.Path, d); !bytes.Equal(got, content) {
				t.Errorf("the registry has %d bytes", len(got))
			}
			if n := b.received(); n != int64(len(content)) {
				t.Errorf("%d bytes were sent of %d", n, len(content))
			}
			want := "HEAD blob, POST upload, PATCH upload, PUT upload"
			if got := b.askedInAll(); got != want && got != "HEAD blob, "+want { // the lookup of the new name
				t.Errorf("asked %s", got)
			}
			if b.state(d.String()) != Pushed || len(b.area.Transfers()) != 0 {
				t.Errorf("%v, %v", b.area.Records(), b.area.Transfers())
			}
		})
	}
}

// What the registry has isn't sent, and it is asked once.
func TestABlobThatIsThereIsNotSentBeforeItIsWhole(t *testing.T) {
	b := streaming(t)
	content := noise(2 * early)
	b.s.Blob(b.repo.Path, content)
	h := b.create("ingest/" + digest.FromBytes(content).Encoded() + "_1")
	b.put(h, content, 0, len(content))
	b.ok(h.Flush(t.Context()))
	h.Release()
	b.ok(b.rename("ingest/"+digest.FromBytes(content).Encoded()+"_1", at("", digest.FromBytes(content))))
	if got := b.askedInAll(); got != "HEAD blob" || b.received() != 0 {
		t.Errorf("asked %s", got)
	}
}

// A blob whose name says no digest is sent while it is written, if it is large. The registry
// learns its digest at the close.
func TestALargeBlobUnderAnyNameIsSentBeforeItIsWhole(t *testing.T) {
	content := noise(3 * early)
	d := digest.FromBytes(content)
	for _, to := range []string{"", "blobs/final", at("v1", d)} {
		t.Run(to, func(t *testing.T) {
			b := streaming(t)
			b.area.earlyUnnamed = early
			come := b.arrives(early)
			h := b.create("blobs/model")
			defer h.Release()
			b.put(h, content, 0, 2*early)
			<-come
			if got := b.area.Transfers(); len(got) != 1 || got[0].Digest != "" || got[0].Done < early || got[0].Size > 2*early {
				t.Errorf("transfers.json says %+v", got)
			}
			if to == "blobs/final" { // the name promises nothing, and the blob isn't whole
				b.ok(b.rename("blobs/model", to))
			}
			b.put(h, content, 2*early, 3*early)
			if to == at("v1", d) {
				b.ok(b.rename("blobs/model", to))
			}
			b.ok(h.Flush(t.Context()))
			n := b.received()
			if got := b.askedInAll(); got != "POST upload, PATCH upload, PUT upload" || n != int64(len(content)) {
				t.Errorf("asked %s, and %d bytes were sent", got, n)
			}
			if !bytes.Equal(b.s.ReadBlob(b.repo.Path, d), content) || b.state(d.String()) != Pushed {
				t.Errorf("the registry has something else; %+v", b.area.Records())
			}
		})
	}
}

// A blob that takes no time to copy, and whose name says no digest, is sent at the close: the
// registry may have it.
func TestASmallBlobUnderAnyNameIsSentWhenItIsClosed(t *testing.T) {
	b := streaming(t)
	content := noise(2 * early)
	h := b.create("blobs/model")
	b.put(h, content, 0, len(content))
	if got := b.asked(); len(got) != 0 {
		t.Errorf("writing it cost %q", got)
	}
	b.ok(h.Flush(t.Context()))
	h.Release()
	if got := b.askedInAll(); got != "HEAD blob, POST upload, PUT upload" {
		t.Errorf("asked %s", got)
	}
	if !bytes.Equal(b.s.ReadBlob(b.repo.Path, digest.FromBytes(content)), content) {
		t.Error("the registry has something else")
	}
}

// The close of a blob that the registry turns out to have doesn't wait until it is sent.
func TestABlobThatTurnsOutToBeThereIsNotSentToItsEnd(t *testing.T) {
	b := streaming(t)
	b.area.earlyUnnamed = early
	content := noise(askedFrom + 24<<20) // more than connections on loopback hold
	b.s.Blob(b.repo.Path, content)
	release := b.held("PATCH upload")
	h := b.create("blobs/model")
	defer h.Release()
	b.put(h, content, 0, len(content))
	b.ok(h.Flush(t.Context()))
	d := digest.FromBytes(content)
	if b.state(d.String()) != Pushed {
		t.Errorf("uploads.json says %+v", b.area.Records())
	}
	close(release)
	b.ok(b.area.Close(t.Context()))
	if got := b.askedInAll(); got != "POST upload, PATCH upload, HEAD blob, DELETE upload" || b.s.Sessions() != 0 {
		t.Errorf("asked %s, and %d sessions are left", got, b.s.Sessions())
	}
}

// Whatever is done to a file that is being sent, the registry gets the blob that it
// becomes, and nothing is left of what was sent in vain.
func TestWhatBecomesOfAFileThatIsSentCounts(t *testing.T) {
	content := noise(3 * early)
	d := digest.FromBytes(content)
	type step func(b *bench, h *Handle)
	for name, c := range map[string]struct {
		do    step
		blob  bool
		again bool // all of it is sent once more
	}{
		"written again": {func(b *bench, h *Handle) {
			b.put(h, content, 1000, 2000)
			b.put(h, content, 2*early, 3*early)
			b.ok(h.Flush(b.t.Context()))
		}, true, true},
		"cut and written again": {func(b *bench, h *Handle) {
			b.ok(h.truncate(b.t.Context(), 100))
			b.put(h, content, 100, 3*early)
			b.ok(h.Flush(b.t.Context()))
		}, true, true},
		"out of order from there on": {func(b *bench, h *Handle) {
			b.put(h, content, 5*early/2, 3*early)
			b.put(h, content, 2*early, 5*early/2)
			b.ok(h.Flush(b.t.Context()))
		}, true, false},
		"with a size that was set before": {func(b *bench, h *Handle) {
			b.ok(h.truncate(b.t.Context(), 3*early))
			b.put(h, content, 2*early, 3*early)
			b.ok(h.Flush(b.t.Context()))
		}, true, false},
		"closed in between, as a shell does": {func(b *bench, h *Handle) {
			b.ok(h.Flush(b.t.Context()))
			b.put(h, content, 2*early, 3*early)
			b.ok(h.Flush(b.t.Context()))
		}, true, false},
		"synced in between": {func(b *bench, h *Handle) {
			b.ok(h.Sync(b.t.Context()))
			b.put(h, content, 2*early, 3*early)
			b.ok(h.Sync(b.t.Context()))
		}, true, false},
		"never whole": {func(b *bench, h *Handle) { b.ok(h.Flush(b.t.Context())) }, false, false},
		"killed":      {func(*bench, *Handle) {}, false, false},
		"removed": {func(b *bench, h *Handle) {
			b.ok(b.dirAt("blobs/sha256").Unlink(t.Context(), d.Encoded()))
			b.put(h, content, 2*early, 3*early)
			b.ok(h.Flush(b.t.Context()))
		}, false, false},
		"renamed to what it isn't": {func(b *bench, h *Handle) {
			b.ok(b.rename(at("", d), "kept"))
			b.put(h, content, 2*early, 3*early)
			if err := b.rename("kept", at("", digest.FromString("other"))); !errors.Is(err, ErrMismatch) {
				b.t.Errorf("rename says %v", err)
			}
			b.ok(b.dirAt("").Unlink(t.Context(), "kept"))
		}, false, false},
		"renamed away and back": {func(b *bench, h *Handle) {
			b.ok(b.rename(at("", d), "kept"))
			b.put(h, content, 2*early, 3*early)
			b.ok(b.rename("kept", at("", d)))
		}, true, false},
		"the end of the mount": {func(b *bench, h *Handle) { b.ok(b.area.Close(b.t.Context())) }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := streaming(t)
			come := b.arrives(early)
			h := b.create(at("", d))
			b.put(h, content, 0, 2*early)
			<-come
			c.do(b, h)
			h.Release()
			b.ok(b.area.Close(t.Context())) // which waits for what is being cancelled
			n := b.received()
			asked := b.askedInAll()
			if got := b.s.ReadBlob(b.repo.Path, d); (got != nil) != c.blob || c.blob && !bytes.Equal(got, content) {
				t.Errorf("the registry has %d bytes", len(got))
			}
			if b.s.Sessions() != 0 {
				t.Errorf("%d sessions are left: asked %s", b.s.Sessions(), asked)
			}
			if c.blob && !c.again && n != int64(len(content)) {
				t.Errorf("%d bytes were sent of %d: asked %s", n, len(content), asked)
			}
			if c.again && strings.Count(asked, "PATCH upload, ") != 1 || !strings.HasPrefix(asked, "HEAD blob, POST upload, PATCH upload") {
				t.Errorf("asked %s", asked)
			}
		})
	}
}

// A registry that doesn't take it so, or fails meanwhile, gets the whole blob at the
// close, and no word of it is said to the writer.
func TestABlobIsSentAsAWholeWhereItCannotBeSentBefore(t *testing.T) {
	content := noise(3 * early)
	d := digest.FromBytes(content)
	for name, quirk := range map[string]registrytest.Quirk{
		"refused": registrytest.Status(http.StatusLengthRequired, ""), "broken off": registrytest.Take(early),
		"strict": nil,
	} {
		t.Run(name, func(t *testing.T) {
			b := streaming(t)
			if quirk == nil {
				b.s.Change(func(tr *registrytest.Traits) { tr.Streamed = false })
			} else {
				b.s.On("PATCH upload", quirk)
			}
			h := b.create(at("", d))
			b.put(h, content, 0, 2*early)
			for !slices.Contains(b.s.Asked(), "PATCH upload") { // a close that comes before leaves the sender nothing to do
				time.Sleep(time.Millisecond)
			}
			b.put(h, content, 2*early, 3*early)
			b.ok(h.Flush(t.Context()))
			h.Release()
			if !bytes.Equal(b.s.ReadBlob(b.repo.Path, d), content) {
				t.Error("the registry has something else")
			}
			b.askedInAll()
			next := noise(2 * early)
			b.ok(b.write(at("", digest.FromBytes(next)), next))
			if got := b.askedInAll(); got != "HEAD blob, HEAD blob, POST upload, PUT upload" && got != "HEAD blob, POST upload, PUT upload" {
				t.Errorf("the next asked %s", got)
			}
			if b.s.Sessions() != 0 {
				t.Errorf("%d sessions are left", b.s.Sessions())
			}
		})
	}
}

// Where the registry is gone in the middle, closing says so, and another close tries
// again with what is staged.
func TestARegistryThatIsGoneInTheMiddleIsToldAtTheClose(t *testing.T) {
	b := streaming(t)
	content := noise(3 * early)
	d := digest.FromBytes(content)
	come := b.arrives(early)
	h := b.create(at("", d))
	defer h.Release()
	b.put(h, content, 0, 2*early)
	<-come
	denied := b.s.On("* *", registrytest.Refuse(http.StatusForbidden, "DENIED"))
	b.put(h, content, 2*early, 3*early)
	if err := h.Flush(t.Context()); !errors.Is(err, registry.ErrDenied) {
		t.Errorf("close says %v", err)
	}
	denied.End()
	b.put(h, content, 3*early-1, 3*early)
	b.ok(h.Flush(t.Context()))
	if !bytes.Equal(b.s.ReadBlob(b.repo.Path, d), content) {
		t.Error("the registry has something else")
	}
}

// Who waits at the close for what is being sent can be interrupted.
func TestAnInterruptedCloseEndsWhatIsSent(t *testing.T) {
	b := streaming(t)
	content := noise(3 * early)
	d := digest.FromBytes(content)
	ctx, cancel := context.WithCancel(t.Context())
	slow := b.s.On("PATCH upload", registrytest.DoneBut(registrytest.Look(func(x *registrytest.Exchange) {
		cancel()
		<-x.Context().Done() // and nothing is said
	})))
	come := b.arrives(early)
	h := b.create(at("", d))
	defer h.Release()
	b.put(h, content, 0, 3*early)
	<-come // a close that comes before the sender has begun leaves it nothing to do
	if err := h.Flush(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	slow.End()
	b.ok(h.Flush(t.Context()))
	if !bytes.Equal(b.s.ReadBlob(b.repo.Path, d), content) {
		t.Error("the registry has something else")
	}
	b.ok(b.area.Close(t.Context()))
	if b.askedInAll(); b.s.Sessions() != 0 {
		t.Errorf("%d sessions are left", b.s.Sessions())
	}
}

func TestWhatANamePromises(t *testing.T) {
	b := newBench(t)
	d := digest.FromString("x")
	hex := d.Encoded()
	for path, want := range map[string]digest.Digest{
		at("", d): d, at("v1", d): d, at("", d) + "12": d, "ingest/" + hex + "_1": d, "ingest/" + hex: d, "v1/blobs/sha256/." + hex + ".Xy": d,
		hex: "", "blobs/" + hex: "", "ingest/" + hex[:60]: "", "blobs/sha256/123.tmp": "", "blobs/sha999/" + hex: "", "x/" + hex + "_1": "", "oci-put-blob1": "",
		"ingest/" + strings.ToUpper(hex): "", "blobs/sha512/" + hex: "",
	} {
		dir := b.dirAt(filepath.Dir(path))
		b.top.root.mu.Lock()
		got := promised(dir, filepath.Base(path))
		b.top.root.mu.Unlock()
		if got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}
