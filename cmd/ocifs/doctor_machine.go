package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/ocifs/ocifs/cache"
)

const (
	// littleSpace is what a cache should find free at the least, in bytes, and fewFiles
	// how many files a mount should be able to hold open.
	littleSpace = 1 << 30
	fewFiles    = 4096
)

// examineMachine finds out whether this machine can mount.
func (d *diagnosis) examineMachine(ctx context.Context, cacheDir string) {
	d.do(ctx, "system", func(context.Context) check {
		as := "an ordinary user"
		if os.Geteuid() == 0 {
			as = "root"
		}
		return fine("ocifs %s on %s (%s), run by %s", versionString(), kernel(), runtime.GOARCH, as)
	})
	d.examineFUSE(ctx)
	known := d.wrongs() > 0
	stats, mounts := find(ctx, d, "mount", trialFor, func(ctx context.Context) (mountStats, check) {
		stats, err := tryMount(ctx, filepath.Join(cacheDir, "CACHEDIR.TAG"))
		if err != nil {
			return stats, explainTrial(err, known)
		}
		return stats, fine("a mount was made, read by another program, and taken away")
	})
	if mounts.State == isOK {
		d.do(ctx, "passthrough", func(context.Context) check { return passthrough(stats.Passthrough) })
	}
	d.do(ctx, "files", func(context.Context) check { return openFiles() })
	d.do(ctx, "cache", func(context.Context) check { return checkCache(cacheDir) })
	for _, m := range ocifsMounts() {
		path := m.mountpoint
		d.do(ctx, "leftover", func(ctx context.Context) check { return leftover(ctx, path) })
	}
}

// explainTrial tells of a trial mount that failed. known says that something which it
// needs is known to be missing.
func explainTrial(err error, known bool) check {
	if errors.Is(err, context.DeadlineExceeded) {
		return wrong("run it again with the machine less busy; else look for the cause in the kernel's log (dmesg)", "the mount doesn't answer within %s", trialFor)
	}
	text, next, _ := strings.Cut(explainMount(err, settings{}).Error(), "; ")
	if known {
		next = "mend what is wrong above"
	}
	return wrong(next, "no mount can be made: %s", text)
}

// openFiles looks at how many files may be open at once. A mount raises the limit as
// far as it may.
func openFiles() check {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return unknown("", "how many files may be open: %v", err)
	}
	most := uint64(l.Max)
	if most < fewFiles {
		return warning("raise it: ulimit -Hn 65536 as root, or LimitNOFILE= of the service", "a mount may hold %d files open, which many readers use up", most)
	}
	if most > 1<<40 {
		return fine("a mount may hold any number of files open")
	}
	return fine("a mount may hold %d files open", most)
}

// checkCache looks at where blobs are going to be kept, and changes nothing there.
func checkCache(dir string) check {
	if dir == "" {
		return wrong("set $HOME, or give --cache-dir", "there is no place for the cache")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return wrong("give --cache-dir", "there is no place for the cache: %v", err)
	}
	free, err := cache.Usable(dir)
	switch {
	case errors.Is(err, os.ErrPermission):
		return wrong("make it writable for you, or choose another with --cache-dir", "%v", err)
	case err != nil:
		return wrong("choose another with --cache-dir", "%v", err)
	case free < littleSpace:
		return warning("make room, or choose another disk with --cache-dir", "%s can be written and locked, with %s free, which is little", dir, bytesText(free))
	}
	return fine("%s can be written and locked, with %s free", dir, bytesText(free))
}

// leftover looks at a mount of ocifs that is there.
func leftover(ctx context.Context, path string) check {
	switch err := alive(ctx, path); {
	case isDead(err):
		return warning("take it away: ocifs unmount "+shellWord(path), "%s is the mount of an ocifs that died", path)
	case errors.Is(err, errSilent):
		return warning("if that goes on, take it away: ocifs unmount --lazy "+shellWord(path), "the mount on %s doesn't answer", path)
	}
	return check{} // it is alive, or another user's
}
