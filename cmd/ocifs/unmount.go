package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// goneTimeout is how long the kernel has to take an unmounted mount off its
// list.
const goneTimeout = 5 * time.Second

func unmountCommand() *cobra.Command {
	var lazy bool
	c := &cobra.Command{
		Use:     "unmount MOUNTPOINT",
		Aliases: []string{"umount"},
		Short:   "Unmount; return when the mount is gone",
		Args:    arguments(cobra.ExactArgs(1)),
		RunE:    func(_ *cobra.Command, args []string) error { return unmountAndWait(args[0], lazy) },
	}
	c.Flags().BoolVarP(&lazy, "lazy", "z", false, "take it away even while programs use it; what they have open stays open")
	return c
}

func unmountAndWait(dir string, lazy bool) error {
	path, err := mountpointPath(dir)
	if err != nil {
		return err
	}
	if !isOurs(path) {
		return fmt.Errorf("no ocifs is mounted on %s", path)
	}
	left := unpushed(path)
	if lazy {
		err = detach(path)
	} else {
		err = detachIdle(path)
		for wait := 10 * time.Millisecond; errors.Is(err, syscall.EBUSY) && wait < time.Second; wait *= 2 {
			time.Sleep(wait) // whoever just looked is gone in a moment
			err = detachIdle(path)
		}
	}
	if errors.Is(err, syscall.EBUSY) {
		return fmt.Errorf("%s is in use; leave it (fuser -vm %s tells who is there), or take it away all the same: ocifs unmount --lazy %s", path, path, path)
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
