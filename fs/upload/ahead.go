package upload

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry"
)

const (
	// earlyFrom is how many bytes of a blob must be written before sending begins. A
	// smaller blob takes no time to send, and may be a manifest.
	earlyFrom = 8 << 20
	// earlyUnnamedFrom is earlyFrom for a blob whose name says nothing about its digest. If
	// the registry has the blob, what is sent is wasted. So only blobs are sent that take
	// long to copy.
	earlyUnnamedFrom = 32 << 20
	// askedFrom is how many bytes must be left to send of such a blob, when its digest is
	// known, for the registry to be asked whether it has the blob. A request takes about as
	// long as sending less.
	askedFrom = 8 << 20
	// wakeEach is how many new bytes wake the sender. Programs write in small pieces.
	wakeEach = 256 << 10
	// keptFor is how long the sent bytes are kept at the registry for a file that nobody
	// has open. A program may still rename such a file to its digest.
	keptFor = time.Minute
)

// ahead sends a file to the registry before the file is whole, because the file's place says
// that it becomes a blob. The sender follows the bytes that were written in order from the
// start. It gives up if one of those bytes is written again, or if the file gets a name with
// another digest. Then the file is pushed as a whole when it is closed.
//
// A push takes the sender away from its file. From then on only the push uses it.
type ahead struct {
	f      *File
	digest digest.Digest // what the name says; "": nothing
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // closed when nothing more is sent
	// sent is the open session at the registry; nil: there is none. It is set before done
	// is closed.
	sent *registry.Ahead
	// fault is a panic of the sender; nil: there was none. It is set before done is
	// closed.
	fault error
	// used is closed when the push that took the sender has ended.
	used chan struct{}

	// File.mu guards the fields below.
	// taken is where, in bytes, the part of the file ends that may have been sent.
	taken int64
	// given is where, in bytes, the part of the file ends whose bytes were read to be sent.
	given int64
	// window has the newest bytes of the file; nil: the sender reads all from the disk.
	window *window
	ended  bool // nothing more will be written
	// changed is closed when File.front moves, or nothing more will be written. nil means
	// that nobody waits.
	changed chan struct{}
	// from is File.front, in bytes, when the sender last asked for changed.
	from int64
}

// sendAhead starts the sender, if the file's place is that of a blob and enough bytes are
// written. If there is a sender, it wakes it when enough bytes are new. mu is held, and the
// file is pinned on the disk.
func (f *File) sendAhead() {
	if a := f.ahead; a != nil {
		if f.front-a.from >= wakeEach {
			a.wake()
		}
		return
	}
	area := f.root.area
	from := area.early
	if f.promise == "" {
		from = area.earlyUnnamed
	}
	if f.whole || f.promise == "" && !f.unnamed || f.front < from || f.isBorrowed() {
		return
	}
	leave, err := area.enter()
	if err != nil {
		return
	}
	f.whole = true
	a := &ahead{f: f, digest: f.promise, done: make(chan struct{}), used: make(chan struct{})}
	a.ctx, a.cancel = context.WithCancel(area.ctx)
	a.window = area.newWindow(f.front, f.promise == "")
	f.ahead = a
	f.refs++
	src := newSource(f, f.disk)
	go func() {
		defer leave()
		defer a.cancel()
		stop := context.AfterFunc(area.open, a.abandon)
		defer stop()
		a.run(src)
		area.caught(a.keep)
	}()
}

// run sends bytes until no more will be written. A panic ends it too.
func (a *ahead) run(src *source) {
	defer close(a.done)
	defer src.Close()
	defer a.endWindow()
	a.fault = a.f.root.area.catch(func() error { a.send(src); return nil })
}

// send sends bytes until no more will be written.
func (a *ahead) send(bytes *source) {
	area, r := a.f.root.area, a.f.root
	if a.digest != "" && r.has.has(a.digest) {
		return
	}
	t := area.active.begin(Blob{r.repo, a.digest, 0}, area.now())
	defer area.active.end(t)
	src := &aheadSource{bytes, a, t}
	var err error
	a.sent, err = area.o.Client.PushAhead(a.ctx, r.repo, a.digest, src, registry.Push{Absent: a.digest != "" && area.o.Tree.Lacks(r.repo, a.digest), Sent: t.sent.Store})
	switch {
	case err == nil, a.ctx.Err() != nil:
	case errors.Is(err, registry.ErrNotAhead):
		area.log.Debug("a blob isn't sent while it is written", "repository", r.repo, "digest", a.digest, "cause", err)
	default:
		area.log.Info("a blob isn't sent while it is written", "repository", r.repo, "digest", a.digest, "cause", err)
	}
}

// keep keeps the session at the registry open until a push has used it, or nobody needs it.
func (a *ahead) keep() {
	if a.sent == nil {
		return
	}
	defer a.sent.Cancel() // no effect after the session was used
	t := time.NewTicker(keptFor)
	defer t.Stop()
	for {
		select {
		case <-a.used:
			return
		case <-a.ctx.Done():
			return
		case <-t.C:
		}
		if !a.f.isWritten() {
			a.abandon()
		}
	}
}

