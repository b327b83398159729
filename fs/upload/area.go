package upload

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocifs/ocifs/registry/ref"
)

// Area is the staging area of a mount. It is safe for concurrent use.
type Area struct {
	o        Options
	log      *slog.Logger
	uid, gid uint32
	adopted  atomic.Uint64 // counts the files that the cache takes over
	records  records
	active   transfers

	ctx    context.Context // ends when Close has waited long enough
	cancel context.CancelFunc
	work   sync.WaitGroup  // what Close waits for
	open   context.Context // ends when Close begins
	shut   context.CancelFunc
	early  int64 // bytes that have to be written for a blob to be sent before it is whole

	awaitFor    time.Duration // awaitFor, deferFor, attendAfter and lookEach, but in tests
	deferFor    time.Duration
	attendAfter time.Duration
	pace        time.Duration

	mu      sync.Mutex
	closed  bool
	dir     string   // of this mount; "" until something is staged
	lock    *os.File // held for as long as the mount lives
	journal *os.File
	roots   map[ref.Repository]*Root
	used    int64 // bytes that are staged
	step    int64 // bytes since room was last made
}

// Open opens the staging area, and finds what earlier mounts left in it. It makes
// nothing on disk before something is staged.
func Open(o Options) (*Area, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	// What the area does for a caller ends with the caller's context, or with this.
	ctx, cancel := context.WithCancel(context.Background())
	a := &Area{
		o: o, log: o.Logger, uid: uint32(os.Getuid()), gid: uint32(os.Getgid()),
		ctx: ctx, cancel: cancel, roots: map[ref.Repository]*Root{}, early: earlyFrom,
		awaitFor: awaitFor, deferFor: deferFor, attendAfter: attendAfter, pace: lookEach,
	}
	a.open, a.shut = context.WithCancel(ctx)
	for _, left := range a.findLeft() {
		a.log.Warn("an earlier mount ended before this was pushed", "repository", left.Repository, "target", left.Target, "hint", left.Error)
		a.records.found(left)
	}
	return a, nil
}

// begin makes this mount's directory. mu is held.
func (a *Area) begin() error {
	if a.dir != "" {
		return nil
	}
	dir := filepath.Join(a.o.Dir, fmt.Sprintf("%s-%d", time.Now().UTC().Format("20060102-150405.000"), os.Getpid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("staging area: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("staging area: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil { // another mount may just be looking
		a.log.Debug("staging area not locked", "cause", err) // a file system without locks
	}
	journal, err := os.OpenFile(filepath.Join(dir, journalName), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		lock.Close()
		return fmt.Errorf("staging area: %w", err)
	}
	a.dir, a.lock, a.journal = dir, lock, journal
	return nil
}

// Root gives upload/ of a repository, and makes it the first time.
func (a *Area) Root(r ref.Repository) (*Dir, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if root, ok := a.roots[r]; ok {
		return root.top, nil
	}
	if a.closed {
		return nil, ErrClosed
	}
	root := newRoot(a, r)
	a.roots[r] = root
	return root.top, nil
}

// Forget is to be told that a tag, or a digest, was deleted at the registry, so that
// staging it pushes it again.
func (a *Area) Forget(r ref.Repository, target string) {
	a.mu.Lock()
	root := a.roots[r]
	a.mu.Unlock()
	if root != nil {
		root.forget(target)
	}
}

// Records lists what became of the pushes, the oldest change first.
func (a *Area) Records() []Record { return a.records.all() }

// Staged gives how many bytes this mount has staged, which Options.MaxBytes bounds.
func (a *Area) Staged() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.used
}

// Transfers lists the uploads under way, the oldest first.
func (a *Area) Transfers() []Transfer { return a.active.all() }

// makeRoomEach is how much is staged before the cache is asked to make room for
// as much again.
const makeRoomEach = 64 << 20

// reserve makes room for n more bytes on disk, or less where n is negative.
func (a *Area) reserve(n int64) error {
	a.mu.Lock()
	if n > 0 && a.o.MaxBytes > 0 && a.used+n > a.o.MaxBytes {
		defer a.mu.Unlock()
		return fmt.Errorf("%w: %d bytes are staged, of %d allowed", ErrNoSpace, a.used, a.o.MaxBytes)
	}
	a.used += n
	a.step += max(n, 0)
	room := a.step >= makeRoomEach
	if room {
		a.step = 0
	}
	a.mu.Unlock()
	if room {
		a.o.Tree.MakeRoom(makeRoomEach)
	}
	return nil
}

// enter says that something begins that Close waits for.
func (a *Area) enter() (leave func(), err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, ErrClosed
	}
	a.work.Add(1)
	return a.work.Done, nil
}

// under is ctx, ended with the area as well.
func (a *Area) under(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(a.ctx, func() { cancel(ErrClosed) })
	return ctx, func() { stop(); cancel(nil) }
}

// Close ends the area: it waits for what is being pushed until ctx ends, and then
// ends that. What was pushed goes. What wasn't is kept, and told.
func (a *Area) Close(ctx context.Context) error {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.shut()
	done := make(chan struct{})
	go func() {
		a.work.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	a.cancel()
	<-done
	a.mu.Lock()
	dir, roots := a.dir, slices.Collect(maps.Values(a.roots))
	a.mu.Unlock()
	if dir == "" {
		return nil
	}
	for _, r := range roots {
		r.clear()
	}
	a.journal.Close()
	defer a.lock.Close()
	waits := a.records.reasons()
	for _, left := range a.look(dir) {
		why := waits[recordKey{left.Repository, left.Target}]
		a.log.Warn("not pushed before the mount ended", "repository", left.Repository, "target", left.Target, "cause", why, "hint", left.Error)
	}
	return nil
}
