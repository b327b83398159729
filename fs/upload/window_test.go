package upload

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry/registrytest"
)

// held makes the registry answer no request of a kind before the test closes the channel.
func (b *bench) held(request string) (release chan struct{}) {
	release = make(chan struct{})
	b.s.On(request, registrytest.Look(func(*registrytest.Exchange) { <-release }))
	return release
}

// sentOnce checks that the registry has a blob, and was sent each of its bytes once.
func (b *bench) sentOnce(content []byte) {
	b.t.Helper()
	if got := b.s.ReadBlob(b.repo.Path, digest.FromBytes(content)); !bytes.Equal(got, content) {
		b.t.Errorf("the registry has %d other bytes", len(got))
	}
	if n := b.received(); n != int64(len(content)) {
		b.t.Errorf("%d bytes were sent of %d", n, len(content))
	}
}

// aligned is a copy of content that fits direct writes.
func aligned(content []byte) []byte {
	const page = 4096
	p := make([]byte, len(content)+page)
	for off := range page {
		if fitsDirect(p[off:off+1<<20], 0) {
			p = p[off:]
			break
		}
	}
	copy(p, content)
	return p[:len(content)]
}

// pieces of a file as programs write them, by the size of the next one.
var writers = map[string]func() int{
	"cp":     func() int { return 1 << 20 },
	"go":     func() int { return 32 << 10 },
	"odd":    func() int { return 1 + rand.IntN(700_000) },
	"beyond": func() int { return windowSize + 4096 },
}

// The registry gets the bytes that were written, each once, however fast they come and go. The
// cache gets the same ones.
func TestTheWindowChangesNoByte(t *testing.T) {
	content := aligned(noise(5*windowSize + 12345))
	d := digest.FromBytes(content)
	for name, next := range writers {
		for _, slow := range []bool{false, true} {
			if slow && name != "cp" {
				continue // each of them takes windowWait
			}
			if slow {
				name += ", before the registry takes a byte"
			}
			t.Run(name, func(t *testing.T) {
				b := streaming(t)
				begins := make(chan struct{})
				if slow {
					begins = b.held("PATCH upload") // until all is written
				} else {
					close(begins)
				}
				h := b.create(at("", d))
				for off := 0; off < len(content); {
					n := min(next(), len(content)-off)
					if _, err := h.WriteAt(t.Context(), content[off:off+n], int64(off)); err != nil {
						t.Fatal(err)
					}
					off += n
				}
				if slow {
					close(begins)
				}
				b.ok(h.Flush(t.Context()))
				h.Release()
				b.sentOnce(content)
				b.ok(b.area.Close(t.Context())) // Adopt checks the bytes
				if n := b.area.windows.Load(); n != 0 {
					t.Errorf("%d windows are left", n)
				}
			})
		}
	}
}

// Bytes that the window has, and that nobody took yet, are written again: the registry gets the
// newer ones, and what was not sent isn't sent twice.
func TestBytesOfTheWindowThatAreWrittenAgainCount(t *testing.T) {
	old := noise(3 * early)
	content := bytes.Clone(old)
	copy(content[2*early:], "newer")
	d := digest.FromBytes(content)
	b := streaming(t)
	begins := b.held("POST upload")
	h := b.create(at("", d))
	b.put(h, old, 0, len(old))
	b.put(h, content, 2*early, 2*early+10)
	close(begins)
	b.ok(h.Flush(t.Context()))
	h.Release()
	b.sentOnce(content)
}

// A writer that is ahead of the sender writes past the page cache, where the disk can do that and
// isn't busy with the page cache. Readers see those bytes at once.
func TestAWriterThatHasTimeWritesPastThePageCache(t *testing.T) {
	if !fitsDirect(aligned(make([]byte, 1<<20)), 0) {
		t.Log("this system has no direct writes: the bytes go through the page cache")
	}
	for _, backlog := range []int64{0, muchBacklog} {
		content := aligned(noise(4 * directPiece))
		b := streaming(t)
		b.area.early = directPiece
		b.area.writingBack = func() int64 { return backlog }
		begins := b.held("POST upload")
		h := b.create(at("", digest.FromBytes(content)))
		for off := 0; off < len(content); off += directPiece {
			if _, err := h.WriteAt(t.Context(), content[off:off+directPiece], int64(off)); err != nil {
				t.Fatal(err)
			}
		}
		direct := h.f.direct != nil || h.f.indirect
		if want := backlog == 0 && fitsDirect(content, 0); direct != want {
			t.Errorf("with a backlog of %d bytes it is written past the page cache: %t", backlog, direct)
		}
		got := make([]byte, len(content))
		if n, err := h.ReadAt(t.Context(), got, 0); n != len(got) || err != nil || !bytes.Equal(got, content) {
			t.Errorf("read %d bytes of %d, %v", n, len(content), err)
		}
		close(begins)
		b.ok(h.Flush(t.Context()))
		h.Release()
	}
}

