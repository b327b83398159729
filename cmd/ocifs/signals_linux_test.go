package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A mount that a signal ends before it answers ends with 1, and a mount helper with 8.
// The daemon waits for a reader of its log.
func TestASignalEndsAMountThatIsMade(t *testing.T) {
	for name, want := range map[string]int{"ocifs": 1, "mount.ocifs": exitInterrupted} {
		dir := t.TempDir()
		log := filepath.Join(dir, "log")
		if err := errors.Join(syscall.Mkfifo(log, 0o600), os.Mkdir(dir+"/mnt", 0o755)); err != nil {
			t.Fatal(err)
		}
		cmd := command(t, "mount", "--cache-dir", dir+"/cache", "--log-file", log, dir+"/mnt")
		if name == "mount.ocifs" {
			cmd = command(t, "ocifs", dir+"/mnt", "-o", fmt.Sprintf("cache_dir=%s/cache,log_file=%s", dir, log))
			cmd.Args[0] = name
		}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		started(t, cmd)
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // the code says it
		if got := cmd.ProcessState.ExitCode(); got != want || !strings.Contains(stderr.String(), "mount was interrupted") {
			t.Errorf("%s ends with %d, want %d, and says %q", name, got, want, &stderr)
		}
		if mounts := ocifsMounts(); len(mounts) > 0 && mounts[len(mounts)-1].mountpoint == dir+"/mnt" {
			t.Errorf("%s is mounted", dir)
		}
	}
}

// started starts a mount, and waits until it has a daemon.
func started(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for late := time.Now().Add(30 * time.Second); time.Now().Before(late); time.Sleep(time.Millisecond) {
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", cmd.Process.Pid)) // by a pattern that is right
		for _, list := range lists {
			if b, err := os.ReadFile(list); err == nil && len(b) > 0 {
				return
			}
		}
	}
	t.Fatal("it has no daemon")
}
