package main

import (
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

// daemonize runs this very command again as the daemon, apart from this terminal,
// and waits until the mount answers.
func daemonize(mountpoint string, s settings) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), readyFD+"=3")
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		w.Close()
		return err
	}
	w.Close()
	said, err := io.ReadAll(r) // until the daemon closes it, by reporting or by dying
	if err != nil {
		return err
	}
	if text, ok := strings.CutPrefix(string(said), "error: "); ok {
		_ = cmd.Wait()
		return errors.New(strings.TrimSpace(text))
	}
	if string(said) != "ready\n" {
		return fmt.Errorf("the daemon died before the mount answered (%v); see %s", cmd.Wait(), s.logFile)
	}
	if err := answers(mountpoint); err != nil {
		return fmt.Errorf("mounted, but the mount doesn't answer: %w; see %s", err, s.logFile)
	}
	return nil
}

// answers looks at the mount as any program would, for some seconds at most.
func answers(mountpoint string) error {
	done := make(chan error, 1)
	go func() {
		_, err := os.ReadFile(filepath.Join(mountpoint, ".ocifs", "version"))
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(10 * time.Second):
		return errors.New("no answer within 10 s")
	}
}

var reported sync.Once

// reportReady tells the command that started this daemon how the mount went.
// Only the first call counts; without such a command it does nothing.
func reportReady(err error) {
	reported.Do(func() {
		fd, convErr := strconv.Atoi(os.Getenv(readyFD))
		if convErr != nil {
			return
		}
		os.Unsetenv(readyFD)
		w := os.NewFile(uintptr(fd), "ready")
		if err != nil {
			fmt.Fprintln(w, "error:", err)
		} else {
			fmt.Fprintln(w, "ready")
		}
		w.Close()
	})
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
