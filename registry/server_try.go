package registry

import (
	"context"
	"errors"
	"slices"

	"github.com/ocifs/ocifs/registry/internal/transport"
)

// OutOfReach says whether an error is of a registry that can't be asked now, as
// opposed to one that said no.
func OutOfReach(err error) bool {
	return errors.Is(err, ErrUnreachable) || errors.Is(err, ErrTimeout) || errors.Is(err, ErrServer) ||
		errors.Is(err, ErrTooManyRequests) || errors.Is(err, context.DeadlineExceeded)
}

// Impatient makes reads with this context wait less for an answer: something older can
// be shown instead.
func Impatient(ctx context.Context) context.Context {
	return transport.WithPlan(ctx, transport.Plan{Impatient: true})
}

// anything passes over whatever failed: what is verified may come from anywhere.
func anything(error) bool { return true }

// try asks one endpoint after the other, until one has an answer that holds, or fails
// in a way that isn't passed over. What those before had to say is in the last one's
// error.
func try[T any](ctx context.Context, c *Client, k call, es []*endpoint, passes func(error) bool, ask func(context.Context, call) (T, error)) (T, error) {
	var passed []error
	for i, e := range es {
		k.at, k.plan.Hurried = e, false
		if i == len(es)-1 {
			v, err := ask(ctx, k)
			return v, after(err, passed)
		}
		if err := e.health.spared(); err != nil {
			passed = append(passed, k.down(err))
			continue
		}
		k.plan.Hurried = true
		v, err := ask(ctx, k)
		if err == nil || ctx.Err() != nil || !passes(err) && !isAhead(e, es[i+1:]) {
			return v, after(err, passed)
		}
		passed = append(passed, err)
		c.passed(k, err)
	}
	var none T
	return none, errNobody // es is never empty
}

// isAhead says whether an endpoint is a mirror that is asked before the registry is. Whatever it
// says that is no answer, the registry may have one.
func isAhead(e *endpoint, later []*endpoint) bool {
	return e.mirror && slices.ContainsFunc(later, func(e *endpoint) bool { return !e.mirror })
}

// passed tells of an endpoint that is passed over.
func (c *Client) passed(k call, err error) {
	level := c.opts.Logger.Info
	if errors.Is(err, ErrNotFound) {
		level = c.opts.Logger.Debug
	}
	level("a server is passed over", "server", k.at.name(), "of", k.name, "cause", err)
}

// after is the error of the last endpoint, with those of the ones before.
func after(err error, passed []error) error {
	var e *Error
	if errors.As(err, &e) {
		e.passed = passed
	}
	return err
}
