package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/ocifs/ocifs/fs/upload"
)

const (
	// drainFor is how long programs that still use the mount have to finish
	// after a signal.
	drainFor = 5 * time.Second
	// pushFor is how long pushes that are under way have at the end, and stillFor how
	// long they have while no byte of them moves.
	pushFor  = 5 * time.Minute
	stillFor = 30 * time.Second
	// closeFor is how long the disk and the registries have after that. A push that is given up
	// ends at once, and the rest is some writes to the disk.
	closeFor = 10 * time.Second
	// answerFor is how long those who waited for a push have to hear of it.
	answerFor = time.Second
)

// leave takes the mount away at once, so that nobody new comes in, and gives those who are inside some
// time to finish, unless giveUp is closed. Only who mounted a device knows where the mount is, and takes
// it away. The error is of a mount that can't be taken away: it is dead when this process has ended.
func leave(server *fuse.Server, mountpoint string, gone, giveUp <-chan struct{}) (err error) {
	if !onDevice(mountpoint) {
		err = detach(mountpoint)
		if errors.Is(err, syscall.EINVAL) {
			err = nil // it is gone
		}
		if err != nil && !errors.Is(err, errSilent) { // the other way; there is no third
			_, err = answerWithin(context.Background(), fusermountFor, func() (struct{}, error) { return struct{}{}, server.Unmount() })
		}
	}
	if err != nil {
		err = fmt.Errorf("%s can't be unmounted: %w; when this process has ended: ocifs unmount %s", mountpoint, err, shellWord(mountpoint))
	}
	late := time.NewTimer(drainFor)
	defer late.Stop()
	select {
	case <-gone:
	case <-giveUp:
	case <-late.C:
	}
	return err
}

// tree is what finish closes: an *fs.Tree.
type tree interface {
	// Close waits for pushes that are under way until ctx ends, and then cancels them.
	Close(ctx context.Context) error
	// Uploaded gives how many bytes of the present pushes were sent.
	Uploaded() int64
	// Unpushed lists the pushes that are under way, wait or failed. It touches no disk.
	Unpushed() []upload.Record
}

// finish waits for what is being pushed: for as long as bytes move, for some minutes at most, or until
// giveUp is closed. Then it gives the pushes up. What isn't pushed stays in staging. It doesn't wait for
// a disk or a registry that lets nothing end.
func finish(giveUp <-chan struct{}, t tree, staging string, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), pushFor)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- t.Close(ctx) }()
	still := time.NewTicker(stillFor)
	defer still.Stop()
	givenUp := ctx.Done()
	var late <-chan time.Time // nil: the pushes aren't given up
	for sent := t.Uploaded(); ; {
		select {
		case err := <-closed:
			if err != nil {
				log.Warn("the staging area isn't closed", "cause", err)
			}
			return
		case <-giveUp:
			giveUp = nil
			log.Warn("a second signal: pushes under way are given up; what isn't pushed is kept, and the next mount's .ocifs/uploads.json names it", "kept", staging)
			cancel()
		case <-givenUp:
			givenUp = nil
			late = time.After(closeFor)
		case <-late:
			log.Warn("the end isn't waited for any longer: the disk of the cache or a registry lets nothing end; what isn't pushed is kept", "kept", staging)
			for _, r := range t.Unpushed() {
				log.Warn("not pushed before the mount ended", "repository", r.Repository, "target", r.Target, "state", r.State, "cause", r.Error)
			}
			return
		case <-still.C:
			now := t.Uploaded()
			if now == sent && givenUp != nil {
				log.Warn("pushes under way are given up, as nothing moves", "kept", staging)
				cancel()
			}
			sent = now
		}
	}
}

// closeWithin closes one thing, and doesn't wait for a disk or a registry that lets nothing end. The end
// of the process closes it then; a cache that isn't closed is hashed again by the next mount.
func closeWithin(log *slog.Logger, what string, close func() error) {
	_, err := answerWithin(context.Background(), closeFor, func() (struct{}, error) { return struct{}{}, close() })
	if err != nil {
		log.Warn(what+" isn't closed", "cause", err)
	}
}
