package mount

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Options say what to mount and how.
type Options struct {
	// Binary is the program: an absolute path.
	Binary string
	// Dir is the mountpoint, Cache the cache directory. Home is the home
	// directory of the daemon, so that it finds the credentials and the
	// settings of nobody else. All exist.
	Dir, Cache, Home string
	// Source is the part of the tree to mount; empty: all.
	Source string
	// Flags go in before the source.
	Flags []string
	// Env is added to the daemon's environment.
	Env []string
}

// Mount is a daemon in the foreground form (`mount -f`), and its mountpoint.
type Mount struct {
	Options
	cmd    *exec.Cmd
	output *buffer
	exited chan struct{} // closed when the daemon has ended
}

// Env is the environment of whatever this package runs: small, the same
// everywhere, with the tools of toolDirs before those of the system.
func Env(home string, toolDirs ...string) []string {
	return []string{
		"PATH=" + strings.Join(append(toolDirs, os.Getenv("PATH"), "/usr/sbin", "/sbin"), ":"),
		"HOME=" + home,
		"XDG_RUNTIME_DIR=" + home,
		"TMPDIR=" + os.TempDir(),
		"LC_ALL=C.UTF-8",
		"TZ=UTC",
	}
}

// Start mounts, and returns when the mount answers. The daemon lives until
// Unmount or Kill.
func Start(ctx context.Context, o Options) (*Mount, error) {
	args := append([]string{"mount", "-f", "--cache-dir", o.Cache}, o.Flags...)
	if o.Source != "" {
		args = append(args, o.Source)
	}
	m := &Mount{Options: o, output: new(buffer), exited: make(chan struct{})}
	m.cmd = exec.Command(o.Binary, append(args, o.Dir)...)
	m.cmd.Env = append(Env(o.Home), "GORACE=halt_on_error=1 exitcode=66 log_path="+m.raceLog())
	m.cmd.Env = append(m.cmd.Env, o.Env...)
	m.cmd.Stdout, m.cmd.Stderr = m.output, m.output
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C is not for the daemon
	if err := m.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", o.Binary, err)
	}
	go func() { defer close(m.exited); m.cmd.Wait() }()

	for {
		select {
		case <-m.exited:
			return nil, fmt.Errorf("ocifs mount ended with exit code %d: %s", m.cmd.ProcessState.ExitCode(), m.output)
		case <-ctx.Done():
			m.Kill()
			return nil, fmt.Errorf("the mount didn't answer: %w; the daemon said: %s", ctx.Err(), m.output)
		case <-time.After(20 * time.Millisecond):
		}
		if !Mounted(o.Dir) {
			continue
		}
		// Looked at by another process: see the package's doc.
		r, err := Run(ctx, Env(o.Home), "cat '"+o.Dir+"/.ocifs/version'")
		if err == nil && r.Code == 0 && r.Stdout != "" {
			return m, nil
		}
	}
}

// PID is the daemon's.
func (m *Mount) PID() int { return m.cmd.Process.Pid }

// Output is what the daemon printed so far: its log.
func (m *Mount) Output() string { return m.output.String() }

// Exited gives the daemon's exit code where it has ended.
func (m *Mount) Exited() (code int, yes bool) {
	select {
	case <-m.exited:
		return m.cmd.ProcessState.ExitCode(), true
	default:
		return 0, false
	}
}

// Wait waits for the daemon to end and gives its exit code.
func (m *Mount) Wait(limit time.Duration) (int, error) {
	select {
	case <-m.exited:
		return m.cmd.ProcessState.ExitCode(), nil
	case <-time.After(limit):
		return 0, fmt.Errorf("the daemon still runs after %s; it said: %s", limit, m.output)
	}
}

// Signal sends the daemon a signal.
func (m *Mount) Signal(s syscall.Signal) error { return m.cmd.Process.Signal(s) }

// Unmount unmounts as a person would, with `ocifs unmount`, and says what wasn't
// clean about it: an exit code other than 0, a data race, a mount that stayed.
// Whatever happens, afterwards there is no daemon and no mount.
func (m *Mount) Unmount() error {
	var errs []error
	if _, ended := m.Exited(); !ended {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second) // a clean-up: its caller's context may have ended
		defer cancel()
		r, err := Run(ctx, Env(m.Home), "'"+m.Binary+"' unmount '"+m.Dir+"'")
		if err != nil || r.Code != 0 {
			errs = append(errs, fmt.Errorf("ocifs unmount: exit code %d, %v: %s", r.Code, err, r.Stderr))
		}
	}
	if code, err := m.Wait(15 * time.Second); err != nil {
		errs = append(errs, err)
	} else if code != 0 {
		errs = append(errs, fmt.Errorf("the daemon ended with exit code %d and said: %s", code, tail(m.output.String())))
	}
	if Mounted(m.Dir) {
		errs = append(errs, errors.New("the mount is still there after ocifs unmount"))
	}
	m.Kill()
	return errors.Join(append(errs, m.races())...)
}

// Kill ends the daemon at once, and takes what it leaves away.
func (m *Mount) Kill() {
	m.cmd.Process.Kill()
	<-m.exited
	for range 5 {
		if !Mounted(m.Dir) {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second) // as above
		Run(ctx, Env(m.Home), "umount -l '"+m.Dir+"' || fusermount3 -uz '"+m.Dir+"' || umount -f '"+m.Dir+"'")
		cancel()
	}
}

// raceLog is where the race detector of the daemon writes, with .PID added.
func (m *Mount) raceLog() string { return filepath.Join(m.Home, "race") }

func (m *Mount) races() error {
	logs, err := filepath.Glob(m.raceLog() + ".*")
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range logs {
		b, err := os.ReadFile(l)
		errs = append(errs, fmt.Errorf("the daemon has a data race: %s", b), err)
	}
	return errors.Join(errs...)
}

// tail is the end of a log.
func tail(s string) string {
	const most = 8000
	if len(s) > most {
		s = "…" + s[len(s)-most:]
	}
	return s
}

// buffer is a bytes.Buffer that may be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
