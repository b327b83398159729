package cache

// Usage tells how full a disk or a part of it is, in bytes.
type Usage struct {
	Size int64 // used or not
	Used int64
	Free int64 // can be taken; less than Size - Used where others took some of the rest
}

// Usage tells how full the store is. Size is its bound, or all of the disk where that is
// smaller. Used counts the bytes that downloads under way have brought, and may be more than
// Size while files are open. Free can be taken without an eviction. The error is the
// disk's.
func (s *Store) Usage() (Usage, error) {
	disk, err := diskUsage(s.dir)
	if err != nil {
		return Usage{}, err
	}
	sums := s.ledger.sums()
	used := sums.held() + sums.arrived
	return Usage{
		Size: min(sums.max, disk.Size),
		Used: used,
		Free: max(0, min(sums.limit(disk)-used, disk.Free)),
	}, nil
}

// Space tells how full the disk is that the store and the staging area are on. The blocks
// that the disk keeps back for root are neither used nor free.
func (s *Store) Space() (Usage, error) { return diskUsage(s.dir) }
