package cache

import (
	"cmp"
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
	// scanEvery is how often the directory is read again at most, for what other processes did
	// there. Measured: a scan takes 10 µs a blob (BenchmarkScan), so that 10,000 blobs cost 0.3
	// percent of a CPU, and only while this process brings some. Two processes that bring a bound
	// in 47 s (TestTheBoundHoldsForTwoProcesses) have up to 102, 111 and 147 percent of it on the
	// disk with a scan each 10, 30 and 120 s, and nothing else.
	scanEvery = 30 * time.Second
	// Where others have it open, and this process has brought scanPercent of the bound
	// since, it is read after scanSoon: they may have brought as much. Measured there too: with 1,
	// 3, 10 and 30 percent the disk has up to 101, 102, 107 and 109 percent of the bound; with
	// 0.1, 1, 5 and 15 s it has 102, 102, 102 and 107.
	scanPercent = 3
	scanSoon    = time.Second
	// scanIdle is how often it is read where this process brings nothing, so that what is left
	// over doesn't stay for more than twice leftFor.
	scanIdle = leftFor
	// leftFor is how long a partial file that nobody continues is kept, and what
	// was set aside.
	leftFor = 24 * time.Hour
)

// scanner reads the directory at the start, again after downloads, and else once in scanIdle.
func (s *Store) scanner() {
	defer s.work.Done()
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
	soon, late, idle := time.After(scanSoon), time.After(scanEvery), time.After(scanIdle)
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
		case <-idle:
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
	s.sweep()
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
	s.countIndexes()
	s.ledger.foundLeft(s.readPartials())
	s.evict(0)
}

// byUse brings blobs into the order in which they go: first what was demoted, and then what wasn't
// used for longest. What has a time that is to come was used before the clock was set back.
func byUse(found []blobEntry, now time.Time) {
	rank := func(b blobEntry) int {
		switch {
		case b.demoted:
			return 0
		case b.used.Sub(now) > time.Minute:
			return 1
		}
		return 2
	}
	slices.SortFunc(found, func(a, b blobEntry) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), a.used.Compare(b.used)) })
}

// blobEntry is a blob as the directory lists it.
type blobEntry struct {
	digest  digest.Digest
	size    int64
	bytes   int64     // of the disk
	used    time.Time // within a minute, where it was closed since
	demoted bool      // as Demote did
}

// walkBlobs lists the blobs. What can't be read is missed, not fatal: the disk is asked
// at each open. It ends early with ctx, or with an error of each.
func (l layout) walkBlobs(ctx context.Context, each func(blobEntry) error) error {
	return walkByDigest(ctx, l.blobs(), l.blob, each)
}

// walkByDigest lists the files below a directory that pathOf gives for their digests.
func walkByDigest(ctx context.Context, dir string, pathOf func(digest.Digest) string, each func(blobEntry) error) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil || !e.Type().IsRegular() {
			return nil
		}
		d := digest.NewDigestFromEncoded(digest.Algorithm(filepath.Base(filepath.Dir(filepath.Dir(path)))), e.Name())
		if d.Validate() != nil || pathOf(d) != path {
			return nil // none of ours
		}
		st, err := e.Info()
		if err != nil {
			return nil // evicted meanwhile
		}
		return each(blobEntry{d, st.Size(), allocated(st), st.ModTime(), demoted(st)})
	})
}

// readPartials gives the bytes of the disk that partial files take, by name: of what downloads left
// over, and of what this or another process downloads.
func (s *Store) readPartials() map[string]int64 {
	found := map[string]int64{}
	bound := s.ledger.sums().max
	for _, st := range regular(s.partials()) {
		name := st.Name()
		unlocked := strings.HasPrefix(name, unlockedPrefix)
		if strings.HasPrefix(name, temporaryPrefix) && !unlocked {
			continue // it counts when it has its name, or is another name of what counts
		}
		// What is larger than the bound another process serves and doesn't keep: nothing
		// has to go for it.
		if bytes := allocated(st); bytes <= bound || !unlocked && !locked(filepath.Join(s.partials(), name)) {
			found[name] = bytes
		}
	}
	return found
}

// sweep removes what a crash left and nobody came for. What somebody has locked stays, and so does
// what a download of this process writes.
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
			// Nobody looks for a private one. What is left of a making is of no use: the next one starts over.
			useless := isPrivate(e.Name()) || strings.HasPrefix(e.Name(), laterPrefix) || s.secondName(path, st)
			if !old && !useless || s.ledger.isOurs(e.Name()) {
				continue
			}
			if f, err := os.OpenFile(path, os.O_RDWR, 0); err == nil {
				// Where no lock can be had, the age tells.
				err := tryLock(f)
				if err == nil && named(f, path) || old && err != nil && !errors.Is(err, syscall.EWOULDBLOCK) {
					_ = os.Remove(path) // next time, then
				}
				f.Close()
			}
		}
	}
}

// isPrivate says whether a file in partial/ has the name of a private one, or of a making.
func isPrivate(name string) bool {
	name, _, beside := strings.Cut(name, ".")
	algorithm, hex, _ := strings.Cut(name, "-")
	return beside && digest.NewDigestFromEncoded(digest.Algorithm(algorithm), hex).Validate() == nil
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
