package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/fs"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/auth"
)

const (
	// memoryLimit makes the collector give back what a burst of readers took. With
	// the program itself the process stays below 128 MiB.
	memoryLimit = 80 << 20
	// blobMemory is what the cache's index takes for one blob, in bytes: twice what
	// cache.BenchmarkIndexMemory measures, as the collector needs room to work in.
	// freeBlobs is how many memoryLimit has room for.
	blobMemory = 400
	freeBlobs  = 20_000
)

// memoryLimitFor is the limit of a process whose cache has so many blobs. GOMEMLIMIT in the
// environment, which the runtime has read, is the user's choice, and stays: 0.
func memoryLimitFor(gomemlimit string, blobs int) int64 {
	if gomemlimit != "" {
		return 0
	}
	return memoryLimit + int64(max(0, blobs-freeBlobs))*blobMemory
}

// limitMemory sets the limit of this process, whose cache has so many blobs.
func limitMemory(blobs int) {
	if n := memoryLimitFor(os.Getenv("GOMEMLIMIT"), blobs); n > 0 {
		debug.SetMemoryLimit(n)
	}
}

func mountCommand() *cobra.Command {
	s := newSettings()
	c := &cobra.Command{
		Use:   "mount [SOURCE] MOUNTPOINT",
		Short: "Mount a registry; return when the mount answers",
		Long: `Mount OCI registries as a directory tree.

SOURCE picks the root of the tree: nothing (every registry), a host (ghcr.io),
or a repository (ghcr.io/org/app). docker://, oci:// or https:// may stand in
front of it, and of images of Docker Hub docker:// alone. The command returns when the mount answers;
unmount it with 'ocifs unmount MOUNTPOINT'.`,
		Example: "  ocifs mount ~/oci\n  ocifs mount ghcr.io ~/ghcr\n  ocifs mount docker.io/library/alpine /mnt",
		Args:    arguments(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.load(cmd.Flags()); err != nil {
				return err
			}
			call, err := newMountCall(s, args, os.Args[1:])
			if err != nil {
				return err
			}
			err = call.run(cmd.Context())
			if errors.Is(err, errMountInterrupted) && s.foreground {
				return nil // as later: a signal is an ordinary end of a mount in the foreground
			}
			return err
		},
	}
	s.register(c)
	return c
}

// mountCall is a mount that somebody asks for: by ocifs mount, or by a mount helper.
type mountCall struct {
	settings   *settings
	source     string   // SOURCE, to the letter; "": it was left out
	host, path string   // the root of the tree; both "": every registry
	dir        string   // MOUNTPOINT, to the letter
	mountpoint string   // absolute, without symlinks, or /dev/fd/N; run sets it
	args       []string // the command line for the daemon, which is an ocifs mount
}

// newMountCall checks everything but the mountpoint. names are the arguments [SOURCE] MOUNTPOINT.
func newMountCall(s *settings, names, args []string) (*mountCall, error) {
	c := &mountCall{settings: s, dir: names[len(names)-1], args: args}
	if len(names) == 2 {
		c.source = names[0]
		if c.source == "" {
			return nil, usageError{errors.New("SOURCE is empty: write HOST or HOST/REPOSITORY, or leave it out to mount every registry")}
		}
	}
	// Nobody but this process has the descriptor of a device.
	s.foreground = s.foreground || onDevice(c.dir)
	var err error
	if c.host, c.path, err = parseSource(c.source, s.plainHTTP); err != nil {
		return nil, usageError{err}
	}
	return c, s.check()
}

// shownSource is the source that the kernel lists.
func (c *mountCall) shownSource() string {
	if c.source == "" {
		return fs.FSType
	}
	return c.source
}

// run mounts. It returns when the mount answers, or in the foreground when the mount is gone. The
// end of ctx stops it before the mount is made.
func (c *mountCall) run(ctx context.Context) (err error) {
	keepReport()
	c.mountpoint, err = prepareMountpoint(ctx, c.dir, c.settings.cacheDir)
	switch {
	case err == nil && !c.settings.foreground && !isDaemon():
		return daemonize(ctx, c.args, c.mountpoint, c.settings.logFile)
	case err == nil:
		err = c.serve(ctx)
	}
	reportReady(err)
	return err
}

