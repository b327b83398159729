package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/spf13/cobra"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/fs"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/auth"
)

const (
	// drainFor is how long programs that still use the mount have to finish
	// after a signal.
	drainFor = 5 * time.Second
	// pushFor is how long pushes that are under way have at the end, and stillFor how
	// long they have while no byte of them moves.
	pushFor  = 5 * time.Minute
	stillFor = 30 * time.Second
	// answerFor is how long those who waited for a push have to hear of it.
	answerFor = time.Second
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

// limitMemory sets it.
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
			source := ""
			if len(args) == 2 {
				if source = args[0]; source == "" {
					return usageError{errors.New("SOURCE is empty: write HOST or HOST/REPOSITORY, or leave it out to mount every registry")}
				}
			}
			host, path, err := parseSource(source, s.plainHTTP)
			if err != nil {
				return usageError{err}
			}
			if err := s.check(); err != nil {
				return err
			}
			mountpoint, err := prepareMountpoint(args[len(args)-1], s.cacheDir)
			switch {
			case err == nil && !s.foreground && !isDaemon():
				return daemonize(mountpoint, *s)
			case err == nil:
				err = serve(*s, source, host, path, mountpoint)
			}
			reportReady(err)
			return err
		},
	}
	s.register(c)
	return c
}

// serve mounts, and serves until the mount is gone.
func serve(s settings, source, host, path, mountpoint string) error {
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
	defer store.Close()
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
	defer client.Close()
	tree, err := fs.New(fs.Options{
		Host: host, Path: path,
		Client: client, Store: store, Traffic: traffic, Hosts: func() []string { return append(auth.Hosts(credentials), finder.Hosts()...) },
		TagTTL: s.tagTTL, ListTTL: s.listTTL, LookupBound: s.retryMaxWait + 15*time.Second,
		ReadOnly: s.readOnly, AllowDelete: s.allowDelete, UploadBytes: int64(s.uploadSize), MaxDownload: int64(s.maxDownload),
		VerbatimSymlinks: s.symlinks == symlinksVerbatim, UnpackedBytes: int64(s.unpackedSize),
		Platform: s.platform.Platform,
		Stream:   s.verify == verifyStream, AllowOther: s.allowOther, Xattr: s.xattr, Version: versionString(),
		Config: s.effective(source, mountpoint, store.Bound()), Logger: log,
	})
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 2)
	gone := make(chan struct{})
	defer func() {
		finish(tree, signals, log)
		select { // who waited for a push is told what came of it
		case <-gone:
		case <-time.After(answerFor):
		}
	}()
	warnOfRequestTimeout(log)
	warnOfVariables(log, os.Environ())
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	server, err := tree.Mount(mountpoint, filepath.Join(s.cacheDir, "CACHEDIR.TAG"))
	if err != nil {
		close(gone)
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
	case sig := <-signals:
		log.Info("unmounting", "signal", sig.String())
		systemd.stopping(log)
		leave(server, mountpoint, gone)
	}
	return nil
}

// leave takes the mount away at once, so that nobody new comes in, and gives
// those who are inside some time to finish.
func leave(server *fuse.Server, mountpoint string, gone <-chan struct{}) {
	if err := detach(mountpoint); err != nil && !errors.Is(err, syscall.EINVAL) {
		_ = server.Unmount() // the other way; there is no third
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainFor)
	defer cancel()
	select {
	case <-gone:
	case <-ctx.Done():
	}
}

// finish waits for what is being pushed: for as long as bytes move, for some minutes
// at most, or until a second signal.
func finish(tree *fs.Tree, signals <-chan os.Signal, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), pushFor)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- tree.Close(ctx) }()
	still := time.NewTicker(stillFor)
	defer still.Stop()
	sent := tree.Uploaded()
	for {
		select {
		case err := <-closed:
			if err != nil {
				log.Warn("the staging area isn't closed", "cause", err)
			}
			return
		case sig := <-signals:
			log.Warn("pushes under way are given up", "signal", sig.String())
			cancel()
		case <-still.C:
			now := tree.Uploaded()
			if now == sent {
				log.Warn("pushes under way are given up, as nothing moves")
				cancel()
			}
			sent = now
		}
	}
}

// explainMount adds what to do to the error of a mount that failed.
func explainMount(err error, s settings) error {
	text := err.Error()
	switch {
	case errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENODEV) || strings.Contains(text, "/dev/fuse"):
		return fmt.Errorf("%w; this machine has no usable /dev/fuse: load the fuse module, or give the container the device", err)
	case strings.Contains(text, "fusermount"):
		hint := "install the package fuse3"
		if s.allowOther {
			hint += ", and for --allow-other put user_allow_other into /etc/fuse.conf"
		}
		return fmt.Errorf("%w; %s", err, hint)
	case errors.Is(err, syscall.EPERM):
		return fmt.Errorf("%w; mounting isn't permitted here: a container needs CAP_SYS_ADMIN and /dev/fuse", err)
	}
	return err
}
