package fs

import (
	"context"
	"sync"
	"syscall"

	"github.com/ocifs/ocifs/fs/internal/caller"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/fs/prefetch"
)

// prefetchFile is .ocifs/prefetch. Each open of it is a session of package prefetch.
type prefetchFile struct{ place }

func (f *prefetchFile) Attr() node.Attr { return f.fileAttr("", 0, f.tree.started) }

func (f *prefetchFile) Open(context.Context, caller.Caller) (node.Content, error) {
	s := &session{sessions: f.tree.sessions, items: map[itemKey]*item{}}
	s.ctx, s.cancel = context.WithCancel(f.tree.sessions.ctx)
	return s, nil
}

// sessions are all sessions of a tree for which something is brought. Their work ends with close, and
// holds nothing of the kernel's: it keeps nobody from unmounting.
type sessions struct {
	tree   *Tree
	ctx    context.Context // ends with close
	cancel context.CancelFunc
	work   sync.WaitGroup // counts the goroutines of all sessions, and the busy sessions
	// slots has an element for each item that is brought now.
	slots chan struct{}

	// mu guards the fields below. It comes after session.mu in the lock order.
	mu     sync.Mutex
	busy   int // sessions that have asks that haven't ended
	closed bool
}

const (
	// itemsAtOnce is how many items are brought at once for all sessions. It is more than
	// --connections has by default, so that small blobs don't wait for layers that are unpacked.
	itemsAtOnce = 16
	// asksAtOnce is how many asks of a session are worked on at once. An ask may wait for a
	// registry, or for layers that say where a path leads.
	asksAtOnce = 8
	// maxBusy is how many sessions may have asks at once.
	maxBusy = 64
	// maxAsks is how many asks of a session may wait. A path takes some hundred bytes.
	maxAsks = 50_000
)

func newSessions(t *Tree) *sessions {
	s := &sessions{tree: t, slots: make(chan struct{}, itemsAtOnce)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// count gives how many sessions have asks that haven't ended.
func (ss *sessions) count() int {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return ss.busy
}

// enter counts a session that gets its first ask.
func (ss *sessions) enter() syscall.Errno {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	switch {
	case ss.closed:
		return syscall.ENOTCONN
	case ss.busy == maxBusy:
		return syscall.EBUSY
	}
	ss.busy++
	ss.work.Add(1)
	return 0
}

// leave takes off a session whose asks have ended.
func (ss *sessions) leave() {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.busy--
	ss.work.Done()
}

// begin calls do in a goroutine that close waits for. The session is busy.
func (ss *sessions) begin(do func()) {
	ss.work.Go(func() { ss.tree.kernel.Caught(do) })
}

// close ends all work, and waits for that.
func (ss *sessions) close() {
	ss.mu.Lock()
	ss.closed = true
	ss.mu.Unlock()
	ss.cancel()
	ss.work.Wait()
}

// session is .ocifs/prefetch, opened. It is safe for concurrent use.
type session struct {
	*sessions
	// ctx is that of asks that aren't in the background. It ends when the file is closed.
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex // guards the fields below
	waiting []job      // asks on which nobody works yet
	workers int        // goroutines that work on asks
	state   prefetch.State
	items   map[itemKey]*item
	edition []byte // of the state: what a read from the start gave last
}

var _ node.Content = (*session)(nil)

// Ask takes the ask in an ioctl.
func (s *session) Ask(_ context.Context, by caller.Caller, command uint32, question []byte) syscall.Errno {
	a, err := prefetch.Decode(command, question)
	if err != nil {
		return syscall.ENOTTY
	}
	return s.take(a, by)
}

// take takes an ask that is charged to a caller.
func (s *session) take(a prefetch.Ask, by caller.Caller) syscall.Errno {
	j, err := s.newJob(a, by)
	if err != nil {
		return syscall.EINVAL
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == maxAsks {
		return syscall.ENOBUFS
	}
	if s.workers == 0 {
		if errno := s.enter(); errno != 0 {
			return errno
		}
	}
	s.state.Asked++
	s.waiting = append(s.waiting, j)
	if s.workers < asksAtOnce {
		s.workers++
		s.begin(s.serve)
	}
	return 0
}

// serve works on asks until none waits.
func (s *session) serve() {
	for {
		j, ok := s.next()
		if !ok {
			return
		}
		j.run()
	}
}

// next gives the next ask. Without one, ok is false, and the worker has left.
func (s *session) next() (j job, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		if s.workers--; s.workers == 0 {
			s.leave()
		}
		return job{}, false
	}
	j = s.waiting[0]
	s.waiting = s.waiting[1:]
	return j, true
}

// ReadAt reads the state. A read from the start makes it anew, and the reads behind it go on with
// the same bytes.
func (s *session) ReadAt(_ context.Context, _ caller.Caller, p []byte, off int64) (int, error) {
	if off == 0 {
		b := indented(s.now())
		s.mu.Lock()
		s.edition = b
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if off >= int64(len(s.edition)) {
		return 0, nil
	}
	return copy(p, s.edition[off:]), nil
}

func (s *session) Way() node.Way { return node.Way{Mode: node.Direct} }

// Close ends the asks that aren't in the background.
func (s *session) Close() { s.cancel() }