const directPiece = 1 << 20

// A file that can't be written past the page cache is written through it.
func TestADirectWriteThatFailsIsWrittenOnceMore(t *testing.T) {
	b := newBench(t)
	h := b.create("x.tmp")
	defer h.Release()
	content := aligned(noise(directPiece))
	closed, err := os.CreateTemp(t.TempDir(), "")
	b.ok(err)
	b.ok(closed.Close())
	h.f.direct = closed
	disk, _, _ := h.f.bytesOn()
	if n := h.f.writeDirect(disk, content, 0); n != 0 || !h.f.indirect {
		t.Errorf("%d bytes are written, indirect %v", n, h.f.indirect)
	}
	if n := h.f.writeDirect(disk, content, 0); n != 0 {
		t.Errorf("%d bytes are written after a failure", n)
	}
	h.f.direct = nil
}

// A file isn't written past the page cache any more when the readers of its window wait for the disk
// again and again. Now and then they may.
func TestASlowDiskIsWrittenThroughThePageCache(t *testing.T) {
	const off = 2 * windowSize
	for _, c := range []struct {
		writes   string // s: the readers waited for this one
		indirect bool
	}{
		{"....", false},
		{"sss", false},
		{"ssss", true},
		{"sss.s", false},
		{"sss.ss", true},
		{strings.Repeat("........s", 20), false},
		{strings.Repeat("....s", 20), true},
	} {
		b := newBench(t)
		h := b.create("x.tmp")
		f := h.f
		a := &ahead{f: f, window: b.area.newWindow(off, false)}
		f.ahead, f.front = a, off
		for _, w := range c.writes {
			a.given = off - 1
			if w == 's' {
				a.given = off
			}
			f.judge(off)
		}
		if f.indirect != c.indirect {
			t.Errorf("%.20s: %t", c.writes, f.indirect)
		}
		f.ahead = nil
		h.Release()
	}
}

// slowBody is a body of which 5 MB come in a second.
type slowBody struct{ io.ReadCloser }

func (s slowBody) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	time.Sleep(time.Duration(n) * 200 * time.Nanosecond)
	return n, err
}

// The registry may have the blob of a name that says no digest. A copy of that doesn't take as long
// as a slow sender.
func TestAWriterDoesNotKeepThePaceOfASlowSenderInVain(t *testing.T) {
	content := noise(8 * windowSize)
	b := streaming(t)
	b.area.earlyUnnamed = early
	b.s.Blob(b.repo.Path, content)
	b.s.On("PATCH upload", registrytest.Look(func(x *registrytest.Exchange) { x.Request.Body = slowBody{x.Request.Body} }))
	h := b.create("blobs/again")
	for off := 0; off < len(content); off += 1 << 20 {
		b.put(h, content, off, off+1<<20)
	}
	h.f.mu.Lock()
	behind := h.f.behind(h.f.front)
	h.f.mu.Unlock()
	if behind <= windowSize {
		t.Errorf("the sender is %d bytes behind: the writer has waited for it", behind)
	}
	b.ok(h.Flush(t.Context()))
	h.Release()
}

// The newest bytes of a file are in the window, and no others.
func TestAWindowHasTheNewestBytes(t *testing.T) {
	b := newBench(t)
	content := noise(3*windowSize + 777)
	w := b.area.newWindow(100, false)
	for off := 100; off < len(content); {
		n := min(1+rand.IntN(300_000), len(content)-off)
		first, second := w.places(int64(off), n)
		copy(second, content[off+copy(first, content[off:off+n]):off+n])
		off += n
		w.grown(int64(off))
		from := off - rand.IntN(min(off-100, windowSize)) - 1
		first, second = w.view(int64(from), off-from)
		if got := append(bytes.Clone(first), second...); first == nil || !bytes.Equal(got, content[from:off]) {
			t.Fatalf("[%d,%d): %d bytes", from, off, len(got))
		}
	}
	for _, c := range []struct{ off, n int }{{w0(w) - 1, 10}, {len(content) - 5, 6}, {len(content), 1}} {
		if first, _ := w.view(int64(c.off), c.n); first != nil {
			t.Errorf("it has %d bytes at %d", c.n, c.off)
		}
	}
	if first, _ := (*window)(nil).view(0, 0); first != nil {
		t.Error("no window has bytes")
	}
}

func w0(w *window) int { return int(w.start) }
