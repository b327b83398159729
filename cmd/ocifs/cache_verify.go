package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ocifs/ocifs/cache"
)

func cacheVerifyCommand() *cobra.Command {
	call := &cacheCall{settings: newSettings()}
	return call.command(&cobra.Command{
		Use:   "verify",
		Short: "Hash all that is kept, and set aside what is damaged",
		Long: `Hash every blob, with all CPUs, and set aside what doesn't have its digest. What is
set aside is downloaded again when it is needed; programs that have it open read on
in the old file until they close it. Indexes, which tell what is in a layer, have
checksums; one that is damaged is removed, and made again when it is needed. The exit
code is 1 where something was damaged.

Blobs that vanish meanwhile are no error. It can be interrupted at any time.`,
	}, func(ctx context.Context) error {
		if call.dir == nil {
			return call.none()
		}
		p := call.progress("hashed")
		o := cache.VerifyOptions{Progress: p.set}
		if !call.asJSON {
			o.Damaged = func(d cache.Damage) { p.line(call.out(), damageText(d)) }
		}
		found, err := call.dir.Verify(ctx, o)
		p.end()
		damaged := len(found.Damaged)
		if call.asJSON {
			perr := call.print(struct {
				Dir    string `json:"dir"`
				Exists bool   `json:"exists"`
				cache.Verified
				OK bool `json:"ok"`
			}{call.cacheDir, true, found, err == nil && damaged == 0})
			if perr != nil {
				return perr
			}
		} else if ctx.Err() == nil {
			indexes := ""
			if found.Indexes.Files > 0 {
				indexes = " and " + heldText(found.Indexes, "index", "indexes")
			}
			fmt.Fprintf(call.out(), "%s%s sound, %d damaged\n", heldText(found.Sound, "blob", "blobs"), indexes, damaged)
		}
		switch {
		case err != nil:
			return err
		case damaged > 0:
			return fmt.Errorf("%s damaged; what is needed of that is downloaded again", plural(damaged, "file was", "files were"))
		}
		return nil
	})
}

func damageText(d cache.Damage) string {
	what, where := "", "and was removed"
	if d.Index {
		what = "the index of "
	}
	if d.Aside != "" {
		where = "set aside as " + d.Aside
	}
	return fmt.Sprintf("damaged: %s%s: %s; %s", what, d.Digest, d.Why, where)
}

// heldText is a number of files and their bytes.
func heldText(h cache.Held, one, many string) string {
	return fmt.Sprintf("%s (%s)", plural(h.Files, one, many), bytesText(h.Bytes))
}
