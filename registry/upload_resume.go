package registry

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"

	"github.com/ocifs/ocifs/registry/internal/transport"
)

// leastChunk is the smallest part that is tried where larger ones are refused as too large, in
// bytes: nginx takes 1 MiB if nobody told it otherwise (client_max_body_size), GHCR 4 MiB.
const leastChunk = 256 << 10

// run sends the blob until the repository has it, or nothing helps.
func (u *upload) run(ctx context.Context, open Opener) error {
	defer func() {
		if u.src != nil {
			u.src.Close()
		}
	}()
	u.chunk, u.inParts = u.c.learnt.chunk(u.r.Host, u.desc.Size)
	for {
		err := u.attempt(ctx, open)
		if err == nil {
			u.remember()
			return nil
		}
		there, err := u.again(ctx, err)
		if err != nil || there {
			return err
		}
	}
}

// remember notes how large a part may be, so that the next blob isn't sent in vain.
func (u *upload) remember() {
	if !u.shrunk && u.refusal == nil {
		return
	}
	over := int64(math.MaxInt64) // nothing was refused as a whole
	if u.refusal != nil {
		over = 0
	}
	if errors.Is(u.refusal, ErrTooLarge) {
		over = u.desc.Size
	}
	u.c.learnt.wantsChunks(u.r.Host, over, u.chunk)
}

// attempt goes as far as nothing goes wrong.
func (u *upload) attempt(ctx context.Context, open Opener) error {
	if u.at == nil {
		if err := u.start(ctx); err != nil {
			return err
		}
	}
	if err := u.openSource(ctx, open); err != nil {
		return err
	}
	if u.acked == 0 && !u.inParts {
		return u.all(ctx)
	}
	for u.acked < u.desc.Size {
		if err := u.part(ctx); err != nil {
			return err
		}
	}
	return u.finish(ctx)
}

// notSo says whether a registry refused the way in which it was asked, not what it
// was asked for.
func notSo(e *Error) bool {
	switch e.Status {
	case http.StatusBadRequest:
		return e.Kind != ErrCorrupt && !e.has("NAME_INVALID", "NAME_UNKNOWN", "DENIED", "UNAUTHORIZED")
	case http.StatusMethodNotAllowed, http.StatusLengthRequired, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType,
		http.StatusRequestedRangeNotSatisfiable, http.StatusNotImplemented:
		return true
	}
	return false
}

// again decides what follows a failed attempt: another (there is none, no error),
// none as the repository has the blob after all, or none as nothing helps.
func (u *upload) again(ctx context.Context, cause error) (there bool, err error) {
	var e *Error
	var l lasting
	if errors.As(cause, &l) {
		return false, l.error
	}
	if ctx.Err() != nil || !errors.As(cause, &e) || u.phase == starting {
		return false, cause
	}
	if u.phase == parting && e.Kind == ErrTooLarge && u.shrink(e) {
		return false, u.stay(ctx)
	}
	if notSo(e) {
		if again, err := u.otherwise(e); again || err != nil {
			return false, err
		}
	}
	for {
		if u.hopeless(e) || u.tries >= len(u.c.bounds.pauses) {
			return false, u.givenUp(e, cause)
		}
		if e.Kind == ErrTimeout && e.Status == 0 { // 408 is an answer
			u.stalls++
		}
		if u.stalls >= maxStalls {
			return false, cause
		}
		u.c.opts.Logger.Info("a blob that is pushed broke off", "blob", u.name(), "offset", u.high, "cause", cause)
		pause := max(u.c.bounds.pauses[u.tries], e.wait)
		u.tries++
		u.waited += e.wait
		if err := transport.Sleep(ctx, pause); err != nil {
			return false, fmt.Errorf("%s: %w", u.name(), err)
		}
		u.c.retried(u.startCall(""), e)
		there, err := u.where(ctx, e)
		if err == nil || ctx.Err() != nil || !errors.As(err, &e) || e.Kind == ErrTimeout {
			return there, err
		}
		cause = err
	}
}

// hopeless says whether trying again can't help.
func (u *upload) hopeless(e *Error) bool {
	switch {
	case e.Kind == ErrTooManyRequests:
		var throttled *transport.Throttled
		return u.waited+e.wait > u.c.opts.RetryMaxWait || errors.As(e, &throttled)
	case e.Kind == ErrDenied:
		return !e.elsewhere // where a session may be over
	case e.Kind == ErrCorrupt:
		return !u.resumed // what the registry said of its progress may have been wrong
	case e.Status == http.StatusInsufficientStorage:
		return true
	}
	return e.has("NAME_UNKNOWN", "NAME_INVALID", "DENIED", "UNAUTHORIZED")
}

