package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// goneTimeout is how long the kernel has to take an unmounted mount off its
// list.
const goneTimeout = 5 * time.Second

func unmountCommand() *cobra.Command {
	var lazy, all bool
	c := &cobra.Command{
		Use:     "unmount MOUNTPOINT…",
		Aliases: []string{"umount"},
		Short:   "Unmount; return when the mounts are gone",
		Long: `Unmount, and return when the mounts are gone. One that can't be unmounted is named,
and keeps no other from it; the exit code is 1 then.`,
		Example: "  ocifs unmount ~/oci\n  ocifs unmount --all",
		Args: func(cmd *cobra.Command, args []string) error {
			if all && len(args) > 0 {
				return usageError{fmt.Errorf("--all and %s: which of the two is meant?", args[0])}
			}
			if all {
				return nil
			}
			return arguments(cobra.MinimumNArgs(1))(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if all {
				args = ownMounts()
			}
			return unmountAll(cmd.Context(), cmd.ErrOrStderr(), args, lazy)
		},
	}
	c.Flags().BoolVarP(&lazy, "lazy", "z", false, "take it away even while programs use it; what they have open stays open")
	c.Flags().BoolVarP(&all, "all", "a", false, "unmount all ocifs mounts of this user")
	return c
}

// ownMounts lists the mountpoints of this user's mounts, those inside others first.
func ownMounts() (own []string) {
	for _, m := range ocifsMounts() {
		if m.owner == os.Geteuid() {
			own = append(own, m.mountpoint)
		}
	}
	slices.SortStableFunc(own, func(a, b string) int { return strings.Count(b, "/") - strings.Count(a, "/") })
	return own
}

// unmountAll unmounts one after the other. The error of a single one is the command's; of several, each
// is told. The end of ctx leaves those that aren't unmounted yet.
func unmountAll(ctx context.Context, w io.Writer, dirs []string, lazy bool) error {
	if len(dirs) == 1 {
		return unmountAndWait(ctx, dirs[0], lazy)
	}
	failed := 0
	for _, dir := range dirs {
		err := unmountAndWait(ctx, dir, lazy)
		if errors.As(err, new(interruptedError)) {
			return err
		}
		if err != nil {
			failed++
			fmt.Fprintln(w, "ocifs:", err)
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d can't be unmounted", failed, len(dirs))
	}
	return nil
}

func unmountAndWait(ctx context.Context, dir string, lazy bool) error {
	if ctx.Err() != nil {
		return interruptedError{"unmount"}
	}
	path, err := mountpointPath(dir)
	if err != nil {
		return err
	}
	if !isOurs(path) {
		return fmt.Errorf("no ocifs is mounted on %s", path)
	}
	left := unpushed(ctx, mounted{mountpoint: path})
	if ctx.Err() != nil {
		return interruptedError{"unmount"}
	}
	if lazy {
		err = detach(path)
	} else {
		err = detachIdle(path)
		for wait := 10 * time.Millisecond; errors.Is(err, syscall.EBUSY) && wait < time.Second && ctx.Err() == nil; wait *= 2 {
			time.Sleep(wait) // whoever just looked is gone in a moment
			err = detachIdle(path)
		}
	}
	if errors.Is(err, syscall.EBUSY) {
		return fmt.Errorf("%s is in use; leave it (fuser -vm %s tells who is there), or take it away all the same: ocifs unmount --lazy %s", path, shellWord(path), shellWord(path))
	}
	if err != nil {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	tellUnpushed(os.Stderr, left)
	for deadline := time.Now().Add(goneTimeout); isOurs(path); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is still mounted; was it mounted more than once? Unmount it again", path)
		}
	}
	return nil
}