// serve mounts, and serves until the mount is gone, or ctx ends, which unmounts it.
func (c *mountCall) serve(ctx context.Context) error {
	s, source, mountpoint := *c.settings, c.source, c.mountpoint
	log, closeLog, err := openLog(s, mountpoint)
	if err != nil {
		return err
	}
	defer closeLog()
	systemd := takeServiceManager(s.foreground)
	limitMemory(0)
	raiseFileLimit()
	if err := os.Chdir("/"); err != nil { // keep nobody from unmounting where we were started
		return err
	}

	store, err := cache.Open(s.cacheDir, cache.Options{MaxBytes: int64(s.cacheSize), Parts: s.connections, For: mountpoint, Logger: log, Scanned: limitMemory})
	if err != nil {
		return err
	}
	defer closeWithin(log, "the cache", store.Close)
	credentials := auth.Default(log, mountpoint)
	finder := s.finder(log, mountpoint)
	traffic := fs.NewTraffic()
	client := registry.New(registry.Options{
		UserAgent:    "ocifs/" + versionString(),
		Credentials:  credentials,
		PlainHTTP:    s.plainHTTP,
		Config:       finder,
		RetryMaxWait: max(s.retryMaxWait, 1), // zero is the client's own choice
		Downloads:    s.connections,
		Observer:     traffic,
		Logger:       log,
	})
	defer closeWithin(log, "connections to registries", func() error { client.Close(); return nil })
	tree, err := fs.New(fs.Options{
		Host: c.host, Path: c.path,
		Client: client, Store: store, Traffic: traffic, Hosts: func() []string { return append(auth.Hosts(credentials), finder.Hosts()...) },
		TagTTL: s.tagTTL, ListTTL: s.listTTL, LookupBound: s.retryMaxWait + 15*time.Second,
		ReadOnly: s.readOnly, AllowDelete: s.allowDelete, UploadBytes: int64(s.uploadSize), MaxDownload: int64(s.maxDownload),
		VerbatimSymlinks: s.symlinks == symlinksVerbatim, UnpackedBytes: int64(s.unpackedSize),
		Platform: s.platform.Platform,
		Stream:   s.verify == verifyStream, AllowOther: s.allowOther, Xattr: s.xattr, Version: versionString(),
		Source: c.shownSource(), MountOptions: s.fuseOptions,
		Config: s.effective(source, mountpoint, store.Bound()), Logger: log,
	})
	if err != nil {
		return err
	}
	gone := make(chan struct{})
	giveUp := secondSignal(ctx)
	defer func() {
		finish(giveUp, tree, store.Staging(), log)
		select { // who waited for a push is told what came of it
		case <-gone:
		case <-time.After(answerFor):
		}
	}()
	warnOfRequestTimeout(log)
	if onDevice(c.dir) && (s.allowOther || len(s.fuseOptions) > 0) {
		log.Warn("--allow-other and --fuse-option are without effect: who mounts the device says who may look into it, and how")
	}
	warnOfVariables(log, os.Environ())
	if ctx.Err() != nil { // a signal came already
		close(gone)
		return errMountInterrupted
	}
	server, err := tree.Mount(mountpoint, filepath.Join(s.cacheDir, "CACHEDIR.TAG"))
	if err != nil {
		close(gone)
		if onDevice(c.dir) {
			return fmt.Errorf("%w; who opened the device mounts it before ocifs starts: mount(2) with fd=N", err)
		}
		return explainMount(err, s)
	}
	reportReady(nil)
	systemd.ready(source, mountpoint, log)
	go func() {
		server.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		log.Info("unmounted")
		systemd.stopping(log)
	case <-ctx.Done():
		log.Info("unmounting", "cause", context.Cause(ctx))
		systemd.stopping(log)
		if err := leave(server, mountpoint, gone, giveUp); err != nil {
			log.Warn("the mount is left behind", "cause", err)
		}
	}
	return nil
}
