package cache

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// lowWatermark is the percentage of the bound that an eviction goes down to, and of their
	// share that pointers are trimmed to. A trim lists all pointers. Measured: 2 s for the 320,000
	// of the default bound, so that at 90 each new one costs 60 µs of it, as much as its write
	// (65 µs), and at 99 ten times that. Blobs cost 15 to 40 µs each at 80, 90, 99 and 100; at 100
	// each asks the disk how full it is.
	lowWatermark = 90
	// freeReserve is how much of the disk is left free for others, or freePercent of it if
	// that is less.
	freeReserve = 256 << 20
	freePercent = 2
	// besidesShare is the part of the limit, one in so many, that pointers take at most, and
	// indexes, and damaged blobs that were set aside, each. In the default bound that are 320,000 tags.
	besidesShare = 8
	// limitFor is how long a limit is believed. What others write to the disk in that time,
	// at 1 GB a second, is less than half of freeReserve.
	limitFor = 100 * time.Millisecond
)

// keepFree is how many bytes of a disk are left free for others.
func keepFree(disk Usage) int64 { return min(freeReserve, disk.Size/100*freePercent) }

// limitSeen is the limit at a moment.
type limitSeen struct {
	at    time.Time
	limit int64
}

// limit is the bound of the moment: what was asked for, or less where the disk hasn't that
// much. It doesn't change with what the store itself writes and removes, so that an answer of
// the disk is believed for limitFor.
func (s *Store) limit() int64 {
	if seen := s.seen.Load(); seen != nil && time.Since(seen.at) < limitFor {
		return seen.limit
	}
	limit, _ := s.limitNow()
	return limit
}

// limitNow is limit by what the disk says now. It tells also how full the disk is; zero where
// that can't be known.
func (s *Store) limitNow() (limit int64, disk Usage) {
	step("statfs")
	disk, err := diskUsage(s.dir)
	if err != nil {
		disk = Usage{}
	}
	limit = s.ledger.sums().limit(disk)
	s.seen.Store(&limitSeen{time.Now(), limit})
	return limit, disk
}

// reserve makes room for n bytes that are going to be written.
func (s *Store) reserve(r *reservation, n int64) {
	s.ledger.reserve(r, n)
	s.evict(0)
}

// shrink frees n bytes more than the bound asks for, where the disk is full, or so many
// that it isn't done for each file.
func (s *Store) shrink(n int64) {
	s.evict(max(n, s.ledger.sums().kept/100*(100-lowWatermark)))
}

// settle goes back below the bound, where open files had kept the store beyond. Who closes a
// file doesn't wait for the eviction of another, which goes on for both.
func (s *Store) settle() {
	if sums := s.ledger.sums(); sums.held() > sums.max {
		s.closedMore.Store(true)
		s.evictForClosed()
	}
}

func (s *Store) evictForClosed() {
	for s.closedMore.Load() && s.evicting.TryLock() {
		s.closedMore.Store(false)
		s.evictAlone(0)
		s.evicting.Unlock()
	}
}

// evict unlinks partial files that downloads left over, and then the oldest blobs that nobody
// here has open, if the cache is beyond its limit, or extra bytes are needed besides. One
// eviction runs at a time; readers wait for none.
func (s *Store) evict(extra int64) {
	if extra == 0 && s.ledger.sums().used() <= s.limit() {
		return
	}
	s.evicting.Lock()
	s.evictAlone(extra)
	s.evicting.Unlock()
	s.evictForClosed()
}

// evictAlone is evict. evicting is held.
func (s *Store) evictAlone(extra int64) {
	limit, _ := s.limitNow()
	sums := s.ledger.sums()
	if sums.used() <= limit && extra == 0 {
		return
	}
	// Nobody needs what was set aside as much as a blob. It is kept for a look where there
	// is room for it.
	if extra > 0 || sums.aside > limit/besidesShare {
		extra = max(0, extra-s.removeAside())
		s.countAside()
	}
	s.trimPointers(limit)
	s.trimIndexes(limit)
	if sums = s.ledger.sums(); sums.used() <= limit && extra == 0 {
		return
	}
	goal := min(limit-limit/100*(100-lowWatermark), sums.used()-extra)
	lefts := s.ledger.lefts()
	slices.SortFunc(lefts, s.olderPartial)
	for _, name := range lefts {
		if s.ledger.sums().used() <= goal {
			return
		}
		s.dropPartial(name)
	}
	for s.evictOne(goal) {
	}
}

// removeAside unlinks the damaged blobs that were set aside, and gives their bytes.
func (s *Store) removeAside() (bytes int64) {
	for _, st := range regular(s.quarantine()) {
		if os.Remove(filepath.Join(s.quarantine(), st.Name())) == nil {
			bytes += allocated(st)
		}
	}
	return bytes
}

// countAside counts the damaged blobs that were set aside. They are few.
func (s *Store) countAside() {
	var bytes int64
	for _, st := range regular(s.quarantine()) {
		bytes += allocated(st)
	}
	s.ledger.setAside(bytes)
}

// evictOne unlinks the oldest blob, if more than goal bytes count. false: there is no more
// to do.
func (s *Store) evictOne(goal int64) bool {
	d, bytes, ok := s.ledger.choose(goal)
	if !ok {
		return false
	}
	step("evicting")
	err := os.Remove(s.blob(d))
	if err != nil && !gone(err) { // said once, not of each file
		s.degrade(fmt.Errorf("evict %s: %w", d, err))
	}
	s.ledger.gone(d)
	if err != nil && !gone(err) { // it is there yet; the next eviction tries another one
		s.ledger.note(d, bytes)
		return false
	}
	step("evicted")
	s.evictions.Add(1)
	return true
}

// gone says that a file isn't there, or nothing is where it was.
func gone(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// olderPartial orders partial files by when they were last written.
func (s *Store) olderPartial(a, b string) int {
	written := func(name string) int64 {
		st, err := os.Lstat(filepath.Join(s.partials(), name))
		if err != nil {
			return 0 // gone
		}
		return st.ModTime().UnixNano()
	}
	return cmp.Compare(written(a), written(b))
}

// dropPartial unlinks a partial file, unless someone continues it, or that can't be told.
func (s *Store) dropPartial(name string) {
	if strings.HasPrefix(name, unlockedPrefix) {
		return
	}
	path := filepath.Join(s.partials(), name)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		defer f.Close()
		if tryLock(f) != nil || !named(f, path) {
			return
		}
		err = os.Remove(path)
		step("partial evicted")
	}
	if err != nil && !gone(err) {
		s.degrade(fmt.Errorf("evict %s: %w", name, err))
		return
	}
	s.ledger.dropped(name)
}
