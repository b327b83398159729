package crowd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ocifs/ocifs/integration/internal/mount"
	"github.com/ocifs/ocifs/integration/internal/network"
)

// Holding is what a daemon has at a moment.
type Holding struct{ Goroutines, Descriptors int }

// more is how many goroutines and descriptors come and go by themselves.
const more = 10

// Holds gives what a daemon has now.
func (c *Crowd) Holds(ctx context.Context, m *mount.Mount) (h Holding, err error) {
	text, err := c.look(ctx, "jq .goroutines "+stats)
	if err != nil {
		return h, err
	}
	if err := json.Unmarshal([]byte(text), &h.Goroutines); err != nil {
		return h, fmt.Errorf("stats.json: %w", err)
	}
	open, err := mount.OpenFiles(m.PID(), "")
	h.Descriptors = len(open)
	return h, err
}

// FirstLook reads a small file of the registry, so that what a daemon makes only then
// is there when it is looked what it holds.
func (c *Crowd) FirstLook(ctx context.Context) error {
	_, err := c.look(ctx, "cat "+c.at(Repository, "tags", c.tags[0], "digest"))
	return err
}

// stats is a file of the mount, as scripts write it.
const stats = "$MOUNTPOINT/.ocifs/stats.json"

// look runs a script that has to succeed, and gives what it printed.
func (c *Crowd) look(ctx context.Context, script string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.Patience)
	defer cancel()
	r, err := mount.Run(ctx, append(c.o.Env, "MOUNTPOINT="+c.o.Mountpoint), script)
	if err == nil && r.Code != 0 {
		err = fmt.Errorf("%s ends with %d and says %s", script, r.Code, r.Stderr)
	}
	return r.Stdout, err
}

// IsWell checks that a daemon met nothing that it shouldn't have: no panic, and no
// errno that says that it knows no better, or that something is damaged.
func (c *Crowd) IsWell(ctx context.Context) {
	got, err := c.look(ctx, `jq -c '[.panics, .errors.EIO, .errors.EBADMSG]' `+stats)
	if err != nil || got != "[0,null,null]\n" {
		c.Errorf("panics, EIO and EBADMSG: %s %v", got, err)
	}
}

// LeavesNothing checks that a daemon is as it was when it held what is given, and
// that it ends as it should. The network is calm. What daemons before it left in
// their last moment, they left before since; zero: there were none.
func (c *Crowd) LeavesNothing(ctx context.Context, m *mount.Mount, p *network.Proxy, before Holding, since time.Time) {
	if open := p.Figures().Open; open > 48 {
		c.Errorf("%d connections are open", open)
	}
	old := func(path string) bool { return leftByOthers(path, since) }
	if left, err := m.Unfinished(old); err != nil || len(left) > 0 {
		c.Errorf("partial files or open files stay: %q %v", left, err)
	}
	// Connections that wait for the next request end with the network.
	p.Down()
	if err := p.Up(); err != nil {
		c.Errorf("%v", err)
	}
	c.holdsNoMore(ctx, m, before)
	c.IsWell(ctx)
	if got, err := c.look(ctx, `jq -r '.[] | select(.state == "pushing")' $MOUNTPOINT/.ocifs/uploads.json`); err != nil || got != "" {
		c.Errorf("uploads.json has %s %v", got, err)
	}
	staged, err := filepath.Glob(filepath.Join(m.Cache, "v1/staging/*"))
	if err != nil {
		c.Errorf("%v", err)
	}
	var files []string
	for _, dir := range staged {
		files = append(files, filesIn(filepath.Join(dir, "tree"))...)
	}
	for _, s := range c.stillStaged(files) {
		c.Errorf("was pushed and is still staged: %s", s)
	}
	if err := m.Unmount(); err != nil {
		c.Errorf("%v", err)
	}
	if err := Gone(m, p); err != nil {
		c.Errorf("%v", err)
	}
	partials, err := mount.Partials(m.Cache)
	for _, f := range partials {
		if !old(f) {
			err = errors.Join(err, fmt.Errorf("an unfinished download stays: %s", f))
		}
	}
	if err != nil {
		c.Errorf("%v", err)
	}
}

// holdsNoMore waits until a daemon holds what it did before and does nothing.
func (c *Crowd) holdsNoMore(ctx context.Context, m *mount.Mount, before Holding) {
	var after Holding
	var under string
	for range 100 {
		var err, err2 error
		after, err = c.Holds(ctx, m)
		under, err2 = c.look(ctx, "jq -c . $MOUNTPOINT/.ocifs/transfers.json")
		if err = errors.Join(err, err2); err != nil {
			c.Errorf("%v", err)
			return
		}
		if after.Goroutines <= before.Goroutines+more && after.Descriptors <= before.Descriptors+more && under == "[]\n" {
			c.Logf("goroutines and descriptors before and after: %v, %v", before, after)
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	c.Errorf("the daemon holds %+v, and held %+v before; under way: %s", after, before, under)
}

// leftByOthers says of a partial file whether it is one that a daemon which was killed
// left and that nobody continues: one beside another, or one that was to be written in
// one go. All others are continued by who reads the blob.
func leftByOthers(path string, since time.Time) bool {
	st, err := os.Lstat(path)
	if err != nil {
		return true // it isn't there any more
	}
	name := filepath.Base(path)
	return st.ModTime().Before(since) && (strings.HasPrefix(name, "tmp-") || strings.Contains(name, "."))
}

// Gone waits until neither the daemon nor a connection of it is left, and says what
// still is after some seconds.
func Gone(m *mount.Mount, p *network.Proxy) error {
	var errs []error
	for range 50 { // the network takes a moment to notice
		if p.Figures().Open == 0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if open := p.Figures().Open; open > 0 {
		errs = append(errs, fmt.Errorf("%d connections are open after the unmount", open))
	}
	if err := syscall.Kill(m.PID(), 0); !errors.Is(err, syscall.ESRCH) {
		errs = append(errs, fmt.Errorf("the daemon is there after the unmount: %v", err))
	}
	return errors.Join(errs...)
}
