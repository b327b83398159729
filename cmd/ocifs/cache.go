package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/ocifs/ocifs/cache"
)

func cacheCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "cache",
		Short: "Look at the cache, verify it, make it smaller, bound it",
		Long: `Look at the directory where blobs and manifests are kept, verify it, and make it
smaller, or bound it. All of this can be done while mounts use it: programs that read go on
reading, and what is needed again is downloaded again.`,
		Args: cobra.ArbitraryArgs,
		RunE: needsCommand,
	}
	c.AddCommand(cacheStatsCommand(), cacheVerifyCommand(), cachePruneCommand(), cacheClearCommand(), cacheLimitCommand())
	return c
}

// cacheCall is a call of one of the commands.
type cacheCall struct {
	*settings
	asJSON bool
	cmd    *cobra.Command
	dir    *cache.Directory // nil where there is none
}

// command makes c one that is called without arguments, with the flags that all have.
// The end of the command's context interrupts what it does.
func (call *cacheCall) command(c *cobra.Command, run func(context.Context) error) *cobra.Command {
	c.Args = arguments(noArguments)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		call.cmd = cmd
		if err := call.open(); err != nil {
			return err
		}
		err := run(cmd.Context())
		if cmd.Context().Err() != nil {
			return interruptedError{"cache " + cmd.Name()}
		}
		return err
	}
	call.register(c, "cache-dir")
	c.Flags().BoolVar(&call.asJSON, "json", false, "print one JSON object")
	return c
}

// open finds the directory, and makes nothing.
func (call *cacheCall) open() error {
	err := call.load(call.cmd.Flags())
	if err != nil {
		return err
	}
	if err := call.checkCacheDir(); err != nil {
		return err
	}
	call.dir, err = cache.At(call.cacheDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (call *cacheCall) out() io.Writer { return call.cmd.OutOrStdout() }

// none says that there is no cache.
func (call *cacheCall) none() error {
	if call.asJSON {
		return call.print(map[string]any{"dir": call.cacheDir, "exists": false})
	}
	_, err := fmt.Fprintf(call.out(), "there is no cache in %s\n", call.cacheDir)
	return err
}

// print prints v as JSON.
func (call *cacheCall) print(v any) error {
	e := json.NewEncoder(call.out())
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// progress begins to show how far it is, where people look.
func (call *cacheCall) progress(what string) *progress {
	return newProgress(call.cmd.ErrOrStderr(), what)
}
