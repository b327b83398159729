package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ocifs/ocifs/integration/internal/crowd"
	"github.com/ocifs/ocifs/integration/internal/mount"
)

const (
	// leaveFor is how long a daemon that was told to end may take for its last pushes:
	// what the daemon itself says, and a little more.
	leaveFor = 5*time.Minute + 30*time.Second
	// maxMemory is what the daemon has to do with.
	maxMemory = 128 << 20
)

// keeper mounts, ends what it mounted, and mounts again at the same place with the
// same cache, as a person would.
type keeper struct {
	o       mount.Options
	crowd   *crowd.Crowd
	report  *report
	leaving sync.WaitGroup // daemons that end by themselves

	mu      sync.Mutex
	m       *mount.Mount // nil while there is none
	since   time.Time    // when it was mounted
	figures daemons
}

// daemons is what came of them.
type daemons struct {
	mounted, killed, told int
	refused               int // mounts, as a program had written beneath
	damaged               []string
	peak                  int64 // memory, in bytes
}

// mount mounts. What programs wrote to the mountpoint's own directory meanwhile, as
// people's programs do, is in the way, and taken away.
func (k *keeper) mount(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		if err := k.crowd.ClearBeneath(); err != nil {
			return err
		}
		since := time.Now()
		m, err := mount.Start(ctx, k.o)
		k.mu.Lock()
		switch {
		case err == nil:
			k.m, k.since = m, since
			k.figures.mounted++
			k.mu.Unlock()
			return nil
		case ctx.Err() == nil && strings.Contains(err.Error(), "is not empty"):
			k.figures.refused++
			k.mu.Unlock()
		default:
			k.mu.Unlock()
			return fmt.Errorf("mounting again: %w", err)
		}
	}
}

// end ends the daemon as a step says, and mounts again.
func (k *keeper) end(ctx context.Context, s step) error {
	k.crowd.IsWell(ctx)
	m := k.now()
	k.crowd.Away()
	if s.do == term {
		if err := k.tell(m); err != nil {
			return err
		}
	} else {
		if err := k.kill(m); err != nil {
			return err
		}
		if s.do == hurt {
			k.damage(s.pick)
		}
	}
	wait(ctx, s.pause)
	if ctx.Err() != nil {
		return nil
	}
	err := k.mount(ctx)
	k.crowd.Back()
	return err
}

// kill ends the daemon without its knowing.
func (k *keeper) kill(m *mount.Mount) error {
	k.mu.Lock()
	k.figures.killed++
	k.mu.Unlock()
	if err := m.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	_, err := m.Wait(10 * time.Second)
	k.look(m)
	return err
}

// tell has the daemon end by itself, and returns when the mount is gone; what it is
// still pushing the daemon pushes on.
func (k *keeper) tell(m *mount.Mount) error {
	k.mu.Lock()
	k.figures.told++
	k.mu.Unlock()
	if err := m.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	for began := time.Now(); mount.Mounted(m.Dir); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			return fmt.Errorf("a daemon is told to end, and the mount is still there after %s", time.Since(began))
		}
	}
	k.leaving.Go(func() {
		if code, err := m.Wait(leaveFor); err != nil || code != 0 {
			k.report.Errorf("a daemon that was told to end ends with %d, %v; the end of what it said: %s", code, err, last(m.Output()))
		}
		k.look(m)
	})
	return nil
}

// now gives the daemon that there is.
func (k *keeper) now() *mount.Mount {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.m
}

// fatal is what no daemon may say.
var fatal = regexp.MustCompile(`(?m)^(panic:|fatal error:|WARNING: DATA RACE|unexpected fault)`)

// look looks at what a daemon said that has ended, and keeps it for others to look.
func (k *keeper) look(m *mount.Mount) {
	log := m.Output()
	if at := fatal.FindStringIndex(log); at != nil {
		k.report.Errorf("a daemon says %s", last(log[at[0]:]))
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(k.o.Dir), fmt.Sprintf("ocifs-%d.log", m.PID())), []byte(log), 0o600); err != nil {
		k.report.Errorf("%v", err)
	}
}

// measure keeps the most memory that any daemon had.
func (k *keeper) measure() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if b, err := mount.PeakMemory(k.m.PID()); err == nil { // else it has just ended
		k.figures.peak = max(k.figures.peak, b)
	}
}

func (k *keeper) got() daemons {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.figures
}

// last is the end of a log.
func last(log string) string { return log[max(0, len(log)-4000):] }

// wait waits so long, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
