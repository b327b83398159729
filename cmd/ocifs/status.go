package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

// watchEvery is how often --watch looks again.
const watchEvery = 2 * time.Second

func statusCommand() *cobra.Command {
	c := &statusCall{}
	cmd := &cobra.Command{
		Use:   "status [MOUNTPOINT…]",
		Short: "Tell what mounts do: transfers, pushes, cache, errors",
		Long: `Tell of the mounts named, or of all ocifs mounts: whether they answer, what they
download, unpack and push and how far that is, which pushes wait or failed and why,
how full the cache is, and what failed lately, with what to do.

A mount that hangs or whose daemon has ended is named after some seconds at most. The
exit code is 1 where one doesn't answer, and where one that was named isn't there.
Mounts of other users that nobody else may look into are left out, unless named, and so
are devices (/dev/fd/N), whose type of file system is that of the program that mounted them.`,
		Example: "  ocifs status\n  ocifs status --watch ~/oci\n  ocifs status --json | jq '.mounts[].transfers'",
		RunE: func(cmd *cobra.Command, args []string) error {
			if slices.Contains(args, "") {
				return errNoMountpoint
			}
			c.out, c.names = cmd.OutOrStdout(), args
			ctx := cmd.Context()
			return c.run(ctx)
		},
	}
	cmd.Flags().BoolVarP(&c.watch, "watch", "w", false, fmt.Sprintf("look again every %s, until a signal: in place on a terminal, one after the other elsewhere", watchEvery))
	cmd.Flags().BoolVar(&c.asJSON, "json", false, "print one JSON object; with --watch, one a line")
	return cmd
}

// statusCall is one call of the command.
type statusCall struct {
	names         []string // of mounts; none: all mounts
	watch, asJSON bool
	out           io.Writer
	asking        asking
}

// run tells once, or again and again until ctx ends.
func (c *statusCall) run(ctx context.Context) error {
	on := newScreen(c.out)
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		all, err := c.look(ctx)
		if ctx.Err() != nil {
			return c.interrupted()
		}
		if perr := c.print(all, on); perr != nil {
			return perr
		}
		if !c.watch {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// interrupted is the end by a signal, which is how --watch ends.
func (c *statusCall) interrupted() error {
	if c.watch {
		return nil
	}
	return interruptedError{"status"}
}

// look asks all mounts side by side. The error is of those that don't answer.
func (c *statusCall) look(ctx context.Context) ([]mountState, error) {
	mounts, missing := c.mounts(ctx)
	shown, silent := []mountState{}, 0
	states := c.asking.all(ctx, mounts)
	for k, m := range mounts {
		if m.foreign && !states[k].Alive {
			states[k] = notMounted(m, "no ocifs is mounted there, or none that answers")
		}
	}
	for _, m := range append(missing, states...) {
		if m.notOurs && len(c.names) == 0 {
			continue
		}
		shown = append(shown, m)
		if !m.Alive {
			silent++
		}
	}
	switch {
	case silent == 0:
		return shown, nil
	case len(shown) == 1:
		return shown, fmt.Errorf("%s: %s", shown[0].Mountpoint, shown[0].why())
	}
	return shown, fmt.Errorf("%s, of %d", plural(silent, "mount doesn't answer", "mounts don't answer"), len(shown))
}

// mounts gives the mounts that are asked, and a state for each name that is none.
func (c *statusCall) mounts(ctx context.Context) (all []mounted, missing []mountState) {
	there := ocifsMounts()
	if len(c.names) == 0 {
		return there, nil
	}
	for _, name := range c.names {
		m, err := findMount(ctx, there, name)
		if err != nil {
			missing = append(missing, notMounted(m, err.Error()))
			continue
		}
		all = append(all, m)
	}
	return all, missing
}

// notMounted is the state of a name that no mount of ocifs has.
func notMounted(m mounted, why string) mountState {
	return silentState(m, "ENOENT", why, "'ocifs status' lists the mounts")
}

// print prints the states.
func (c *statusCall) print(all []mountState, on *screen) error {
	if c.asJSON {
		e := json.NewEncoder(c.out)
		e.SetEscapeHTML(false)
		if !c.watch {
			e.SetIndent("", "  ")
		}
		return e.Encode(struct {
			Mounts []mountState `json:"mounts"`
		}{all})
	}
	var lines []string
	for _, m := range all {
		lines = append(lines, m.lines(on.style)...)
	}
	if len(all) == 0 {
		lines = []string{"no ocifs is mounted"}
	}
	if !c.watch {
		return on.append(lines)
	}
	return on.replace(time.Now(), lines)
}
