package cache

import "os"

// A file system may have no locks that keep other processes out: NFS without a lock daemon,
// Lustre that is mounted without -o flock, some that run in user space. Two processes that
// take a blob's partial file for their own would write one file then, and go on writing it
// after one of them has given it the blob's name. So each download writes a private partial
// file there. That costs what locks would have saved: a download for each process, and a
// whole one after a crash.

// checkLocks finds out whether locks keep others out.
func (s *Store) checkLocks() {
	f, err := os.CreateTemp(s.partials(), temporaryPrefix+"*")
	if err != nil {
		return // each download finds out
	}
	defer f.Close()
	err = lockable(f)
	os.Remove(f.Name())
	if err != nil {
		s.withoutLocks(err)
	}
}

// withoutLocks has every download write a private file from now on, and says so once.
func (s *Store) withoutLocks(why error) {
	if s.noLocks.CompareAndSwap(nil, &why) {
		s.log.Warn("the file system of the cache has no locks between processes: each downloads for itself, and goes on with nothing after a crash; "+
			"mount it with locks (Lustre: -o flock; NFS: version 4, or a lock daemon), or choose a local disk with --cache-dir", "dir", s.dir, "cause", why)
	}
}
