package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const (
	// checkFor bounds each check, trialFor the one that starts another program, which
	// takes its time on a busy machine, and cleanFor what is taken away when the time
	// is up.
	checkFor = 15 * time.Second
	trialFor = 30 * time.Second
	cleanFor = 5 * time.Second
)

// state says how a check went.
type state string

const (
	isOK      state = "ok"
	isWarning state = "warning" // it works, but not as well as it could
	isWrong   state = "wrong"   // something won't work
	isUnknown state = "unknown" // it can't be told
)

// check is what doctor found out about one thing. It is what --json prints, and what
// is printed for people, too.
type check struct {
	Group string `json:"group"`
	Name  string `json:"name"`
	State state  `json:"state"`
	Found string `json:"found"` // a sentence
	Next  string `json:"next"`  // what to do, where the state isn't ok; may be empty
}

func fine(format string, args ...any) check {
	return check{State: isOK, Found: fmt.Sprintf(format, args...)}
}

func warning(next, format string, args ...any) check {
	return check{State: isWarning, Next: next, Found: fmt.Sprintf(format, args...)}
}

func wrong(next, format string, args ...any) check {
	return check{State: isWrong, Next: next, Found: fmt.Sprintf(format, args...)}
}

func unknown(next, format string, args ...any) check {
	return check{State: isUnknown, Next: next, Found: fmt.Sprintf(format, args...)}
}

// diagnosis is what was found out so far. It isn't safe for concurrent use.
type diagnosis struct {
	out    io.Writer // gets each check when it is done; nil: none
	group  string    // of the checks that follow
	shown  string    // the group that was printed last
	checks []check
}

// do does a check, and adds what it found under a name.
func (d *diagnosis) do(ctx context.Context, name string, run func(context.Context) check) check {
	_, c := find(ctx, d, name, checkFor, func(ctx context.Context) (struct{}, check) { return struct{}{}, run(ctx) })
	return c
}

// find does a check that finds something which later ones need. It is over a moment
// after bound, or after ctx ends, which adds nothing and gives zeroes. A check without
// a state had nothing to tell, and isn't added either.
func find[T any](ctx context.Context, d *diagnosis, name string, bound time.Duration, run func(context.Context) (T, check)) (T, check) {
	type result struct {
		found T
		c     check
	}
	if ctx.Err() != nil {
		return result{}.found, check{}
	}
	own, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	done := make(chan result, 1)
	go func() {
		found, c := run(own)
		done <- result{found, c}
	}()
	var r result
	select {
	case r = <-done:
	case <-own.Done():
		select {
		case r = <-done:
		case <-time.After(cleanFor): // it stands in the kernel, and ends with this process
			r.c = unknown("", "there was no answer within %s", bound)
		}
	}
	if ctx.Err() != nil {
		return result{}.found, check{}
	}
	if r.c.State != "" {
		r.c.Name = name
		d.add(r.c)
	}
	return r.found, r.c
}

func (d *diagnosis) add(c check) {
	c.Group = d.group
	c.Found, c.Next = oneLine(c.Found), oneLine(c.Next)
	d.checks = append(d.checks, c)
	if d.out == nil {
		return
	}
	if d.shown != d.group {
		if d.shown != "" {
			fmt.Fprintln(d.out)
		}
		fmt.Fprintln(d.out, d.group)
		d.shown = d.group
	}
	mark := map[state]string{isOK: "✓", isWarning: "!", isWrong: "✗", isUnknown: "?"}[c.State]
	fmt.Fprintf(d.out, "  %s %-12s %s\n", mark, c.Name, c.Found)
	if c.Next != "" {
		fmt.Fprintf(d.out, "    %-12s → %s\n", "", c.Next)
	}
}

// oneLine keeps what others said on one line.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// wrongs counts what is wrong.
func (d *diagnosis) wrongs() (n int) {
	for _, c := range d.checks {
		if c.State == isWrong {
			n++
		}
	}
	return n
}

func doctorCommand() *cobra.Command {
	s := newSettings()
	var asJSON bool
	c := &cobra.Command{
		Use:   "doctor [HOST[/REPOSITORY]]",
		Short: "Find out what keeps a mount, or a registry, from working",
		Long: `Find out whether this machine can mount, and, of a registry, whether it can be
reached, which credential is used, and what it offers.

Every line says what was found, and, where something isn't right, what to do next.
✓ is well, ! works but could work better, ✗ is wrong, ? can't be told.
The exit code is 1 where something is wrong, and 0 otherwise.

Nothing is changed at the registry: what it offers is found out by reading, by
asking to delete what nobody can have, and by asking to take a blob over from the
repository that has it already. No password and no token is ever printed.`,
		Example: "  ocifs doctor\n  ocifs doctor ghcr.io\n  ocifs doctor ghcr.io/org/app --json",
		Args:    arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			t := target{}
			if len(args) == 1 {
				var err error
				if t, err = parseTarget(args[0]); err != nil {
					return usageError{err}
				}
			}
			if err := s.load(cmd.Flags()); err != nil {
				return err
			}
			if err := s.checkHostsDirs(); err != nil {
				return err
			}
			d := &diagnosis{}
			if !asJSON {
				d.out = cmd.OutOrStdout()
			}
			ctx := cmd.Context()
			d.examine(ctx, t, *s)
			if asJSON {
				if err := d.print(cmd.OutOrStdout(), ctx.Err() == nil); err != nil {
					return err
				}
			}
			switch n := d.wrongs(); {
			case ctx.Err() != nil:
				return interruptedError{"doctor"}
			case n == 1:
				return errors.New("doctor found one thing that is wrong")
			case n > 1:
				return fmt.Errorf("doctor found %d things that are wrong", n)
			}
			return nil
		},
	}
	s.register(c, "cache-dir", "plain-http", "hosts-dir")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

// print prints all of it as JSON. whole says that no check was left out.
func (d *diagnosis) print(w io.Writer, whole bool) error {
	all := struct {
		Checks []check `json:"checks"`
		OK     bool    `json:"ok"`
	}{d.checks, whole && d.wrongs() == 0}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(all)
}

// examine does all checks: those of this machine, of the credentials, and of the
// registry, where one is named.
func (d *diagnosis) examine(ctx context.Context, t target, s settings) {
	d.group = "machine"
	d.examineMachine(ctx, s.cacheDir)
	d.group = "credentials"
	source, cred := d.examineCredentials(ctx, t)
	if t.host == "" {
		return
	}
	d.group = "registry"
	d.examineHost(ctx, t, s, source, cred)
}
