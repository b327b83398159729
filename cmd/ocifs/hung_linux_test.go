package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// asRoot skips a test that mounts by itself, which only root may do. The gate, which sets CI, runs as root:
// there the test fails instead.
func asRoot(t *testing.T) {
	t.Helper()
	switch {
	case os.Geteuid() == 0:
	case os.Getenv("CI") != "":
		t.Fatal("only root mounts without fusermount3")
	default:
		t.Skip("only root mounts without fusermount3")
	}
}

// hungMount mounts a file system of the type fuse.<name> that takes every request and answers none, as
// a daemon does that waits for a broken disk. A thread that asks it can't be killed. The mount is aborted
// at the end of the test.
func hungMount(t *testing.T, name string) (mountpoint string) {
	t.Helper()
	asRoot(t)
	dir := t.TempDir()
	server := exec.Command(os.Args[0])
	server.Env = append(os.Environ(), "OCIFS_TEST_HANGS="+dir, "OCIFS_TEST_TYPE="+name)
	said, err := server.StdoutPipe()
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Unmount(dir, unix.MNT_DETACH)
		_ = server.Process.Kill() // the kernel ends all requests then
		_ = server.Wait()
	})
	if n, err := said.Read(make([]byte, 1)); n != 1 {
		t.Fatalf("it isn't mounted: %v", err)
	}
	return dir
}

// hungFS answers nothing but what a mount needs.
type hungFS struct{ fuse.RawFileSystem }

func (hungFS) StatFs(<-chan struct{}, *fuse.InHeader, *fuse.StatfsOut) fuse.Status { select {} }

func (hungFS) Lookup(<-chan struct{}, *fuse.InHeader, string, *fuse.EntryOut) fuse.Status { select {} }

func init() {
	if dir := os.Getenv("OCIFS_TEST_HANGS"); dir != "" { // it is the process that hungMount starts
		serveHung(dir)
	}
}

// serveHung serves a hungFS until it is killed.
func serveHung(dir string) {
	server, err := fuse.NewServer(hungFS{fuse.NewDefaultRawFileSystem()}, dir, &fuse.MountOptions{Name: os.Getenv("OCIFS_TEST_TYPE"), FsName: "hung", DirectMountStrict: true})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("mounted")
	server.Serve()
	os.Exit(0)
}

// ocifs ends while a mount hangs whose askers can't be killed, and names it.
func TestNothingWaitsForAMountThatHangs(t *testing.T) {
	dir := hungMount(t, "ocifs")
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"doctor"}, 0, "the mount on " + dir + " doesn't answer"},
		{[]string{"mount", dir}, 1, "an ocifs is mounted on " + dir + " that doesn't answer"},
		{[]string{"mount", filepath.Join(dir, "x")}, 1, "is inside the ocifs mount on " + dir + ": no answer"},
		{[]string{"status", dir}, 1, "it hangs"},
	} {
		cmd := command(t, c.args...)
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		ended := make(chan struct{})
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go func() {
			_ = cmd.Wait() // the code says it
			close(ended)
		}()
		select {
		case <-ended:
		case <-time.After(3 * time.Minute):
			t.Fatalf("ocifs %q doesn't end", c.args)
		}
		if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.Contains(said.String(), c.says) {
			t.Errorf("ocifs %q ends with %d, want %d, and says %s", c.args, code, c.code, &said)
		}
	}
}

// A mount whose daemon has ended is told from one that hangs, and from one that answers.
func TestAliveTellsDeadFromSilent(t *testing.T) {
	dir := hungMount(t, "ocifs")
	if err := alive(t.Context(), dir); !errors.Is(err, errSilent) {
		t.Errorf("one that hangs: %v", err)
	}
	if err := alive(t.Context(), t.TempDir()); err != nil {
		t.Errorf("one that answers: %v", err)
	}
	if err := alive(t.Context(), dir+"/../none"); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("none: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := alive(ended, dir); !errors.Is(err, errSilent) {
		t.Errorf("after a signal: %v", err)
	}
}
