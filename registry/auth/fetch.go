package auth

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/ocifs/ocifs/registry/ref"
)

// fetch gets a token, by the credential of got, or by the next where that is refused.
type fetch struct {
	a   *Authorizer
	g   *grant
	r   ref.Repository
	got *authorization

	refused map[shown]*refusal // what was refused now
	again   time.Time          // when a credential that rests is shown again; zero: none rests
	trial   trialOf            // of the last credential
}

// run tries one credential after the other. For reading it tries without one at last: what is public
// can be had so, and what isn't says so by its own answer.
func (f *fetch) run(ctx context.Context) error {
	got := f.got
	defer f.trial.end()
	err := f.token(ctx)
	for tries := 1; refusesCredential(err) && !got.cred.Empty(); tries++ {
		next, nextErr := f.a.next(ctx, f.g, f.r)
		if nextErr != nil {
			return nextErr
		}
		if next.Empty() || tries == maxTries {
			break
		}
		f.a.follows(f.r, got.cred, next)
		got.cred, got.given = next, next
		err = f.token(ctx)
	}
	if refusesCredential(err) && !got.cred.Empty() && f.g.access.Do == Pull {
		bad, cause := got.cred, err
		got.cred = Credential{}
		if err = f.token(ctx); err != nil {
			got.cred = bad
		} else {
			f.a.log().Warn("the token endpoint refused a credential: going on without it", "repository", f.r, "credential", bad.Origin, "cause", cause, "hint", bad.Hint)
			got.anonymous, got.again = true, f.again
			if f.again.IsZero() {
				got.again = time.Now().Add(refusedFor)
			}
		}
	}
	if err == nil && got.cred.Empty() || refusesCredential(err) { // none of the source's was let in
		for at, by := range f.refused {
			f.a.pauses.rest(at, by, got.version)
		}
	}
	return err
}

// shown is what the token endpoint is shown.
func (f *fetch) shown() shown {
	return shown{shownTo{f.got.realm.Host, f.got.cred.proof()}, f.r, f.g.access}
}

// token gets a token by the credential of got, unless that is known to be refused.
func (f *fetch) token(ctx context.Context) error {
	a, g, got, at := f.a, f.g, f.got, f.shown()
	nobody := got.cred.Empty()
	if by, until, rests := a.pauses.held(at, got.version); rests && by.err != nil {
		f.again = until
		if !nobody {
			g.refuse(got.cred, got.version)
		}
		return fmt.Errorf("%w: %w", by.err, &RestsError{until})
	}
	if !nobody {
		by, err := f.trial.begin(ctx, &a.pauses, at.shownTo)
		if err != nil {
			return err
		}
		if by != nil && by.err != nil {
			f.refuse(at, by)
			return by.err
		}
	}
	began := time.Now() // by this clock: that of the server needn't be right
	token, life, err := a.token(ctx, got.challenge, got.realm, g.access, f.r, got.cred)
	switch {
	case err == nil:
		got.header, got.expires = "Bearer "+token, began.Add(life-min(earlyBy, life/4))
		if !nobody {
			a.pauses.end(at)
		}
	case refusesCredential(err):
		f.refuse(at, &refusal{err: err, wrong: !nobody && statusOf(err) == http.StatusUnauthorized})
	}
	return err
}

// refuse notes how the credential of got was refused.
func (f *fetch) refuse(at shown, by *refusal) {
	f.refused[at] = by
	if f.got.cred.Empty() {
		return
	}
	f.a.refused(f.g, f.r, *f.got, by.wrong)
	if by.wrong {
		f.trial.refused(by)
	}
}
