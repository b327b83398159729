package cache

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"
)

const (
	// scanEvery is how often the directory is read again at most, for what other
	// processes did there.
	scanEvery = 30 * time.Second
	// Where others have it open, and this process has brought scanPercent of the bound
	// since, it is read after scanSoon: they may have brought as much.
	scanPercent = 3
	scanSoon    = time.Second
	// leftFor is how long a partial file that nobody continues is kept, and what
	// was set aside.
	leftFor = 24 * time.Hour
)

// scanner reads the directory at the start, and again after downloads.
func (s *Store) scanner() {
	defer s.work.Done()
	s.sweep()
	for again := true; again; again = s.pause() {
		_ = s.tag() // the disk may have been full
		s.scan()
		if s.scanned != nil {
			s.scanned(s.ledger.sums().entries)
		}
	}
}

// pause lasts until the directory is to be read again; false: no more.
func (s *Store) pause() bool {
	var much, scans chan struct{} // not yet
	soon, late := time.After(scanSoon), time.After(scanEvery)
	bound := time.NewTicker(boundEvery)
	defer bound.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return false
		case <-bound.C:
			s.followBound()
		case <-soon:
			much = s.much
		case <-late:
			scans = s.scans
		case <-much:
			if !s.alone() {
				return true
			}
		case <-scans:
			return true
		}
	}
}

// alone says that nobody else has the directory open.
func (s *Store) alone() bool {
	alive, _ := s.users()
	return s.sentinel != nil && len(alive) <= 1 // which is this one
}

// brought says that bytes are new in the directory. It is read again where they have become
// much and others may have brought as much.
func (s *Store) brought(n int64) {
	if !s.ledger.ofNote(n, scanPercent) {
		return
	}
	select {
	case s.much <- struct{}{}:
	default:
	}
}

// scan brings the ledger in line with the disk.
func (s *Store) scan() {
	s.scanning.Lock()
	defer s.scanning.Unlock()
	mark := s.ledger.scanBegins()
	var found []blobEntry
	on := map[digest.Digest]bool{}
	err := s.walkBlobs(s.ctx, func(b blobEntry) error {
		found = append(found, b)
		on[b.digest] = true
		return nil
	})
	if err != nil {
		return
	}
	byUse(found, s.now())
	slices.Reverse(found)
	step("scanned")
	for _, d := range s.ledger.known() {
		if !on[d] {
			if _, err := os.Lstat(s.blob(d)); err != nil { // not just downloaded: evicted by another
				s.ledger.vanished(d, mark)
			}
		}
	}
	s.ledger.found(found)
	s.countPointers(func(byte, fs.FileInfo) {})
	s.countAside()
	underWay := map[string]bool{} // before the files are listed: who begins later takes its file up
	s.mu.Lock()
	for d := range s.downloads {
		underWay[filepath.Base(s.partial(d))] = true
	}
	s.mu.Unlock()
	s.ledger.foundLeft(s.readPartials(), underWay)
	s.evict(0)
}

// byUse brings blobs into the order in which they were used. What has a time that is to
// come was used before the clock was set back.
func byUse(found []blobEntry, now time.Time) {
	slices.SortFunc(found, func(a, b blobEntry) int {
		if fa, fb := a.used.Sub(now) > time.Minute, b.used.Sub(now) > time.Minute; fa != fb {
			if fa {
				return -1
			}
			return 1
		}
		return a.used.Compare(b.used)
	})
}

// blobEntry is a blob as the directory lists it.
type blobEntry struct {
	digest digest.Digest
	size   int64
	bytes  int64     // of the disk
	used   time.Time // within a minute, where it was closed since
}

// walkBlobs lists the blobs. What can't be read is missed, not fatal: the disk is asked
// at each open. It ends early with ctx, or with an error of each.
func (l layout) walkBlobs(ctx context.Context, each func(blobEntry) error) error {
	return filepath.WalkDir(l.blobs(), func(path string, e fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil || !e.Type().IsRegular() {
			return nil
		}
		d := digest.NewDigestFromEncoded(digest.Algorithm(filepath.Base(filepath.Dir(filepath.Dir(path)))), e.Name())
		if d.Validate() != nil || l.blob(d) != path {
			return nil // none of ours
		}
		st, err := e.Info()
		if err != nil {
			return nil // evicted meanwhile
		}
		return each(blobEntry{d, st.Size(), allocated(st), st.ModTime()})
	})
}

// readPartials gives the sizes of what downloads left over, or another process
// downloads, by name.
func (s *Store) readPartials() map[string]int64 {
	left := map[string]int64{}
	bound := s.ledger.sums().max
	entries, err := os.ReadDir(s.partials())
	if err != nil {
		return left // made again when it is needed
	}
	for _, e := range entries {
		st, err := e.Info()
		if err != nil || strings.HasPrefix(e.Name(), temporaryPrefix) {
			continue
		}
		// What is larger than the bound another process serves and doesn't keep: nothing
		// has to go for it.
		if allocated(st) <= bound || !locked(filepath.Join(s.partials(), e.Name())) {
			left[e.Name()] = allocated(st)
		}
	}
	return left
}

// sweep removes what a crash left and nobody came for.
func (s *Store) sweep() {
	for _, dir := range []string{s.partials(), s.quarantine()} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			st, err := e.Info()
			if err != nil {
				continue
			}
			old := s.now().Sub(st.ModTime()) >= leftFor
			if !old && !s.secondName(path, st) {
				continue
			}
			if f, err := os.OpenFile(path, os.O_RDWR, 0); err == nil {
				// Where no lock can be had, the age tells.
				err := tryLock(f)
				if err == nil && named(f, path) || old && (err != nil && !errors.Is(err, syscall.EWOULDBLOCK) || strings.HasPrefix(e.Name(), temporaryPrefix)) {
					_ = os.Remove(path) // next time, then
				}
				f.Close()
			}
		}
	}
}

// secondName says whether a file in partial/ has another name besides, which it had for the
// moment in which its blob was kept, and which a crash left: it is the other name that counts.
func (l layout) secondName(path string, st fs.FileInfo) bool {
	if links(st) < 2 {
		return false
	}
	name := filepath.Base(path)
	if strings.HasPrefix(name, temporaryPrefix) {
		return true
	}
	algorithm, hex, _ := strings.Cut(name, "-")
	d := digest.NewDigestFromEncoded(digest.Algorithm(algorithm), hex)
	if d.Validate() != nil {
		return false
	}
	blob, err := os.Lstat(l.blob(d))
	return err == nil && os.SameFile(blob, st)
}
