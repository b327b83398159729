package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"

	"github.com/ocifs/ocifs/fs/prefetch"
)

const (
	// lookEvery is how often a mount is asked how far it is.
	lookEvery = 200 * time.Millisecond
	// stateFor is how long a mount may take to say how far it is: on a busy machine with long lists
	// that is seconds.
	stateFor = 30 * time.Second
	// settleFor is how long --background waits for paths that can't be brought at all.
	settleFor = 2 * time.Second
)

// errMissing is the error of something that isn't in the cache.
var errMissing = errors.New("missing")

// asked is a session with one mount, and what it was asked for.
type asked struct {
	mount   mounted
	below   []string // the paths below the mountpoint
	session *prefetch.Session
	state   prefetch.State
	failed  bool // a question got no answer, or an error
}

// run brings everything, or finds out what is missing.
func (c *prefetchCall) run(ctx context.Context) error {
	all, failed := c.places(ctx)
	defer func() {
		for _, a := range all {
			a.close()
		}
	}()
	p := newProgressIn(c.progress, c.err, "prefetch")
	defer p.end()
	for _, a := range all {
		if err := a.begin(ctx, c.ask); err != nil {
			return err
		}
	}
	if err := c.wait(ctx, all, p); err != nil {
		return err
	}
	p.end()
	failed += c.tellFailures(all)
	switch {
	case failed > 0:
		return fmt.Errorf("%s", plural(failed, "thing can't be brought", "things can't be brought"))
	case c.ask.Check:
		return c.tellMissing(c.out, all)
	case c.ask.Background:
		for _, a := range all {
			if c.progress != noProgress && a.state.Ended < a.state.Asked {
				fmt.Fprintf(c.err, "the mount goes on; see: ocifs status %s\n", shellWord(a.mount.mountpoint))
			}
		}
		return nil
	}
	return c.confirm(ctx, all)
}

// places finds the mount of each path. Those that are in none are told, and counted.
func (c *prefetchCall) places(ctx context.Context) (all []*asked, failed int) {
	there := newPlaces()
	of := map[string]*asked{}
	for _, path := range c.paths {
		m, below, err := there.of(ctx, path)
		if err != nil {
			fmt.Fprintln(c.err, "ocifs:", err)
			failed++
			continue
		}
		a := of[m.mountpoint]
		if a == nil {
			a = &asked{mount: m}
			of[m.mountpoint] = a
			all = append(all, a)
		}
		a.below = append(a.below, below)
	}
	return all, failed
}

// begin opens a session and asks for all paths. A mount that hangs is given up after some seconds. A
// session that has as many asks as it takes is asked again when it has worked on some.
func (a *asked) begin(ctx context.Context, ask prefetch.Ask) (err error) {
	open := func() (*prefetch.Session, error) { return prefetch.Open(a.mount.mountpoint) }
	if a.session, err = inTime(ctx, a.mount, askFor, open); err != nil {
		return err
	}
	for _, ask.Path = range a.below {
		for {
			one := ask // a question that is given up may be sent later
			_, err := inTime(ctx, a.mount, askFor, func() (struct{}, error) { return struct{}{}, a.session.Ask(one) })
			if err == nil {
				break
			}
			if !errors.Is(err, prefetch.ErrFull) {
				a.failed = true
				return err
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(lookEvery):
			}
		}
	}
	return nil
}

// inTime is answerWithin for a question to the mount m. If m hangs, the error names m.
func inTime[T any](ctx context.Context, m mounted, limit time.Duration, ask func() (T, error)) (T, error) {
	got, err := answerWithin(ctx, limit, ask)
	if errors.Is(err, errSilent) {
		err = fmt.Errorf("the mount on %s doesn't answer; see: ocifs status", m.mountpoint)
	}
	return got, err
}

// close closes the session. One with a question that has no answer is closed by the end of the process:
// Close would wait for the answer.
func (a *asked) close() {
	if a.session != nil && !a.failed {
		a.session.Close()
	}
}