// abandon gives the sender up, unless a push has taken it.
func (a *ahead) abandon() {
	a.f.mu.Lock()
	defer a.f.mu.Unlock()
	if a.f.ahead == a {
		a.f.recall()
	}
}

// wake wakes the sender. File.mu is held.
func (a *ahead) wake() {
	if a.changed != nil {
		close(a.changed)
		a.changed = nil
	}
}

// recall gives the sender up, and with it the bytes that were sent. The sender may take a moment
// to end. mu is held.
func (f *File) recall() {
	if f.ahead != nil {
		f.ahead.cancel()
		f.ahead.dropWindow()
		f.ahead = nil
	}
}

// endAhead tells the sender that nothing more will be written. mu is held.
func (f *File) endAhead() {
	if f.ahead != nil {
		f.ahead.ended = true
		f.ahead.wake()
	}
}

// takeAhead takes the sender away from the file, for a push of all its bytes as the blob d. It
// gives nil if no sender sends d. mu is held.
func (f *File) takeAhead(d digest.Digest) *ahead {
	a := f.ahead
	if a == nil {
		return nil
	}
	if !a.isFor(d) {
		f.recall()
		return nil
	}
	f.endAhead()
	f.ahead = nil
	return a
}

// isFor says whether what the sender sends may become the blob d.
func (a *ahead) isFor(d digest.Digest) bool {
	if a.digest == "" { // the session began without an algorithm, which means this one
		return d.Algorithm() == digest.Canonical
	}
	return a.digest == d
}

// moved updates a file that has a new name. promise is the digest that the name promises, and
// unnamed is File.unnamed. If the sender sends a blob of another digest, it is given up. Root.mu is held.
func (f *File) moved(promise digest.Digest, unnamed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.within = f.parent.layoutDir()
	f.promise, f.unnamed = promise, unnamed
	if f.ahead != nil && promise != "" && !f.ahead.isFor(promise) {
		f.recall()
	}
}

// leftUnasked says whether much is left to be sent of the blob b, and the registry wasn't asked for it
// yet.
func (a *ahead) leftUnasked(b Blob) bool {
	if a == nil || a.digest != "" {
		return false
	}
	a.f.mu.Lock()
	defer a.f.mu.Unlock()
	return b.Size-a.given >= askedFrom
}

// wait waits until the sender has ended, and gives its session at the registry; nil: there is
// none.
func (a *ahead) wait(ctx context.Context) (*registry.Ahead, error) {
	if a == nil {
		return nil, nil
	}
	select {
	case <-a.done:
		return a.sent, a.fault
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// drop ends the sender. The push that took it calls drop when it ends.
func (a *ahead) drop() {
	if a != nil {
		a.cancel()
		close(a.used)
	}
}

// source reads the bytes of a file on the disk. The file stays open until Close.
type source struct {
	f    *File
	disk *os.File
	once sync.Once
}

// newSource makes a source. The caller's use of the file becomes the source's.
func newSource(f *File, disk *os.File) *source { return &source{f: f, disk: disk} }

func (s *source) ReadAt(p []byte, off int64) (int, error) { return s.disk.ReadAt(p, off) }

// Close ends the use of the file. A second Close changes nothing.
func (s *source) Close() error {
	s.once.Do(s.f.letGo)
	return nil
}

// aheadSource reads the bytes that are written so far. It is a registry.Growing.
type aheadSource struct {
	*source
	a *ahead
	t *transfer
}

// ReadAt reads bytes. Before that, it notes that they may be sent.
func (s *aheadSource) ReadAt(p []byte, off int64) (n int, err error) {
	if first, second := s.a.take(off, len(p)); first != nil {
		n = copy(p, first)
		n += copy(p[n:], second)
	} else {
		n, err = s.source.ReadAt(p, off)
	}
	s.a.give(off + int64(n))
	return n, err
}

// take notes that the n bytes at the offset off may have been sent. It gives their window.view. The
// window may lose what was given once.
func (a *ahead) take(off int64, n int) (first, second []byte) {
	a.f.mu.Lock()
	defer a.f.mu.Unlock()
	a.taken = max(a.taken, off+int64(n))
	if off < a.given {
		return nil, nil
	}
	return a.window.view(off, n)
}

// give notes that the bytes before end were read to be sent.
func (a *ahead) give(end int64) {
	a.f.mu.Lock()
	defer a.f.mu.Unlock()
	a.given = max(a.given, end)
	a.window.readerMoved()
}

// wakeWriter wakes a writer that waits for a reader of the window. mu is held.
func (f *File) wakeWriter() {
	if f.ahead != nil {
		f.ahead.window.readerMoved()
	}
}

// endWindow gives the window up when the sender has ended.
func (a *ahead) endWindow() {
	a.f.mu.Lock()
	defer a.f.mu.Unlock()
	a.dropWindow()
}

// Grown implements registry.Growing.
func (s *aheadSource) Grown() (int64, bool, <-chan struct{}) {
	f, a := s.f, s.a
	f.mu.Lock()
	defer f.mu.Unlock()
	if a.changed == nil {
		a.changed, a.from = make(chan struct{}), f.front
	}
	s.t.size.Store(f.front)
	return f.front, !a.ended, a.changed
}
