package cache

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/opencontainers/go-digest"
)

// Eviction goes down to lowWatermark percent of the bound, so that a full cache
// isn't cleaned file by file. At most freeReserve, or freePercent of the disk if
// that is less, is left free for others.
const (
	lowWatermark = 90
	freeReserve  = 256 << 20
	freePercent  = 2
)

// pin keeps a digest from eviction.
func (s *Store) pin(d digest.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pinned[d]++
}

func (s *Store) unpin(d digest.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pinned[d]--; s.pinned[d] <= 0 {
		delete(s.pinned, d)
		delete(s.unlinked, d)
	}
}

// note puts a blob at the young end of the index. mu is held.
func (s *Store) note(d digest.Digest, size int64) {
	if old, ok := s.index.Peek(d); ok {
		s.total -= old
	}
	s.index.Add(d, size)
	s.total += size
}

// drop takes a blob out of the index.
func (s *Store) drop(d digest.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropLocked(d)
}

func (s *Store) dropLocked(d digest.Digest) {
	if size, ok := s.index.Peek(d); ok {
		s.total -= size
		s.index.Remove(d)
		if s.pinned[d] > 0 { // the disk has it for as long as it is open
			s.unlinked[d] += size
		}
	}
}

// limit is the bound of the moment: what was asked for, or less where the disk
// hasn't that much.
func (s *Store) limit() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limitLocked()
}

func (s *Store) limitLocked() int64 {
	free, size, err := diskSpace(s.dir)
	if err != nil {
		return s.max
	}
	return s.limitOnLocked(free, size)
}

// limitOnLocked is limitLocked on a disk that has so many bytes free, and in all.
func (s *Store) limitOnLocked(free, size int64) int64 {
	return min(s.max, max(0, s.heldLocked()+s.arrivedLocked()+free-min(freeReserve, size/100*freePercent)))
}

// arrivedLocked is how many bytes downloads under way have brought, of those that they
// reserved.
func (s *Store) arrivedLocked() (n int64) {
	for dl := range s.underWay() {
		n += min(dl.in.Done(), dl.reserved)
	}
	return n
}

// heldLocked is how many bytes of the disk the store has, without those of downloads
// under way.
func (s *Store) heldLocked() int64 {
	n := s.total + s.leftLocked()
	for _, size := range s.unlinked {
		n += size
	}
	return n
}

// reserve makes room for n bytes that are going to be downloaded.
func (s *Store) reserve(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reserved += n
	s.evictLocked(s.limitLocked(), 0)
}

// reserveFor makes room for a download, until it has its place.
func (s *Store) reserveFor(dl *download, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reserved += n - dl.reserved // it may have begun anew
	dl.reserved = n
	s.evictLocked(s.limitLocked(), 0)
}

func (s *Store) unreserve(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reserved -= n
}

// settle goes back below the bound, where open files had kept the store beyond.
func (s *Store) settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total > s.max { // the disk isn't asked at each close
		s.evictLocked(s.limitLocked(), 0)
	}
}

// shrink frees n bytes more than the bound asks for, where the disk is full, or so many
// that it isn't done for each file.
func (s *Store) shrink(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.evictLocked(s.limitLocked(), max(n, s.total/100*(100-lowWatermark)))
}

// leftLocked is how many bytes are left over by downloads.
func (s *Store) leftLocked() (n int64) {
	for _, size := range s.left {
		n += size
	}
	return n
}

// evictLocked unlinks what downloads left over, and then the oldest blobs that
// nobody here has open, if the cache is beyond limit, or extra bytes are needed
// besides.
func (s *Store) evictLocked(limit, extra int64) {
	used := func() int64 { return s.heldLocked() + s.reserved }
	if used() <= limit && extra == 0 {
		return
	}
	if extra > 0 { // the disk is full: nobody needs what was set aside as much
		for _, st := range regular(s.quarantine()) {
			if os.Remove(filepath.Join(s.quarantine(), st.Name())) == nil {
				extra = max(0, extra-st.Size())
			}
		}
		if used() <= limit && extra == 0 {
			return
		}
	}
	goal := min(limit/100*lowWatermark, used()-extra)
	for _, name := range slices.SortedFunc(maps.Keys(s.left), s.olderPartial) {
		if used() <= goal {
			return
		}
		s.dropPartial(name)
	}
	for _, d := range s.index.Keys() {
		if used() <= goal || s.total == 0 {
			return
		}
		if s.pinned[d] > 0 {
			continue
		}
		err := os.Remove(s.blob(d))
		if err != nil && !gone(err) { // said once, not of each file
			s.degrade(fmt.Errorf("evict %s: %w", d, err))
		}
		if errors.Is(err, syscall.EROFS) {
			return
		}
		step("evicted")
		s.dropLocked(d)
		s.stats.Evictions++
	}
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

// dropPartial unlinks a partial file, unless another process continues it. mu is
// held.
func (s *Store) dropPartial(name string) {
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
	delete(s.left, name)
}
