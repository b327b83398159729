package crowd

import (
	"errors"
	"io/fs"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// outages are the times in which there was no daemon, or another one.
type outages struct {
	mu   sync.Mutex
	all  []outage
	took map[string]bool // repositories of which something was written beside the mount
}

type outage struct{ from, to time.Time } // to is zero while it lasts

// Away says that the daemon is about to end, or will be told to. Until Back was
// called nobody can count on the mount, nor can one whose turn began before.
func (o *outages) Away() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, outage{from: time.Now()})
}

// Back says that the mount answers again.
func (o *outages) Back() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all[len(o.all)-1].to = time.Now()
}

// Outages gives how many there were, and how long they were altogether.
func (o *outages) Outages() (n int, together time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, a := range o.all {
		if !a.to.IsZero() {
			together += a.to.Sub(a.from)
		}
	}
	return len(o.all), together
}

// wasAway says whether an outage has a part of the time from began to ended.
func (o *outages) wasAway(began, ended time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, a := range o.all {
		if a.from.Before(ended) && (a.to.IsZero() || began.Before(a.to)) {
			return true
		}
	}
	return false
}

// ClearBeneath removes what programs wrote to the mountpoint's own directory while
// nothing was mounted there, as the next mount wants it empty. Some make all
// directories that they miss.
func (c *Crowd) ClearBeneath() error {
	c.outages.mu.Lock()
	defer c.outages.mu.Unlock()
	return c.clearBeneath()
}

// clearBeneath is ClearBeneath under the lock.
func (c *Crowd) clearBeneath() error {
	if c.o.Beneath == nil {
		return nil
	}
	repositories, err := fs.Glob(c.o.Beneath.FS(), "*/team/*")
	if err != nil {
		return err
	}
	for _, path := range repositories {
		if c.took == nil {
			c.took = map[string]bool{}
		}
		c.took["team/"+filepath.Base(path)] = true
	}
	entries, err := fs.ReadDir(c.o.Beneath.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := c.o.Beneath.RemoveAll(e.Name()); err != nil && !errors.Is(err, syscall.ENOTEMPTY) { // someone writes on: again, then
			return err
		}
	}
	return nil
}

// tookBeside says whether something that was meant for a repository was written
// beside the mount since it was asked the last time.
func (c *Crowd) tookBeside(repo string) bool {
	c.outages.mu.Lock()
	defer c.outages.mu.Unlock()
	if err := c.clearBeneath(); err != nil {
		c.Errorf("the mountpoint's own directory isn't emptied: %v", err)
	}
	took := c.took[repo]
	delete(c.took, repo)
	return took
}
