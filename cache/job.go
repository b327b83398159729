package cache

import (
	"context"
	"time"
)

// job is a download or a making: work that brings a verified file, once for all who wait for
// it. It runs in a goroutine of its own, under a context of its own. It lives for as long as
// anyone waits, and then for Options.Grace.
type job struct {
	arrival
	started           time.Time
	ended             chan struct{} // closed when it failed, or its file can be read
	cancel            context.CancelFunc
	succeeded, failed *int64 // the counts in Store.stats that the outcome belongs to

	// Guarded by Store.mu.
	waiters int
	idle    *time.Timer // ends the job after the grace period; nil: someone waits
	over    bool
	err     error
}

// arrival is a verified file, which can be opened before it has its place: the outcome of a job, or
// what was put or adopted.
type arrival struct {
	room reservation // of the bound; zero until bytes are on their way
	// forget ends that the file is found here. The next who wants the blob finds it in its place, or
	// begins anew. A second call does nothing. Store.mu is held.
	forget func()

	waitsAt string // where the file is that waits for the disk; "": it is no file of later

	// Guarded by Store.mu.
	file    *shared // nil: the job isn't over, or failed; with a reference for each waiter of the job
	demoted bool    // the blob is demoted when it has its place
}

// begin starts a job. bring gives the file, and the partial file that it is to be kept from; nil
// where it is kept already. mu is held.
func (s *Store) begin(j *job, bring func(ctx context.Context) (*shared, *partial, error)) {
	ctx, cancel := context.WithCancel(s.ctx) // not a caller's: others may come to wait
	j.started, j.ended, j.cancel = s.now(), make(chan struct{}), cancel
	s.work.Add(1)
	go func() {
		defer s.work.Done()
		defer cancel()
		f, p, err := bring(ctx)
		s.finish(j, f, err)
		if err == nil {
			s.settleArrival(&j.arrival, p, f)
		}
		select {
		case s.scans <- struct{}{}:
		default:
		}
	}()
}

// enter makes one more wait for a job. mu is held.
func (s *Store) enter(j *job) {
	if j.over {
		j.file.refs++ // which waits for nothing but its place
		return
	}
	if j.idle != nil {
		j.idle.Stop()
		j.idle = nil
	}
	j.waiters++
}

// endWait ends one wait, and calls last, under mu, where it was the last one.
func (s *Store) endWait(j *job, last func()) {
	s.mu.Lock()
	if j.over { // it ended in the same moment: give back what was meant for us
		f := j.file
		s.mu.Unlock()
		if f != nil {
			_ = f.release()
		}
		return
	}
	defer s.mu.Unlock()
	j.waiters--
	if j.waiters > 0 {
		return
	}
	last()
	var idle *time.Timer
	idle = time.AfterFunc(s.grace, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		// A waiter may have come, and left again, while this waited for the lock: then the
		// job has another timer.
		if j.idle == idle && !j.over {
			j.forget()
			j.cancel()
		}
	})
	j.idle = idle
}

// finish hands the outcome to all who wait, a file with a reference for each.
func (s *Store) finish(j *job, f *shared, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j.over, j.file, j.err = true, f, err
	if err != nil && s.closed {
		j.err = ErrClosed
	}
	if j.idle != nil {
		j.idle.Stop()
	}
	if f != nil {
		f.refs += j.waiters
	}
	if err == nil {
		*j.succeeded++
	} else {
		*j.failed++
		j.forget()
		s.ledger.release(&j.room) // before those who wait try again: nothing goes for both
	}
	close(j.ended)
}

// settleArrival moves the file f to its place, from the partial file p; nil: it has its place. All who
// waited for a job have the file already.
func (s *Store) settleArrival(a *arrival, p *partial, f *shared) {
	if p != nil {
		s.keep(&a.room, p, f)
		step("unlocked")
	}
	s.mu.Lock()
	a.forget() // from now on Demote finds the blob in its place
	demoted := a.demoted
	s.mu.Unlock()
	if demoted {
		s.demote(f.digest)
	}
	_ = f.release() // the arrival's own
	s.ledger.release(&a.room)
	s.evict(0) // where its size wasn't known, or others came at the same time
}
