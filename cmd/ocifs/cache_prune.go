package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/fs/upload"
)

func cachePruneCommand() *cobra.Command {
	call := &cacheCall{settings: newSettings()}
	var to size
	var olderThan time.Duration
	var dryRun bool
	c := call.command(&cobra.Command{
		Use:   "prune",
		Short: "Remove what nobody needs, and what wasn't used for long",
		Long: `Remove what nobody needs: what downloads left that nobody continues, temporary files
that a crash left, damaged blobs that were set aside, what mounts that ended had in
upload/ and pushed, and what tags pointed at whose images are gone.

Blobs go only with --to or --older-than, the ones first that weren't used for
longest. With both, what either says goes. A blob that is open counts as used when
it was opened; who has it open reads on. Indexes, which tell what is in a layer, stay.`,
		Example: "  ocifs cache prune\n  ocifs cache prune --to 2GiB\n  ocifs cache prune --older-than 168h --dry-run",
	}, func(ctx context.Context) error {
		if call.cmd.Flags().Changed("older-than") && olderThan <= 0 {
			return usageError{errors.New("--older-than: write a time as 90m or 168h; 'ocifs cache clear' removes all")}
		}
		if call.dir == nil {
			return call.none()
		}
		o := cache.PruneOptions{To: int64(to), OlderThan: olderThan, DryRun: true}
		would, err := call.dir.Prune(ctx, o)
		if err != nil {
			return err
		}
		c := cleaning{removed: would, dryRun: dryRun}
		if !dryRun {
			o.DryRun = false
			p := call.progress("removed")
			o.Progress = func(r cache.Removed) { p.set(r.Total().Bytes, would.Total().Bytes) }
			c.removed, c.err = call.dir.Prune(ctx, o)
			p.end()
		}
		return call.cleaned(ctx, c, false)
	})
	c.Flags().Var(&to, "to", "remove blobs until no more than this is left of them: 500MB, 10GiB")
	c.Flags().DurationVar(&olderThan, "older-than", 0, "remove blobs that weren't used for this long: 90m, 168h")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "tell what would be removed, and remove nothing")
	return c
}

func cacheClearCommand() *cobra.Command {
	call := &cacheCall{settings: newSettings()}
	var unpushed bool
	c := call.command(&cobra.Command{
		Use:   "clear",
		Short: "Remove all that can be downloaded again",
		Long: `Remove all that can be downloaded again, without asking. Mounts may use the cache
meanwhile: their readers read on, and downloads under way go on.

What is in upload/ of a mount stays. So does what a mount that ended had there and
didn't push, as nobody else has it: it is named, and removed only with --unpushed.`,
	}, func(ctx context.Context) error {
		if call.dir == nil {
			return call.none()
		}
		before, err := call.dir.Survey(ctx)
		if err != nil {
			return err
		}
		total := before.Blobs.Bytes + before.Pointers.Bytes + before.Indexes.Bytes + before.Left.Bytes + before.Quarantined.Bytes
		p := call.progress("removed")
		var c cleaning
		c.removed, c.err = call.dir.Clear(ctx, func(r cache.Removed) { p.set(r.Total().Bytes, total) })
		p.end()
		c.users = before.Users
		return call.cleaned(ctx, c, unpushed)
	})
	c.Flags().BoolVar(&unpushed, "unpushed", false, "remove also what mounts that ended didn't push; it can't be had again")
	return c
}

// cleaning is what prune or clear did.
type cleaning struct {
	removed cache.Removed
	dryRun  bool
	users   []cache.User // who may have some of it open
	err     error        // that it met
}

// cleaned cleans what is staged as well, tells of all that went, and gives the error that
// was met.
func (call *cacheCall) cleaned(ctx context.Context, c cleaning, unpushed bool) error {
	gone, kept := []upload.Stage{}, []upload.Stage{}
	if ctx.Err() == nil {
		var err error
		gone, kept, err = upload.Clean(call.dir.Staging(), unpushed, c.dryRun)
		c.err = errors.Join(c.err, err)
	}
	var staged cache.Held
	for _, s := range gone {
		staged.Files += s.Files
		staged.Bytes += s.Bytes
	}
	total := c.removed.Total()
	total.Files += staged.Files
	total.Bytes += staged.Bytes
	if call.asJSON {
		err := call.print(struct {
			Dir     string         `json:"dir"`
			Exists  bool           `json:"exists"`
			DryRun  bool           `json:"dry_run"`
			Removed cache.Removed  `json:"removed"`
			Staged  []upload.Stage `json:"staged_removed"`
			Kept    []upload.Stage `json:"staged_kept"`
			Total   cache.Held     `json:"total"`
		}{call.cacheDir, true, c.dryRun, c.removed, gone, kept, total})
		return errors.Join(c.err, err)
	}
	line := func(what string, h cache.Held) {
		if h.Files > 0 {
			fmt.Fprintf(call.out(), "  %-12s %8d %12s\n", what, h.Files, bytesText(h.Bytes))
		}
	}
	verb := "removed"
	if c.dryRun {
		verb = "would remove"
	}
	fmt.Fprintf(call.out(), "%s %s from %s\n", verb, heldText(total, "file", "files"), call.cacheDir)
	line("blobs", c.removed.Blobs)
	line("left", c.removed.Left)
	line("temporary", c.removed.Temporary)
	line("pointers", c.removed.Pointers)
	line("indexes", c.removed.Indexes)
	line("quarantined", c.removed.Quarantined)
	line("upload", staged)
	if len(c.users) > 0 && c.removed.Blobs.Files > 0 {
		fmt.Fprintf(call.out(), "  %s the cache; what is open there takes its space until it is closed\n", plural(len(c.users), "mount uses", "mounts use"))
	}
	call.showUnpushed(kept)
	return c.err
}
