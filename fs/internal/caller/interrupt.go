package caller

import (
	"context"
	"time"
)

// interruptPoll is how often a caller that was interrupted once is looked at: the kernel
// tells nothing of a second signal.
const interruptPoll = 100 * time.Millisecond

// Heed gives ctx without the interrupts that mean nothing. The kernel interrupts a request
// for any signal, also for those that end nobody: Go's runtime sends SIGURG to its own
// threads all the time, and children, windows and jobs send others. No program repeats a
// close that was interrupted, and few look at what it says, so a push is given up only for
// a signal that the caller is going to notice. stop is to be called when the work is done.
func (c Caller) Heed(ctx context.Context) (heeded context.Context, stop func()) {
	if !c.Program {
		return ctx, func() {}
	}
	heeded, cancel := context.WithCancel(context.WithoutCancel(ctx))
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-heeded.Done():
			return
		case <-ctx.Done():
		}
		poll := time.NewTicker(interruptPoll)
		defer poll.Stop()
		for !c.interrupted() {
			select {
			case <-heeded.Done():
				return
			case <-poll.C:
			}
		}
		cancel()
	}()
	return heeded, func() {
		cancel()
		<-watched
	}
}
