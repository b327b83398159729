package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ocifs/ocifs/cache"
)

func cacheLimitCommand() *cobra.Command {
	call := &cacheCall{settings: newSettings()}
	var limit size
	c := call.command(&cobra.Command{
		Use:   "limit [SIZE]",
		Short: "Tell how much is kept at most, or change it",
		Long: `Tell how much of the disk the cache takes at most, or change it: 500MB, 10GiB.

The bound is the directory's, and kept there. 'ocifs mount --cache-size' changes it
where no other mount uses the cache; this changes it for all that do, within some
seconds. What wasn't used for longest goes then. Where no mount uses the cache, the
next one makes it smaller; 'ocifs cache prune --to' does so at once.`,
		Example: "  ocifs cache limit\n  ocifs cache limit 48GiB",
	}, func(context.Context) error {
		if call.dir == nil {
			return call.none()
		}
		if limit > 0 {
			if err := call.dir.SetBound(int64(limit)); err != nil {
				return err
			}
		}
		bound, err := call.dir.Bound()
		if err != nil {
			return err
		}
		if call.asJSON {
			return call.print(struct {
				Dir    string       `json:"dir"`
				Exists bool         `json:"exists"`
				Bound  int64        `json:"bound_bytes"`
				Users  []cache.User `json:"users"`
			}{call.cacheDir, true, bound, call.dir.Users()})
		}
		_, err = fmt.Fprintf(call.out(), "%s keeps at most %s\n", call.cacheDir, bytesText(bound))
		return err
	})
	run := c.RunE
	c.Args = arguments(cobra.MaximumNArgs(1))
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			if err := limit.Set(args[0]); err != nil {
				return usageError{fmt.Errorf("SIZE: %w", err)}
			}
		}
		return run(cmd, nil)
	}
	return c
}
