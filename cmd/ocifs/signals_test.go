package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocifs/ocifs/fs/upload"
)

// asOcifs is the variable of the environment that makes the program of the tests ocifs itself.
const asOcifs = "OCIFS_TEST_AS_OCIFS"

func TestMain(m *testing.M) {
	child := len(os.Args) > 1 && (os.Args[1] == stateCommandName || os.Args[1] == showName) // of a test
	if child || os.Getenv(asOcifs) != "" {
		main()
	}
	os.Exit(m.Run())
}

// command is ocifs with its own home. It is killed at the end of the test.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	home := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asOcifs+"=1", "HOME="+home, "XDG_CACHE_HOME=", "XDG_CONFIG_HOME=", "XDG_STATE_HOME=", "GOCOVERDIR="+home)
	cmd.WaitDelay = time.Second
	return cmd
}

// A signal that a command was waiting for ends it with 128 and the signal's number, whichever command it is.
func TestASignalEndsACommandWithItsNumber(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{
		{"cache", "verify", "--cache-dir", dir}, {"cache", "stats", "--cache-dir", dir}, {"doctor"}, {"doctor", "ghcr.io"},
		{"prefetch", dir}, {"unmount", dir}, {"status"},
	} {
		for signal, want := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
			ctx, end := context.WithCancelCause(t.Context())
			end(signalled(signal))
			root := rootCommand()
			root.SetOut(io.Discard)
			root.SetErr(io.Discard)
			root.SetArgs(args)
			err := root.ExecuteContext(ctx)
			if got := exitCode(ctx, err); got != want || !errors.As(err, new(interruptedError)) {
				t.Errorf("ocifs %q after %v: %v, which ends with %d, want %d", args, signal, err, got, want)
			}
		}
	}
	for _, err := range []error{errMountInterrupted, daemonError{code: exitInterrupted}, daemonError{code: exitFailed}} {
		if got := exitCode(t.Context(), err); got != 1 {
			t.Errorf("a mount with %v ends with %d", err, got)
		}
	}
}

// A signal is an ordinary end of a mount in the foreground, also before the mount is made.
func TestASignalEndsAMountInTheForegroundWell(t *testing.T) {
	ctx, end := context.WithCancelCause(t.Context())
	end(signalled(syscall.SIGTERM))
	mountpoint := t.TempDir()
	root := rootCommand()
	root.SetErr(io.Discard)
	root.SetArgs([]string{"mount", "-f", "--cache-dir", t.TempDir(), mountpoint})
	if err := root.ExecuteContext(ctx); err != nil {
		t.Error(err)
	}
	if ms := ocifsMounts(); slices.ContainsFunc(ms, func(m mounted) bool { return m.mountpoint == mountpoint }) {
		t.Error("it is mounted")
	}
}

// The first signal ends prefetch also while it reads its list where nobody writes, as at a terminal.
func TestASignalEndsTheReadingOfAList(t *testing.T) {
	for signal, want := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
		list := filepath.Join(t.TempDir(), "list")
		if err := syscall.Mkfifo(list, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := command(t, "prefetch", "--files-from", list)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(list, os.O_WRONLY, 0) // it waits for the reader
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // the code says it
		if got := cmd.ProcessState.ExitCode(); got != want || stderr.String() != "ocifs: prefetch was interrupted\n" {
			t.Errorf("after %v it ends with %d, want %d, and says %q", signal, got, want, &stderr)
		}
	}
}

// stuckTree is a tree whose Close waits for a disk that gives no answer. A push of it is given up when
// the context ends.
type stuckTree struct {
	end     chan struct{} // closed: Close ends
	givenUp chan struct{} // closed by Close when its context has ended
}

func (s stuckTree) Uploaded() int64 { return 0 }

func (s stuckTree) Unpushed() []upload.Record {
	return []upload.Record{{Repository: "ghcr.io/a", Target: "v1", State: upload.Pushing}}
}

func (s stuckTree) Close(ctx context.Context) error {
	<-ctx.Done()
	close(s.givenUp)
	<-s.end
	return nil
}

// The second signal gives up the pushes, and then the end of a tree that can't end. It is told what is
// left undone, and where it is kept. Without a signal the same comes when nothing moves.
func TestNothingWaitsForADiskThatHangs(t *testing.T) {
	for name, want := range map[string]time.Duration{"second signal": closeFor, "no signal": stillFor + closeFor} {
		synctest.Test(t, func(t *testing.T) {
			tree := stuckTree{make(chan struct{}), make(chan struct{})}
			defer close(tree.end)
			giveUp := make(chan struct{})
			if name == "second signal" {
				close(giveUp)
			}
			var log bytes.Buffer
			began := time.Now()
			finish(giveUp, tree, "/cache/staging", slog.New(slog.NewTextHandler(&log, nil)))
			if took := time.Since(began); took != want {
				t.Errorf("%s: it took %v, want %v", name, took, want)
			}
			<-tree.givenUp
			if n := strings.Count(log.String(), "kept=/cache/staging"); n != 2 || !strings.Contains(log.String(), "repository=ghcr.io/a target=v1") || strings.Contains(log.String(), "second signal") != (name == "second signal") {
				t.Errorf("%s: it is told %d times: %s", name, n, &log)
			}
		})
	}
}

// The second signal closes the channel of a command that waits for it, and the third ends the process.
func TestSignalsEndAProcessInSteps(t *testing.T) {
	if address := os.Getenv("OCIFS_TEST_STEPS"); address != "" {
		waitInSteps(address)
	}
	for _, awaits := range []string{"", "awaits"} {
		l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSignalsEndAProcessInSteps$")
		cmd.Env = append(os.Environ(), "OCIFS_TEST_STEPS="+l.Addr().String(), "OCIFS_TEST_AWAITS="+awaits)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		said := make([]byte, 1)
		steps := ""
		for {
			if _, err := c.Read(said); err != nil {
				break
			}
			steps += string(said)
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
		_ = cmd.Wait()
		want := map[string]string{"": "01", "awaits": "012"}[awaits]
		if status := cmd.ProcessState.Sys().(syscall.WaitStatus); steps != want || status.Signal() != syscall.SIGTERM {
			t.Errorf("%q: its steps are %s, want %s, and it ends with %v", awaits, steps, want, cmd.ProcessState)
		}
	}
}

// waitInSteps says over a socket which step it has come to, and goes on for ever.
func waitInSteps(address string) {
	c, err := net.Dial("unix", address)
	if err != nil {
		panic(err)
	}
	ctx := takeSignals()
	var second <-chan struct{}
	if os.Getenv("OCIFS_TEST_AWAITS") != "" {
		second = secondSignal(ctx)
	}
	fmt.Fprint(c, "0")
	<-ctx.Done()
	fmt.Fprint(c, "1")
	<-second
	fmt.Fprint(c, "2")
	select {}
}
