package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ocifs/ocifs/cache/internal/ingest"
	"github.com/opencontainers/go-digest"
)

// Errors of a store, for errors.Is.
var (
	// ErrMismatch: the bytes that came don't have the digest or the size that
	// they should. Nothing of them was kept or shown.
	ErrMismatch = ingest.ErrMismatch
	// ErrNoPlace is what Want.Part gives where no connection is free. It is asked again.
	ErrNoPlace = ingest.ErrNoPlace
	// ErrNoSpace: the disk is full, even after eviction. It is also
	// syscall.ENOSPC.
	ErrNoSpace = fmt.Errorf("no space for the cache: %w", syscall.ENOSPC)
	// ErrClosed: the store was closed meanwhile.
	ErrClosed = errors.New("the cache is closed")
	// ErrBehind: the disk is behind with what was put before. It may not be in a moment.
	ErrBehind = fmt.Errorf("%d blobs wait for the disk of the cache", maxLater)
	// ErrUnreadable: the disk can't read a cached blob. Its file was set aside, and Get
	// fetches the blob again.
	ErrUnreadable = errors.New("the disk can't read what is cached")
)

// Options says how a store behaves. The zero value is useful.
type Options struct {
	// MaxBytes is the bound, in bytes of the disk. It becomes the directory's, and is kept
	// there, unless others have the directory open: theirs stays. 0: the directory's,
	// DefaultBound where none is kept.
	MaxBytes int64
	Grace    time.Duration // how long a download lives that nobody waits for; 0: 10 s
	Parts    int           // how many parts of a large blob are fetched at once at most; 0: 1
	For      string        // what the store is opened for, as people are told: a mountpoint
	Logger   *slog.Logger  // nil: silent
	// Scanned is told how many blobs are known, each time that the directory was read. Nil:
	// nobody is.
	Scanned func(blobs int)
}

// Store is a cache directory. It is safe for concurrent use, and several
// processes may open one directory at the same time.
type Store struct {
	layout
	grace time.Duration
	parts int
	log   *slog.Logger
	now   func() time.Time

	ctx      context.Context // ends with Close; downloads are derived from it
	cancel   context.CancelFunc
	work     sync.WaitGroup        // downloads, makings, the scan and what is kept later
	scans    chan struct{}         // asks for a scan
	came     atomic.Int64          // bytes of all downloads
	coming   atomic.Int64          // blobs that are on their way
	noLocks  atomic.Pointer[error] // why locks keep no other process out; nil: they do
	much     chan struct{}         // asks for one soon
	sentinel *sentinel             // nil where none could be made
	leaving  sync.Once             // takes it away
	checker  *checker
	trouble  trouble
	// unreadable: the disk failed to read a blob since the store was opened.
	unreadable atomic.Bool
	panicked   func(cause any, stack []byte) // OnPanic's; nil: nobody is told

	boundSeen  os.FileInfo               // of the bound's file, when it was read; the scanner's alone
	scanned    func(blobs int)           // Options.Scanned
	ledger     *ledger                   // what the store takes of the disk
	scanning   sync.Mutex                // held by the one scan that runs; before evicting
	evicting   sync.Mutex                // held by the one eviction that runs; no reader takes it
	naming     [pointerDirs]sync.Mutex   // held while a pointer in that directory gets its name or loses it; behind evicting
	indexing   sync.Mutex                // held while indexes are counted and trimmed; behind evicting
	closedMore atomic.Bool               // files were closed while an eviction ran, and the store is beyond its bound
	windows    windows                   // of cache files in memory
	inLater    chan struct{}             // has one for each blob between enterLater and its leave; full: Adopt waits, Put is ErrBehind
	evictions  atomic.Int64              // blobs that evictions unlinked
	seen       atomic.Pointer[limitSeen] // the last limit; nil: none yet

	mu        sync.Mutex // guards what follows; nothing asks the disk while it holds it
	closed    bool
	downloads map[digest.Digest][]*download
	makings   map[digest.Digest]*making     // by the blob that is made from
	placing   map[digest.Digest]*arrival    // what was put or adopted, and has no place yet; of several of one digest, the last
	damaged   map[digest.Digest][]time.Time // when a blob was set aside lately, the last few times
	shuns     map[digest.Digest]uint64      // inodes of damaged files that can be neither moved nor removed; nil: none
	stats     Stats
}

