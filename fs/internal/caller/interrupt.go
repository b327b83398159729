package caller

import (
	"context"
	"time"
)

// interruptPoll is how often a caller is checked again after its first interrupt, because the
// kernel doesn't report a second signal.
const interruptPoll = 100 * time.Millisecond

// Heed gives ctx without interrupts by harmless signals. The kernel interrupts a request for any
// signal, also for signals that end no program: Go's runtime sends SIGURG to its own threads all
// the time, and others come from children, windows and jobs. No program repeats an interrupted
// close, and few look at its error. So a push is given up only for a signal that the caller will
// notice. The caller of Heed calls stop when the work is done.
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