// givenUp is the error of a blob after its last attempt. A registry that says 416 without a word may
// mean that the part doesn't go on where the session is, or that it is too large: where the smallest
// was refused like the larger ones, it is too large.
func (u *upload) givenUp(e *Error, cause error) error {
	smallest := u.shrunk && u.size() <= max(u.least, u.c.bounds.least, 1)
	if u.phase != parting || e.Status != http.StatusRequestedRangeNotSatisfiable || !smallest {
		return cause
	}
	large := *e
	large.Kind, large.Err = ErrTooLarge, fmt.Errorf("it takes no part of any size, down to %d bytes", u.size())
	if e.Err != nil {
		large.Err = fmt.Errorf("%w: %w", large.Err, e.Err)
	}
	return &large
}

// shrink makes the next part smaller than the one that was refused, if it may be smaller.
func (u *upload) shrink(e *Error) bool {
	least := max(u.least, u.c.bounds.least, 1)
	refused := u.size()
	if refused <= least {
		return false
	}
	u.chunk, u.shrunk = max(refused/4, least), true
	if refused > u.c.bounds.chunk {
		u.chunk = max(u.c.bounds.chunk, least)
	}
	u.c.opts.Logger.Info("a registry doesn't take a part of a blob: smaller ones are sent", "blob", u.name(), "bytes", u.chunk, "cause", e)
	return true
}

// stay goes on in a session whose last part was refused, from where the session is. One that
// doesn't say where that is, is given up.
func (u *upload) stay(ctx context.Context) error {
	if u.frozen {
		return nil // what was counted is all that is known
	}
	has, ok, err := u.ask(ctx)
	if ctx.Err() != nil {
		return err
	}
	switch {
	case err != nil || u.at == nil:
		u.abandon()
	case ok && has >= u.acked && has <= u.high:
		u.has(has)
		u.resumed = true
	case ok || u.acked > 0:
		u.abandon()
	}
	return nil
}

// otherwise finds another way to send what was refused, if there is one left.
func (u *upload) otherwise(e *Error) (again bool, err error) {
	switch {
	case u.phase == whole && u.desc.Size > 0 && !u.noPatch:
		u.c.opts.Logger.Info("a registry doesn't take a blob in one piece: it goes in chunks", "blob", u.name(), "cause", e)
		u.refusal, u.inParts = e, true
		if u.chunk == 0 {
			u.chunk = u.c.bounds.chunk
		}
	case u.phase == parting && e.Status == http.StatusRequestedRangeNotSatisfiable && e.Kind != ErrTooLarge:
		return false, nil // the session knows better
	case u.phase == parting && (u.chunk > 0 || e.Kind == ErrTooLarge):
		if u.refusal != nil && errors.Is(u.refusal, ErrTooLarge) {
			return false, u.refusal
		}
		return false, e
	case u.phase == parting:
		u.noPatch = true // so there is no continuing
		u.tries++
		if u.tries > len(u.c.bounds.pauses) {
			return false, e
		}
	default:
		return false, nil
	}
	u.abandon()
	return true, nil
}

// where finds out what the registry has of a blob that broke off, so that no byte is
// sent again into a session that has it: all of it, a part to go on from, or nothing
// that counts, and then the session is given up.
func (u *upload) where(ctx context.Context, e *Error) (there bool, err error) {
	looked := false
	if u.phase == finishing || u.phase == whole && u.high >= u.desc.Size {
		// Often only the answer was lost.
		looked = true
		if there, err = u.exists(ctx); err != nil || there {
			return there, err
		}
	}
	if u.at != nil && e.Kind != ErrCorrupt && e.Status != http.StatusNotFound && !u.noPatch && !u.frozen {
		before := u.acked
		has, ok, err := u.ask(ctx)
		if err != nil {
			return false, err
		}
		// The session agrees on where the part begins, so it was too long.
		stuck := e.Status == http.StatusRequestedRangeNotSatisfiable && has == before
		if stuck && u.shrink(e) {
			stuck = false
			u.tries-- // another size is no second try
		}
		if u.at != nil && ok && has >= before && has <= u.high && !stuck {
			u.has(has)
			u.resumed = true
			return false, nil
		}
	}
	if e.Status == http.StatusNotFound {
		u.at = nil // gone
	}
	if !looked {
		if there, err = u.exists(ctx); err != nil || there {
			return there, err
		}
	}
	u.abandon()
	return false, nil
}
