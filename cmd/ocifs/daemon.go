package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// readyFD names the descriptor on which a daemon tells the command that started
// it how the mount went. Where it is set, this process is that daemon.
const readyFD = "OCIFS_READY_FD"

func isDaemon() bool { return os.Getenv(readyFD) != "" }

// keepReport keeps the descriptor of the report from the programs that this daemon starts. Whoever has
// it keeps the command that started the daemon waiting: a credential helper that goes on in the
// background.
func keepReport() {
	if fd, err := strconv.Atoi(os.Getenv(readyFD)); err == nil {
		syscall.CloseOnExec(fd)
	}
}

// firstAnswerFor is how long a mount that was just made has to answer.
const firstAnswerFor = 10 * time.Second

// endFor is how long a daemon that is told to end has before it is killed. With a mount it takes no
// longer than drainFor and answerFor.
const endFor = 10 * time.Second

// noProcess is the error of a daemon that couldn't be started.
type noProcess struct{ error }

func (e noProcess) Unwrap() error { return e.error }

// daemonError is the error of a daemon, as it told it to the command that started it.
type daemonError struct {
	code int // the exit code of a mount helper for it
	text string
}

func (e daemonError) Error() string { return e.text }

// daemonize runs ocifs with args as the daemon, and waits until the mount answers. The end of ctx
// ends the daemon.
//
// Until the mount is made, the daemon is in the process group of the caller. An automounter makes
// every process wait that looks at the directory, except those of its own group: autofs(5) of the
// kernel, which systemd uses as well. Until then the daemon also has the standard error of the
// caller, for the words of fusermount3.
func daemonize(ctx context.Context, args []string, mountpoint, logFile string) error {
	self, err := os.Executable()
	if err != nil {
		return noProcess{err}
	}
	r, w, err := os.Pipe()
	if err != nil {
		return noProcess{err}
	}
	defer r.Close()
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), readyFD+"=3")
	cmd.ExtraFiles = []*os.File{w}
	cmd.Stderr = os.Stderr
	closeInherited()
	err = cmd.Start()
	w.Close()
	if err != nil {
		return noProcess{fmt.Errorf("start the daemon: %w", err)}
	}
	var report string
	reports := make(chan string, 1)
	go func() {
		said, _ := io.ReadAll(r) // until the daemon closes it, by a report or by its death
		reports <- string(said)
	}()
	select {
	case report = <-reports:
	case <-ctx.Done():
		return interrupt(cmd)
	}
	if report != ready {
		err := cmd.Wait()
		if e, ok := parseReport(report); ok {
			return e
		}
		return fmt.Errorf("the daemon died before the mount answered (%v); see %s", err, logFile)
	}
	err = answers(ctx, mountpoint)
	if ctx.Err() != nil {
		return interrupt(cmd)
	}
	if err != nil {
		return fmt.Errorf("mounted, but the mount doesn't answer: %w; see %s", err, logFile)
	}
	return nil
}

// interrupt ends a daemon that is being started: by two signals, of which the second one ends also a
// daemon that waits for a disk, and in the end by force. A third signal would end the daemon of a mount
// that was just made in the middle of its work.
func interrupt(daemon *exec.Cmd) error {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = daemon.Wait() // whatever it ends with
	}()
	for _, wait := range []time.Duration{time.Second, endFor - time.Second} {
		_ = daemon.Process.Signal(syscall.SIGTERM) // it may have ended
		select {
		case <-ended:
			return errMountInterrupted
		case <-time.After(wait):
		}
	}
	_ = daemon.Process.Kill()
	<-ended
	return errMountInterrupted
}

// answers looks at the mount as any program would, for some seconds at most.
func answers(ctx context.Context, mountpoint string) error {
	_, err := answerWithin(ctx, firstAnswerFor, func() ([]byte, error) {
		return os.ReadFile(filepath.Join(mountpoint, ".ocifs", "version"))
	})
	if errors.Is(err, errSilent) {
		return fmt.Errorf("no answer within %d s", firstAnswerFor/time.Second)
	}
	return err
}

// ready is the report of a daemon whose mount is made. Every other report is the exit code of a
// mount helper, a space and the error.
const ready = "ready"

func parseReport(report string) (e daemonError, ok bool) {
	code, text, ok := strings.Cut(report, " ")
	if !ok {
		return daemonError{}, false
	}
	n, err := strconv.Atoi(code)
	return daemonError{code: n, text: text}, err == nil
}

var reported sync.Once

// reportReady tells the command that started this daemon how the mount went. The daemon then has
// nothing more of that command: not its standard error, and, if the mount is made, neither its
// process group nor its terminal. Only the first call counts. In a process that is no daemon it
// does nothing.
func reportReady(err error) {
	reported.Do(func() {
		fd, convErr := strconv.Atoi(os.Getenv(readyFD))
		if convErr != nil {
			return
		}
		os.Unsetenv(readyFD)
		w := os.NewFile(uintptr(fd), "ready")
		defer w.Close()
		closeStderr()
		if err != nil {
			fmt.Fprint(w, helperExit(err), " ", err)
			return
		}
		_, _ = syscall.Setsid() // fails only for the leader of a group, which no daemon is yet
		fmt.Fprint(w, ready)
	})
}

// closeStderr makes /dev/null this process' standard error.
func closeStderr() {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		os.Stderr.Close()
		return
	}
	defer null.Close()
	_ = dup2(null, os.Stderr)
}

// raiseFileLimit makes room for many open blobs and connections.
func raiseFileLimit() {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) == nil {
		l.Cur = l.Max
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l) // as it was, then
	}
}

// warnOfRequestTimeout tells of a kernel setting that aborts mounts.
func warnOfRequestTimeout(log *slog.Logger) {
	b, err := os.ReadFile("/proc/sys/fs/fuse/default_request_timeout")
	if n := strings.TrimSpace(string(b)); err == nil && n != "0" {
		log.Warn("the kernel aborts a FUSE mount whose answer is slow; set fs.fuse.default_request_timeout to 0", "seconds", n)
	}
}
