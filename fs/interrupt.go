package fs

import (
	"context"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// interruptPoll is how often a caller is looked at who was interrupted once: of a
// second signal the kernel tells nothing.
const interruptPoll = 100 * time.Millisecond

// heeding is ctx without the interrupts that mean nothing. The kernel interrupts a
// call for any signal, also for those that end nobody: Go's runtime sends SIGURG to
// its own threads all the time, and children, windows and jobs send others. Nobody
// repeats a close that was interrupted, and few look at what it says, so a push is
// given up only for a signal that the caller is going to notice. stop is to be
// called when the work is done.
func heeding(ctx context.Context) (heeded context.Context, stop func()) {
	caller, ok := fuse.FromContext(ctx)
	if !ok {
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
		for !interrupted(caller.Pid) {
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
