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
	"weak"

	"golang.org/x/sys/unix"

	"github.com/ocifs/ocifs/registry/ref"
)

// Area is the staging area of a mount. It is safe for concurrent use.
type Area struct {
	o         Options
	log       *slog.Logger
	now       func() time.Time
	uid, gid  uint32
	adopted   atomic.Uint64 // counts the files that the cache takes over
	records   records
	active    transfers
	budget    budget
	beginning turn // to make this mount's directory

	ctx    context.Context // ends when Close has waited long enough
	cancel context.CancelFunc
	work   sync.WaitGroup  // pushes, and all else that Close waits for
	open   context.Context // ends when Close begins
	shut   context.CancelFunc
	early  int64 // in bytes: earlyFrom, but in tests

	awaitFor    time.Duration // awaitFor, deferFor, attendAfter and lookEach, but in tests
	deferFor    time.Duration
	attendAfter time.Duration
	pace        time.Duration

	// mu guards all below, and no more than these fields: nobody holds it over I/O or a wait.
	// It comes after Root.mu and File.mu in the lock order, and before no other lock.
	mu      sync.Mutex
	closed  bool
	dir     string   // of this mount; "" until something is staged
	lock    *os.File // held for as long as the mount lives
	journal *os.File // nil until something is staged
	// roots are the repositories of which something is staged, or was changed.
	roots map[ref.Repository]*Root
	// idle are all others that somebody holds a node of. Nothing is lost with those: an equal
	// one is made for the next who asks.
	idle map[ref.Repository]weak.Pointer[Root]
}

// Open opens the staging area, and finds what earlier mounts left in it. It makes
// nothing on disk before something is staged.
func Open(o Options) (*Area, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	// What the area does for a caller ends with the caller's context, or with this.
	ctx, cancel := context.WithCancel(context.Background())
	a := &Area{
		o: o, log: o.Logger, now: o.Now, uid: uint32(os.Getuid()), gid: uint32(os.Getgid()),
		ctx: ctx, cancel: cancel, early: earlyFrom,
		roots: map[ref.Repository]*Root{}, idle: map[ref.Repository]weak.Pointer[Root]{},
		awaitFor: awaitFor, deferFor: deferFor, attendAfter: attendAfter, pace: lookEach,
	}
	a.records.now = a.now
	a.budget.max = o.MaxBytes
	a.budget.makeRoom = func(n int64) { a.o.Tree.MakeRoom(n) }
	a.open, a.shut = context.WithCancel(ctx)
	for _, l := range a.findLeftovers() {
		a.log.Warn("an earlier mount ended before this was pushed", "repository", l.Repository, "target", l.Target, "hint", l.Error)
		a.records.found(l)
	}
	return a, nil
}

// mountDir is the directory of a mount, with what is open of it.
type mountDir struct {
	path          string
	lock, journal *os.File
}

// begin makes this mount's directory, if there is none, and gives it.
func (a *Area) begin(ctx context.Context) (dir string, err error) {
	if err := a.take(ctx, &a.beginning); err != nil {
		return "", err
	}
	defer a.beginning.give()
	if dir := a.path(); dir != "" {
		return dir, nil
	}
	d, err := a.makeDir()
	if err != nil {
		return "", fmt.Errorf("staging area: %w", err)
	}
	a.began(d)
	return d.path, nil
}

// path gives this mount's directory; "": there is none yet.
func (a *Area) path() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.dir
}

// makeDir makes the directory of a mount, which is locked while that lives.
func (a *Area) makeDir() (mountDir, error) {
	dir := filepath.Join(a.o.Dir, fmt.Sprintf("%s-%d", a.now().UTC().Format("20060102-150405.000"), os.Getpid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return mountDir{}, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return mountDir{}, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil { // another mount may just be looking
		a.log.Debug("staging area not locked", "cause", err) // a file system without locks
	}
	journal, err := os.OpenFile(filepath.Join(dir, journalName), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		lock.Close()
		return mountDir{}, err
	}
	return mountDir{dir, lock, journal}, nil
}

func (a *Area) began(d mountDir) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dir, a.lock, a.journal = d.path, d.lock, d.journal
}

// Records lists what became of the pushes, the oldest change first.
func (a *Area) Records() []Record { return a.records.all() }

// Staged gives how many bytes this mount has staged, which Options.MaxBytes bounds.
func (a *Area) Staged() int64 { return a.budget.bytes() }

// Transfers lists the uploads under way, the oldest first.
func (a *Area) Transfers() []Transfer { return a.active.all() }

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

// close has nothing begin any more.
func (a *Area) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
}

// held gives what the area holds: the mount's directory, and the repositories in it.
func (a *Area) held() (mountDir, []*Root) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return mountDir{a.dir, a.lock, a.journal}, slices.Collect(maps.Values(a.roots))
}

// Close ends the area: it waits for what is being pushed until ctx ends, and then
// ends that. What was pushed goes. What wasn't is kept, and told.
func (a *Area) Close(ctx context.Context) error {
	a.close()
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
	d, roots := a.held()
	if d.path == "" {
		return nil
	}
	for _, r := range roots {
		r.end()
	}
	d.journal.Close()
	defer d.lock.Close()
	waits := a.records.reasons()
	for _, l := range a.look(d.path) {
		why := waits[recordKey{l.Repository, l.Target}]
		a.log.Warn("not pushed before the mount ended", "repository", l.Repository, "target", l.Target, "cause", why, "hint", l.Error)
	}
	return nil
}
