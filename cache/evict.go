package cache

import (
	"os"

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
	return min(s.max, max(0, s.total+free-min(freeReserve, size/100*freePercent)))
}

// reserve makes room for n bytes that are going to be downloaded.
func (s *Store) reserve(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reserved += n
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

// shrink frees n bytes more than the bound asks for, where the disk is full.
func (s *Store) shrink(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.evictLocked(s.limitLocked(), n)
}

// evictLocked unlinks the oldest blobs that nobody here has open, if the cache is
// beyond limit, or extra bytes are needed besides.
func (s *Store) evictLocked(limit, extra int64) {
	used := s.total + s.reserved
	if used <= limit && extra == 0 {
		return
	}
	goal := min(limit/100*lowWatermark, used-extra)
	for _, d := range s.index.Keys() {
		if s.total+s.reserved <= goal || s.total == 0 {
			return
		}
		if s.pinned[d] > 0 {
			continue
		}
		if err := os.Remove(s.blob(d)); err != nil && !os.IsNotExist(err) {
			s.log.Warn("cache file not evicted", "digest", d, "cause", err)
		}
		s.dropLocked(d)
		s.stats.Evictions++
	}
}