// Open opens the cache in dir, and makes it where there is none. What it holds
// is served at once; the index is filled behind. A directory that holds anything
// else is refused.
func Open(dir string, o Options) (*Store, error) {
	if o.Grace == 0 {
		o.Grace = 10 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	l := layout{dir}
	if err := l.open(); err != nil {
		return nil, err
	}
	// The one context that no call hands in: what a store does behind its
	// callers ends with the store.
	ctx, cancel := context.WithCancel(context.Background())
	s := &Store{
		layout: l, grace: o.Grace, parts: o.Parts, log: o.Logger, now: time.Now,
		ctx: ctx, cancel: cancel, scans: make(chan struct{}, 1), much: make(chan struct{}, 1),
		scanned: o.Scanned, ledger: newLedger(DefaultBound), downloads: map[digest.Digest][]*download{},
		makings: map[digest.Digest]*making{}, placing: map[digest.Digest]*arrival{}, inLater: make(chan struct{}, maxLater),
	}
	s.trouble = trouble{dir: dir, log: s.log, now: time.Now}
	s.checkLocks()
	s.checker = newChecker(ctx, l, s.log, s.setAside)
	own, theirs := s.unclean()
	unclean := len(own)+len(theirs) > 0
	if unclean {
		s.checker.begins(slices.Concat(own, theirs))
	}
	unlock := s.lockBound()
	others, _ := s.users()
	var err error
	if s.sentinel, err = l.enter(o.For); err != nil {
		s.log.Debug("an unclean end couldn't be told from a clean one", "cause", err) // a full disk, or one without locks
	}
	s.boundSeen, _ = os.Stat(s.bound()) // before it is read: what comes later is followed
	s.ledger.setMax(s.agree(o.MaxBytes, others))
	unlock()
	s.work.Add(1)
	go s.scanner()
	if unclean {
		s.work.Go(func() { s.checker.workOff(own, theirs) })
	}
	return s, nil
}

// Close ends what is under way and waits for it. Files that are open stay so. If the process ends before
// Close does, that is an unclean end.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.checker.close()
	s.nameLater()
	s.work.Wait()
	s.leaving.Do(func() {
		if s.sentinel != nil {
			s.sentinel.leave()
		}
	})
	return nil
}

// Open opens a blob that is cached; fs.ErrNotExist where it isn't. size is what
// it must have, or -1 where that isn't known. It doesn't wait: of a blob that is in doubt
// after an unclean end, and too large to be hashed in some milliseconds, it says ErrUnchecked,
// and Get hashes it.
func (s *Store) Open(d digest.Digest, size int64) (*File, error) {
	f, err := s.open(d, size)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.stats.Hits++
	}
	return f, err
}

func (s *Store) open(d digest.Digest, size int64) (*File, error) {
	if err := d.Validate(); err != nil {
		return nil, fmt.Errorf("digest %q: %w", d, err)
	}
	if f := s.arrived(d, size); f != nil {
		return f, nil
	}
	path := s.blob(d)
	if err := s.checker.checkSmall(s.ctx, d); err != nil {
		return nil, err
	}
	s.ledger.pin(d) // before it is opened: eviction mustn't come between
	mark := s.ledger.mark()
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = s.openMoving(d)
	}
	if err != nil {
		s.ledger.unpin(d)
		if errors.Is(err, fs.ErrNotExist) {
			s.ledger.vanished(d, mark)
		}
		if unreadable(err) {
			s.setAside(d, nil, fmt.Sprintf("the disk can't open it: %v", err))
			return nil, fmt.Errorf("%s: %w", d, errDamaged)
		}
		return nil, err
	}
	st, err := f.Stat()
	switch {
	case err != nil:
	case s.shunned(d, inode(st)):
		err = errDamaged
	case !st.Mode().IsRegular() || size >= 0 && st.Size() != size:
		err = fmt.Errorf("%w: it has %d, where %d were expected", errOtherSize, st.Size(), size)
	}
	if err != nil {
		f.Close()
		s.ledger.unpin(d)
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	now := s.now()
	if age := now.Sub(st.ModTime()); age > time.Minute || age < 0 {
		_ = os.Chtimes(path, now, now) // recency is a hint
	}
	promote(f, st)
	s.ledger.note(d, allocated(st))
	return &File{s: &shared{store: s, f: f, digest: d, size: st.Size(), inode: inode(st), refs: 1}}, nil
}