// wait waits until all asks have ended. In the background it waits until the mount brings something, for
// a moment at most.
func (c *prefetchCall) wait(ctx context.Context, all []*asked, p *progress) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	warned := false
	for began := time.Now(); ; {
		if err := readStates(ctx, all); err != nil {
			return err
		}
		going := false
		for _, a := range all {
			st := a.state
			going = going || st.Ended < st.Asked && !(c.ask.Background && (st.Found > 0 || time.Since(began) > settleFor))
			if st.LimitBytes > 0 && st.TotalBytes > st.LimitBytes && !warned && !c.ask.Check {
				warned = true
				p.line(c.err, fmt.Sprintf("%s are needed, and the cache keeps at most %s: ocifs cache limit makes it larger", bytesText(st.TotalBytes), bytesText(st.LimitBytes)))
			}
		}
		if !going {
			return nil
		}
		if !c.ask.Check {
			show(p, all)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// readStates asks all mounts side by side how far they are. A mount that hangs is given up after
// stateFor.
func readStates(ctx context.Context, all []*asked) error {
	errs := make([]error, len(all))
	var looked sync.WaitGroup
	for k, a := range all {
		looked.Go(func() {
			a.state, errs[k] = inTime(ctx, a.mount, stateFor, a.session.State)
			a.failed = errs[k] != nil
		})
	}
	looked.Wait()
	for k, a := range all {
		if errs[k] != nil {
			return fmt.Errorf("%s: %w", a.mount.mountpoint, errs[k])
		}
	}
	return ctx.Err()
}

// show shows how far all mounts are.
func show(p *progress, all []*asked) {
	var done, total int64
	var parts []part
	for _, a := range all {
		done, total = prefetch.Sum(done, a.state.DoneBytes), prefetch.Sum(total, a.state.TotalBytes)
		for _, i := range a.state.Active {
			parts = append(parts, part{fmt.Sprintf("%-8s %s", i.Kind, shortDigest(i.Digest.String())), i.Done, i.Total})
		}
	}
	p.setParts(done, total, parts)
}

// tellFailures tells what couldn't be brought, and counts it.
func (c *prefetchCall) tellFailures(all []*asked) (failed int) {
	for _, a := range all {
		failed += a.state.Failed
		for _, f := range a.state.Failures {
			fmt.Fprintf(c.err, "ocifs: %s: %s: %s\n", printable(filepath.Join(a.mount.mountpoint, f.Path)), f.Errno, printable(f.Cause))
			if f.Hint != "" {
				fmt.Fprintf(c.err, "  %s\n", printable(f.Hint))
			}
		}
		if more := a.state.Failed - len(a.state.Failures); more > 0 {
			fmt.Fprintf(c.err, "ocifs: and %d more\n", more)
		}
	}
	return failed
}

// tellMissing tells what is missing, a line for each.
func (c *prefetchCall) tellMissing(w io.Writer, all []*asked) error {
	lacking := 0
	for _, a := range all {
		lacking += a.state.Lacking
		for _, i := range a.state.Missing {
			what := i.Name
			if i.Total >= 0 {
				what = fmt.Sprintf("%s %s, %s", i.Name, i.Digest, bytesText(i.Total))
			}
			fmt.Fprintf(w, "%s: %s\n", printable(filepath.Join(a.mount.mountpoint, i.Path)), printable(what))
		}
		if more := a.state.Lacking - len(a.state.Missing); more > 0 {
			fmt.Fprintf(w, "and %d more\n", more)
		}
	}
	if lacking == 0 {
		return nil
	}
	return fmt.Errorf("%s %w", plural(lacking, "thing is", "things are"), errMissing)
}

// confirm makes sure that everything is still there: the cache may have had no room for it.
func (c *prefetchCall) confirm(ctx context.Context, all []*asked) error {
	items, bytes := 0, int64(0)
	for _, a := range all {
		items += a.state.Found
		bytes = prefetch.Sum(bytes, a.state.TotalBytes)
	}
	check := &prefetchCall{ask: c.ask, progress: noProgress, out: c.out, err: c.err}
	check.ask.Check = true
	var again []*asked
	for _, a := range all {
		b := &asked{mount: a.mount, below: a.below}
		defer b.close()
		if err := b.begin(ctx, check.ask); err != nil {
			return err
		}
		again = append(again, b)
	}
	if err := check.wait(ctx, again, newProgressIn(noProgress, c.err, "")); err != nil {
		return err
	}
	if check.tellFailures(again) > 0 {
		return errors.New("it came, and can't be found any more")
	}
	if err := check.tellMissing(c.err, again); err != nil {
		return fmt.Errorf("%w again: the cache has no room for all of it; see: ocifs cache limit", err)
	}
	if c.progress != noProgress {
		fmt.Fprintf(c.err, "prefetch: %s, %s\n", plural(items, "thing is in the cache", "things are in the cache"), bytesText(bytes))
	}
	return nil
}
