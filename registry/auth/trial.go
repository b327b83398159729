package auth

import (
	"context"
	"time"
)

// trialWait bounds the wait for the trial of a credential. One that takes longer is of a host that
// is slow to answer, and says nothing of the credential.
const trialWait = 5 * time.Second

// trial is the first showing of a credential to a host that didn't let it in lately. Whoever lists a
// directory sends many requests at once: all but the first wait for what comes of it.
type trial struct {
	done    chan struct{} // closed at the end
	refusal *refusal      // set before done is closed; nil: the credential wasn't called wrong
}

// trialOf is the trial that one request has under way, if any. The zero value has none.
type trialOf struct {
	p   *pauses
	at  shownTo
	own *trial
}

// begin begins the trial of a credential, or waits for the one that another request has under way,
// and gives the refusal that it ended with: then the credential isn't shown again. One that a host let
// in lately needs no trial. A trial that the request had before ends: nobody waits
// for another's trial while others wait for its own. The error is that of ctx.
func (t *trialOf) begin(ctx context.Context, p *pauses, at shownTo) (*refusal, error) {
	t.end()
	p.mu.Lock()
	other := p.trials[at]
	needless := time.Since(p.letIn[at]) <= refusedFor
	if other == nil && !needless {
		if p.trials == nil {
			p.trials = map[shownTo]*trial{}
		}
		*t = trialOf{p, at, &trial{done: make(chan struct{})}}
		p.trials[at] = t.own
	}
	p.mu.Unlock()
	if other == nil || needless {
		return nil, nil
	}
	timer := time.NewTimer(trialWait)
	defer timer.Stop()
	select {
	case <-other.done:
		return other.refusal, nil
	case <-timer.C:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// refused notes that the credential was called wrong.
func (t *trialOf) refused(by *refusal) {
	if t.own != nil {
		t.own.refusal = by
	}
}

// end ends the trial, if there is one, and lets the others go on.
func (t *trialOf) end() {
	if t.own == nil {
		return
	}
	t.p.mu.Lock()
	delete(t.p.trials, t.at)
	t.p.mu.Unlock()
	close(t.own.done)
	t.own = nil
}
