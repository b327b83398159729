package mount

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Result is what a program did.
type Result struct {
	Stdout, Stderr string
	Code           int // exit code; -1: ended by a signal or a time-out
	Took           time.Duration
}

// Run runs a shell script with env added to the environment that [Env] gives,
// until it ends or ctx does; then all that it started is killed. The error says
// that the script could not be run or had to be killed, not that it failed.
func Run(ctx context.Context, env []string, script string) (Result, error) {
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.Env = env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = 5 * time.Second // what a busy machine takes to read the last words
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return Result{Code: -1}, fmt.Errorf("starting a shell: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			// It stands in the kernel and can't be killed. It ends with the
			// mount, and the goroutine above with it.
			return Result{Code: -1}, fmt.Errorf("%s: unkillable after %s: %w", script, time.Since(begin), ctx.Err())
		}
		return Result{stdout.String(), stderr.String(), -1, time.Since(begin)},
			fmt.Errorf("%s: killed after %s: %w", script, time.Since(begin).Round(time.Millisecond), ctx.Err())
	}
	r := Result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode(), time.Since(begin)}
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		return r, fmt.Errorf("%s: %w", script, err)
	}
	return r, nil
}

// Shell is a shell that goes on from one command to the next: it stands in a
// directory and holds files open, as a person's does. One goroutine at a time.
type Shell struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// NewShell starts a shell.
func NewShell(env []string) (*Shell, error) {
	cmd := exec.Command("/bin/sh")
	cmd.Env = env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting a shell: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting a shell: %w", err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a shell: %w", err)
	}
	return &Shell{cmd: cmd, in: in, out: bufio.NewReader(out)}, nil
}

// endOfCommand tells where the output of a command ends.
const endOfCommand = "::ocifs:: end of command"

// Do runs one command and gives what it printed, on both streams. The error says
// that the command failed, or that it took longer than a minute.
func (s *Shell) Do(command string) (string, error) {
	if _, err := fmt.Fprintf(s.in, "%s\necho \"%s $?\"\n", command, endOfCommand); err != nil {
		return "", fmt.Errorf("writing to the shell: %w", err)
	}
	timeout := time.AfterFunc(time.Minute, func() { syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) })
	defer timeout.Stop()
	var b strings.Builder
	for {
		line, err := s.out.ReadString('\n')
		if err != nil {
			return b.String(), fmt.Errorf("%s: the shell ended: %w", command, err)
		}
		if before, code, ok := strings.Cut(line, endOfCommand); ok {
			b.WriteString(before)
			if code = strings.TrimSpace(code); code != "0" {
				return b.String(), fmt.Errorf("%s: exit code %s", command, code)
			}
			return b.String(), nil
		}
		b.WriteString(line)
	}
}

// Close ends the shell.
func (s *Shell) Close() error {
	s.in.Close()
	timeout := time.AfterFunc(5*time.Second, func() { syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) })
	defer timeout.Stop()
	return s.cmd.Wait()
}
