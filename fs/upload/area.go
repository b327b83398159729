package upload

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
	beginning turn // held to make this mount's directory

	// ctx ends when Close has waited long enough.
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup // counts the pushes and all other work that Close waits for
	// open ends when Close begins.
	open    context.Context
	shut    context.CancelFunc
	windows atomic.Int32 // counts the windows of all files
	backlog backlog      // of the page cache, for direct writes to all files
	// writingBack gives how many bytes the page cache is writing to disks. It is the function of
	// that name. Tests set another one.
	writingBack func() int64
	// early is earlyFrom, in bytes. Tests set another value.
	early int64
	// earlyUnnamed is earlyUnnamedFrom, in bytes. Tests set another value.
	earlyUnnamed int64

	// awaitFor and the next three fields hold the constants awaitFor, deferFor, attendAfter
	// and lookEach. Tests set other values.
	awaitFor    time.Duration
	deferFor    time.Duration
	attendAfter time.Duration
	pace        time.Duration

	// mu guards the fields below. Nobody holds it over I/O or a wait. It comes after Root.mu
	// and File.mu in the lock order, and no lock is taken under it.
	mu      sync.Mutex
	closed  bool
	dir     string   // this mount's; "" until something is staged
	lock    *os.File // locked as long as the mount lives
	journal *os.File // nil until something is staged
	// roots are the repositories of which something was staged or changed.
	roots map[ref.Repository]*Root
	// idle are the other repositories of which somebody holds a node. Their Roots may be
	// freed, because an equal one is made for the next caller of Root.
	idle map[ref.Repository]weak.Pointer[Root]
}

// Open opens the staging area, and finds what earlier mounts left in it. It writes nothing to the
// disk until something is staged.
func Open(o Options) (*Area, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	// Work for a caller ends with the caller's context. All other work ends with this one.
	ctx, cancel := context.WithCancel(context.Background())
	a := &Area{
		o: o, log: o.Logger, now: o.Now, uid: uint32(os.Getuid()), gid: uint32(os.Getgid()),
		ctx: ctx, cancel: cancel, early: earlyFrom, earlyUnnamed: earlyUnnamedFrom,
		writingBack: writingBack,
		roots:       map[ref.Repository]*Root{}, idle: map[ref.Repository]weak.Pointer[Root]{},
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

// mountDir is the staging directory of a mount, with its open files.
type mountDir struct {
	path          string
	lock, journal *os.File
}

// begin gives this mount's directory. It makes the directory if there is none yet.
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

// makeDir makes the directory of a mount. It is locked as long as the mount lives.
func (a *Area) makeDir() (mountDir, error) {
	dir, err := a.newDir()
	if err != nil {
		return mountDir{}, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return mountDir{}, err
	}
	// Another mount may hold the lock for a moment, while it looks at the directory.
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		a.log.Debug("staging area not locked", "cause", err) // the file system has no locks
	}
	journal, err := os.OpenFile(filepath.Join(dir, journalName), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		lock.Close()
		return mountDir{}, err
	}
	return mountDir{dir, lock, journal}, nil
}

// newDir makes a directory that is named after this moment, or after a later one if another mount
// has that name: two containers may have the same process IDs.
func (a *Area) newDir() (string, error) {
	if err := os.MkdirAll(a.o.Dir, 0o700); err != nil {
		return "", err
	}
	for at := a.now().UTC(); ; at = at.Add(time.Millisecond) {
		dir := filepath.Join(a.o.Dir, fmt.Sprintf("%s-%d", at.Format("20060102-150405.000"), os.Getpid()))
		if err := os.Mkdir(dir, 0o700); !errors.Is(err, fs.ErrExist) {
			return dir, err
		}
	}
}

func (a *Area) began(d mountDir) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dir, a.lock, a.journal = d.path, d.lock, d.journal
}

// Records lists the results of the pushes, the oldest change first.
func (a *Area) Records() []Record { return a.records.all() }

// Unpushed lists the pushes of this mount that are under way, wait or failed. It touches no disk.
func (a *Area) Unpushed() []Record {
	all, _ := a.records.copy()
	return slices.DeleteFunc(all, func(r Record) bool { return r.State == Pushed })
}

// Staged gives how many bytes this mount has staged. Options.MaxBytes limits them.
func (a *Area) Staged() int64 { return a.budget.bytes() }

// Transfers lists the uploads under way, the oldest first.
func (a *Area) Transfers() []Transfer { return a.active.all() }

// enter notes the start of work that Close waits for. The caller calls leave at its end. After
// Close has begun, enter fails with ErrClosed.
func (a *Area) enter() (leave func(), err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, ErrClosed
	}
	a.work.Add(1)
	return a.work.Done, nil
}

// under gives a context that ends with ctx or with the area.
func (a *Area) under(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(a.ctx, func() { cancel(ErrClosed) })
	return ctx, func() { stop(); cancel(nil) }
}

// close makes every later enter fail.
func (a *Area) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
}

// held gives the mount's directory, and the repositories that the area holds.
func (a *Area) held() (mountDir, []*Root) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return mountDir{a.dir, a.lock, a.journal}, slices.Collect(maps.Values(a.roots))
}

// Close ends the area. It waits for pushes that are under way until ctx ends, and then cancels
// them. It removes what was pushed from the disk. It keeps what wasn't pushed, and logs it.
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
