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
	// earlyFrom is how much of a blob has to be written, in bytes, for it to be sent before
	// it is whole. What is smaller is sent in no time, and may be a manifest.
	earlyFrom = 8 << 20
	// wakeEach is how much has to come for the sender to be woken, in bytes, as programs
	// write in small pieces.
	wakeEach = 256 << 10
	// keptFor is how long what was sent is kept for a file that nobody has open, to be
	// renamed to its digest.
	keptFor = time.Minute
)

// ahead sends a file to the registry before it is whole, because the file's name says which
// digest it will have. The sender follows the bytes that were written in order, from the start
// on. If one of those is written again, or the file gets another place, the sender gives up,
// and the file is pushed as a whole when it is closed.
//
// A push of the file takes the sender away from it. Nobody else uses the sender from then on.
type ahead struct {
	f      *File
	digest digest.Digest
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}   // closed when nothing more is sent
	sent   *registry.Ahead // set before done is closed; nil: nothing came of it
	fault  error           // a panic of the sender; set before done is closed; nil: there was none
	used   chan struct{}   // closed when the push that took it is through

	// File.mu guards these.
	taken   int64         // in bytes: all before it may have been sent
	ended   bool          // nothing more comes
	changed chan struct{} // closed when the front moved, or nothing more comes; nil: nobody waits
	from    int64         // in bytes: where the front was when changed was asked for
}

// sendAhead begins to send the bytes that are written, if the name says their digest and
// there are enough of them. mu is held, and disk.
func (f *File) sendAhead() {
	if a := f.ahead; a != nil {
		if f.front-a.from >= wakeEach {
			a.wake()
		}
		return
	}
	if f.whole || f.promise == "" || f.front < f.root.area.early || f.isBorrowed() {
		return
	}
	area := f.root.area
	leave, err := area.enter()
	if err != nil {
		return
	}
	f.whole = true
	a := &ahead{f: f, digest: f.promise, done: make(chan struct{}), used: make(chan struct{})}
	a.ctx, a.cancel = context.WithCancel(area.ctx)
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

// run sends bytes until the file gets no more of them, or a panic ends that.
func (a *ahead) run(src *source) {
	defer close(a.done)
	defer src.Close()
	a.fault = a.f.root.area.catch(func() error { a.send(src); return nil })
}

// send sends bytes until the file gets no more of them.
func (a *ahead) send(bytes *source) {
	area, r := a.f.root.area, a.f.root
	if r.has.has(a.digest) {
		return
	}
	t := area.active.begin(Blob{r.repo, a.digest, 0}, area.now())
	defer area.active.end(t)
	src := &aheadSource{bytes, a, t}
	var err error
	a.sent, err = area.o.Client.PushAhead(a.ctx, r.repo, a.digest, src, registry.Push{Absent: area.o.Tree.Lacks(r.repo, a.digest), Sent: t.sent.Store})
	switch {
	case err == nil, a.ctx.Err() != nil:
	case errors.Is(err, registry.ErrNotAhead):
		area.log.Debug("a blob isn't sent while it is written", "repository", r.repo, "digest", a.digest, "cause", err)
	default:
		area.log.Info("a blob isn't sent while it is written", "repository", r.repo, "digest", a.digest, "cause", err)
	}
}

// keep keeps the session at the registry for the push of the file.
func (a *ahead) keep() {
	if a.sent == nil {
		return
	}
	defer a.sent.Cancel() // nothing, where it was used
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

// wake tells the sender that something has changed. File.mu is held.
func (a *ahead) wake() {
	if a.changed != nil {
		close(a.changed)
		a.changed = nil
	}
}

// recall gives the file's sender up, and with it all that was sent. mu is held.
func (f *File) recall() {
	if f.ahead != nil {
		f.ahead.cancel()
		f.ahead = nil
	}
}

// endAhead has the sender come to its end, as nothing more is written. mu is held.
func (f *File) endAhead() {
	if f.ahead != nil {
		f.ahead.ended = true
		f.ahead.wake()
	}
}

// takeAhead takes the sender of the blob d away from the file, to push it; nil: there is none.
// mu is held.
func (f *File) takeAhead(d digest.Digest) *ahead {
	a := f.ahead
	if a == nil {
		return nil
	}
	if a.digest != d {
		f.recall()
		return nil
	}
	f.endAhead()
	f.ahead = nil
	return a
}

// moved tells a file that it has another name, which promises a digest. The bytes that were
// sent ahead of another one are given up. Root.mu is held.
func (f *File) moved(promise digest.Digest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.within = f.parent.layoutDir()
	f.promise = promise
	if f.ahead != nil && promise != "" && promise != f.ahead.digest {
		f.recall()
	}
}

// wait waits until the sender has come to its end, and gives the session at the registry; nil:
// there is none.
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

// drop ends the sender. The push that took it calls this in the end.
func (a *ahead) drop() {
	if a != nil {
		a.cancel()
		close(a.used)
	}
}

// source is the bytes of a file on the disk, which stays open until Close.
type source struct {
	f    *File
	disk *os.File
	once sync.Once
}

// newSource takes over a use of the file.
func newSource(f *File, disk *os.File) *source { return &source{f: f, disk: disk} }

func (s *source) ReadAt(p []byte, off int64) (int, error) { return s.disk.ReadAt(p, off) }

// Close ends the use of the file. Another Close changes nothing.
func (s *source) Close() error {
	s.once.Do(s.f.letGo)
	return nil
}

// aheadSource is the bytes that are there.
type aheadSource struct {
	*source
	a *ahead
	t *transfer
}

// ReadAt reads bytes. It notes before that these may have been sent.
func (s *aheadSource) ReadAt(p []byte, off int64) (int, error) {
	s.a.take(off + int64(len(p)))
	return s.source.ReadAt(p, off)
}

// take notes that all bytes before end may have been sent.
func (a *ahead) take(end int64) {
	a.f.mu.Lock()
	defer a.f.mu.Unlock()
	a.taken = max(a.taken, end)
}

// Grown is registry.Growing's.
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
