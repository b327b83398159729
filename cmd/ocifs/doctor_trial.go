package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/fs"
	"github.com/ocifs/ocifs/registry"
)

// mountStats are the lines of .ocifs/stats.json that doctor looks at.
type mountStats struct {
	Passthrough bool `json:"passthrough"`
}

// tryMount mounts a tree of no registry on a temporary directory, with a temporary
// cache, has another process read it, and takes all of it away again. A process that
// serves a mount mustn't read it itself: it would wait for its own answer.
//
// passthroughFile is a file of the cache that is going to be used; where it isn't
// there, one of the temporary cache stands for it.
func tryMount(ctx context.Context, passthroughFile string) (stats mountStats, err error) {
	dir, err := os.MkdirTemp("", "ocifs-doctor-")
	if err != nil {
		return stats, err
	}
	mountpoint, cacheDir := filepath.Join(dir, "mnt"), filepath.Join(dir, "cache")
	defer func() {
		// Never below the mountpoint: if the mount is still there, it is a stranger's tree.
		os.Remove(mountpoint)
		os.RemoveAll(cacheDir)
		os.Remove(dir)
	}()
	if err := os.Mkdir(mountpoint, 0o700); err != nil {
		return stats, err
	}
	store, err := cache.Open(cacheDir, cache.Options{})
	if err != nil {
		return stats, err
	}
	defer store.Close()
	client := registry.New(registry.Options{})
	defer client.Close()
	tree, err := fs.New(fs.Options{Client: client, Store: store, ReadOnly: true, Version: versionString()})
	if err != nil {
		return stats, err
	}
	defer tree.Close(context.WithoutCancel(ctx))
	if _, err := os.Stat(passthroughFile); err != nil {
		passthroughFile = filepath.Join(cacheDir, "CACHEDIR.TAG")
	}
	server, err := tree.Mount(mountpoint, passthroughFile)
	if err != nil {
		if bare := errors.Unwrap(err); bare != nil {
			err = bare // the mountpoint's name says nothing
		}
		return stats, err
	}
	gone := make(chan struct{})
	go func() {
		server.Wait()
		close(gone)
	}()
	defer leave(server, mountpoint, gone, ctx.Done())

	told := filepath.Join(mountpoint, ".ocifs")
	out, err := showElsewhere(ctx, filepath.Join(told, "version"), filepath.Join(told, "stats.json"))
	if err != nil {
		return stats, err
	}
	version, statsText, _ := bytes.Cut(out, []byte("\n"))
	if want := "ocifs " + versionString(); string(version) != want {
		return stats, fmt.Errorf("the mount reads %q, where %q was written", version, want)
	}
	return stats, json.Unmarshal(statsText, &stats)
}

// showElsewhere has another process read files, one after the other.
func showElsewhere(ctx context.Context, paths ...string) ([]byte, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, self, append([]string{showName}, paths...)...)
	cmd.Stderr = &stderr
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fmt.Errorf("reading the mount: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}

// showName is the command that doctor runs to have a mount read by another process.
const showName = "show-files"

func showCommand() *cobra.Command {
	return &cobra.Command{
		Use:    showName + " FILE…",
		Short:  "Print files; doctor reads its trial mount by it",
		Hidden: true,
		Args:   arguments(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, path := range args {
				b, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				if _, err := cmd.OutOrStdout().Write(b); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
