package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ocifs/ocifs/integration/internal/mount"
)

// daemon is a mounted ocifs.
type daemon struct {
	dir, cache string
	pid        int
	as         []string // what runs a program as someone who may look at the mount
	env        []string
	exe        string // for probes
	stop       func() error
}

// owner is whose daemon it is.
type owner int

const (
	// self is whoever runs the bench: root, where passthrough is to be measured.
	self owner = iota
	// unprivileged is nobody where root runs the bench, and else the same as self.
	unprivileged
)

// mount mounts with a cache, which stays.
func (b *bench) mount(ctx context.Context, u owner, cache string, flags ...string) (*daemon, error) {
	home := filepath.Join(b.dir, "home")
	d := &daemon{dir: filepath.Join(b.dir, "mnt"), cache: filepath.Join(b.dir, cache), env: mount.Env(home, b.tools), exe: b.exe}
	if u == unprivileged && os.Geteuid() == 0 {
		return d, b.mountAsNobody(ctx, d, flags)
	}
	for _, dir := range []string{d.dir, d.cache, home} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	m, err := mount.Start(ctx, mount.Options{Binary: b.ocifs, Dir: d.dir, Cache: d.cache, Home: home, Flags: flags})
	if err != nil {
		return nil, err
	}
	d.pid, d.stop = m.PID(), m.Unmount
	return d, nil
}

// privileged is mount for what only root has.
func (b *bench) privileged(ctx context.Context, cache string) (*daemon, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("passthrough needs root, which doesn't run this bench")
	}
	return b.mount(ctx, self, cache)
}

// at is a path below a registry's directory.
func (d *daemon) at(host string, path ...string) string {
	return filepath.Join(append([]string{d.dir, strings.ReplaceAll(host, ":", "_")}, path...)...)
}

// cached is where the cache keeps a blob.
func (d *daemon) cached(hex string) string {
	return filepath.Join(d.cache, "v1/blobs/sha256", hex[:2], hex)
}

// run runs a script as someone who may look at the mount, and says how long it took.
func (d *daemon) run(ctx context.Context, script string) (time.Duration, error) {
	r, err := d.shell(ctx, script)
	return r.Took, err
}

func (d *daemon) shell(ctx context.Context, script string) (mount.Result, error) {
	if len(d.as) > 0 {
		script = strings.Join(d.as, " ") + " /bin/sh -c " + quote(script)
	}
	return shell(ctx, d.env, script)
}

// probe has a process look at a path: see probe.
func (d *daemon) probe(ctx context.Context, what, path string, numbers ...int) (time.Duration, error) {
	script := quote(d.exe) + " probe " + what + " " + quote(path)
	for _, n := range numbers {
		script += " " + strconv.Itoa(n)
	}
	r, err := d.shell(ctx, script)
	if err != nil {
		return 0, err
	}
	s, err := strconv.ParseFloat(strings.TrimSpace(r.Stdout), 64)
	return seconds(s), err
}

// forgetPeak lets the most that the daemon has had in memory begin anew.
func (d *daemon) forgetPeak() error {
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", d.pid), []byte("5"), 0); err != nil {
		return fmt.Errorf("measuring memory: %w", err)
	}
	return nil
}

func (d *daemon) peak() (int64, error) { return mount.PeakMemory(d.pid) }

// shell runs a script; what doesn't end with 0 is an error.
func shell(ctx context.Context, env []string, script string) (mount.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, scriptLimit)
	defer cancel()
	r, err := mount.Run(ctx, env, script)
	if err == nil && r.Code != 0 {
		err = fmt.Errorf("exit code %d: %s: %s", r.Code, strings.TrimSpace(r.Stderr), script)
	}
	return r, err
}

// scriptLimit is longer than anything takes here that isn't stuck.
const scriptLimit = 5 * time.Minute

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