// arrived gives a blob that was just downloaded, made, put or adopted, and has no place of its own
// yet; nil where there is none.
func (s *Store) arrived(d digest.Digest, size int64) *File {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, dl := range s.downloads[d] {
		if dl.over && (size < 0 || size == dl.file.size) {
			dl.file.refs++
			return &File{s: dl.file}
		}
	}
	for _, mk := range s.makings {
		if mk.over && mk.file.digest == d && (size < 0 || size == mk.file.size) {
			mk.file.refs++
			return &File{s: mk.file}
		}
	}
	if a := s.placing[d]; a != nil && (size < 0 || size == a.file.size) {
		a.file.refs++
		return &File{s: a.file}
	}
	return nil
}

// errOtherSize is of a blob that is cached with another size than was asked for:
// to whom asks it isn't cached.
var errOtherSize = fmt.Errorf("cached with another number of bytes: %w", fs.ErrNotExist)

// errDamaged is of a blob that was found damaged and set aside, or can't be: to whom asks it
// isn't cached.
var errDamaged = fmt.Errorf("damaged: %w", fs.ErrNotExist)

// cached opens a blob that is cached, and hashes it before where there is reason to. nil
// without an error: it isn't cached.
func (s *Store) cached(ctx context.Context, w Want) (*File, error) {
	for {
		f, err := s.Open(w.Digest, w.Size)
		switch {
		case err == nil:
			return f, nil
		case w.Digest.Validate() != nil:
			return nil, err
		case !examined(err):
			return nil, nil
		}
		if err := s.examineAfter(ctx, w, err); err != nil {
			return nil, err
		}
	}
}

// examined says whether an error of Open is of a blob that is to be examined.
func examined(err error) bool { return errors.Is(err, ErrUnchecked) || errors.Is(err, errOtherSize) }

// examineAfter hashes a cached blob where Open gave an error for which it is examined. Then it is
// to be opened again.
func (s *Store) examineAfter(ctx context.Context, w Want, err error) error {
	if errors.Is(err, ErrUnchecked) {
		_, err := s.checker.checkDoubt(ctx, w.Digest)
		return err
	}
	return s.examine(ctx, w)
}

// examine hashes a cached blob that has another size than is wanted. A damaged file is set aside.
// If the file is right, a want with another size is ErrMismatch. A digest has one size: once that
// is known, such a want reads nothing.
func (s *Store) examine(ctx context.Context, w Want) error {
	if size, ok := s.checker.size(w.Digest); ok && w.Size >= 0 && size != w.Size {
		return wrongSize(w, size)
	}
	v, err := s.checker.check(ctx, w.Digest)
	if err == nil && v.sound && w.Size >= 0 && v.size != w.Size {
		err = wrongSize(w, v.size)
	}
	return err
}

// has says whether the store has a blob that isn't in doubt, or is about to have it.
func (s *Store) has(d digest.Digest, size int64) bool {
	if f := s.arrived(d, size); f != nil {
		_ = f.Close()
		return true
	}
	return s.placed(d, size)
}

// placed says whether the store has a blob in its place that isn't in doubt.
func (s *Store) placed(d digest.Digest, size int64) bool {
	st, err := os.Stat(s.blob(d))
	return err == nil && st.Size() == size && !s.checker.inDoubt(d, st) && !s.shunned(d, inode(st))
}

// withRoom runs what writes n bytes. On a full disk it runs it once more, after eviction.
func (s *Store) withRoom(n int64, write func() error) error {
	err := write()
	if errors.Is(err, ErrNoSpace) {
		s.shrink(n)
		err = write()
	}
	return err
}

// noSpace names a full disk.
func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w (%v)", ErrNoSpace, err)
	}
	return err
}
