package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
)

// endingSignals are the signals that end a command.
var endingSignals = []os.Signal{syscall.SIGINT, syscall.SIGTERM}

// signalled is the cause of a context that a signal ended.
type signalled syscall.Signal

func (s signalled) Error() string { return "signal: " + syscall.Signal(s).String() }

// interruptedError is the error of a command that a signal ended before it was done. A mount that was
// served isn't interrupted: a signal is one of its ordinary ends.
type interruptedError struct{ command string }

func (e interruptedError) Error() string { return e.command + " was interrupted" }

// errMountInterrupted is the interruptedError of a mount that isn't made yet.
var errMountInterrupted = interruptedError{"mount"}

// exitCode gives the exit code of a command that ended with err, and whose context was ctx. After a
// signal an error ends with 128 and the signal's number, as a shell has it: 130 for SIGINT, 143 for
// SIGTERM. A mount has 1 for all that fails. A mount helper has codes of its own: helperExit.
func exitCode(ctx context.Context, err error) int {
	var s signalled
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errMountInterrupted):
		return 1
	case errors.As(context.Cause(ctx), &s):
		return 128 + int(s)
	case errors.As(err, new(usageError)):
		return 2
	}
	return 1
}

// signals are the steps in which signals end this process. The first signal ends the context of the
// command. The second one ends the process, or, if secondSignal was called, the wait of the command for
// what is under way. The third one ends the process in any case.
type signals struct {
	awaited atomic.Bool   // secondSignal was called
	second  chan struct{} // closed by the second signal, if awaited
}

// signalsKey is the key of *signals in the context of a command.
type signalsKey struct{}

// The first thread of the process is for signals: the main goroutine has it alone, and only waits there.
// Linux hands a signal of the process to its first thread. If that thread is in a call to a file system that
// hangs, the signal waits for the end of the call, and no other thread takes it.
func init() { runtime.LockOSThread() }

// takeSignals makes the context of the command, and takes over this process' signals for good.
func takeSignals() context.Context {
	s := &signals{second: make(chan struct{})}
	ctx, end := context.WithCancelCause(context.WithValue(context.Background(), signalsKey{}, s))
	came := make(chan os.Signal, 3) // one for each step
	signal.Notify(came, endingSignals...)
	go func() {
		first := <-came
		end(signalled(first.(syscall.Signal)))
		last := <-came
		if s.awaited.Load() {
			close(s.second)
			last = <-came
		}
		dieOf(last.(syscall.Signal))
	}()
	return ctx
}

// dieOf ends this process by a signal. Shells tell that from an exit code, and end their script.
func dieOf(s syscall.Signal) {
	signal.Reset(endingSignals...)
	_ = syscall.Kill(os.Getpid(), s)
	time.Sleep(time.Second) // the kernel keeps a signal without a handler from the first process of a container
	os.Exit(128 + int(s))
}

// secondSignal gives a channel that the second signal closes. That signal doesn't end the process then;
// the third one does. nil: ctx isn't of takeSignals.
func secondSignal(ctx context.Context) <-chan struct{} {
	s, ok := ctx.Value(signalsKey{}).(*signals)
	if !ok {
		return nil
	}
	s.awaited.Store(true)
	return s.second
}
