package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	theFile     = "the cache file"
	randomReads = 100_000
	manyStats   = 4_000 // in each of several batches
)

// cachedRead is the sequential read of a cached blob: the first one of a mount, and the
// second, which the kernel may answer from its page cache.
func (b *bench) cachedRead(ctx context.Context, u owner) (*row, error) {
	f, err := b.cachedBlob(ctx, u)
	if err != nil {
		return nil, err
	}
	r := f.row(rate(b.size))
	r.what = "a cached blob of " + mebibytes(b.size) + " is read in order"
	read := func(ctx context.Context, path string) (time.Duration, error) {
		return f.daemon.probe(ctx, "read", path)
	}
	first := f.way("first read", func(ctx context.Context, d *daemon) (time.Duration, error) { return read(ctx, f.path) })
	first.before = func(ctx context.Context, _ int) error { return f.known(ctx) }
	second := f.way("second read", func(ctx context.Context, d *daemon) (time.Duration, error) { return read(ctx, f.path) })
	second.before = func(ctx context.Context, _ int) error {
		if err := f.known(ctx); err != nil {
			return err
		}
		_, err := read(ctx, f.path)
		return err
	}
	file := f.way(theFile, func(ctx context.Context, d *daemon) (time.Duration, error) { return read(ctx, f.file) })
	file.ours, file.memory = false, nil
	r.ways = []*way{file, first, second}
	wants := map[owner][2]float64{self: {0.95, 0.95}, unprivileged: {0.4, 0.9}}[u]
	r.goals = []goal{
		{"first", first.name, []string{theFile}, fast, wants[0]},
		{"second", second.name, []string{theFile}, fast, wants[1]},
	}
	return r, nil
}

// cachedRandom is 4 KiB reads all over a cached blob that was read before.
func (b *bench) cachedRandom(ctx context.Context, u owner) (*row, error) {
	f, err := b.cachedBlob(ctx, u)
	if err != nil {
		return nil, err
	}
	r := f.row(reads(randomReads))
	r.what = "random 4 KiB reads of a cached blob of " + mebibytes(b.size) + " that was read before"
	for _, threads := range []struct {
		n    int
		name string
	}{{1, "1 thread"}, {8, "8 threads"}} {
		probe := func(path string) func(context.Context, *daemon) (time.Duration, error) {
			return func(ctx context.Context, d *daemon) (time.Duration, error) {
				return d.probe(ctx, "random", path, randomReads, threads.n)
			}
		}
		file := f.way(theFile+", "+threads.name, probe(f.file))
		file.ours, file.memory = false, nil
		ours := f.way("ocifs, "+threads.name, probe(f.path))
		r.ways = append(r.ways, file, ours)
		r.goals = append(r.goals, goal{threads.name, ours.name, []string{file.name}, fast, 0.6})
	}
	_, err = f.daemon.probe(ctx, "read", f.path)
	return r, f.failed(err)
}

// cachedEntries is stat and open of a path that the kernel knows.
func (b *bench) cachedEntries(ctx context.Context) (*row, error) {
	u := self
	if os.Geteuid() != 0 {
		u = unprivileged
	}
	f, err := b.cachedBlob(ctx, u)
	if err != nil {
		return nil, err
	}
	r := f.row(times)
	r.what = "stat, and open and close, of a cached blob, and of a file that is as many directories deep: on the disk, and for open through the loopback file system of go-fuse"
	deep := filepath.Join(b.dir, "disk", strings.TrimPrefix(f.path, f.daemon.dir))
	err = errors.Join(os.MkdirAll(filepath.Dir(deep), 0o755), os.WriteFile(deep, []byte("x"), 0o644))
	if err != nil {
		return nil, f.failed(err)
	}
	loop, err := startLoopback(ctx, b.exe, filepath.Join(b.dir, "disk"), filepath.Join(b.dir, "loop"))
	if err != nil {
		return nil, f.failed(err)
	}
	r.done = func() error { return errors.Join(loop.Close(), f.close()) }
	probe := func(what, path string) func(context.Context, *daemon) (time.Duration, error) {
		return func(ctx context.Context, d *daemon) (time.Duration, error) {
			return d.probe(ctx, what, path, manyStats)
		}
	}
	peer := func(name, what, path string) *way {
		w := f.way(name, probe(what, path))
		w.ours, w.memory = false, nil
		return w
	}
	stat, open := f.way("stat through ocifs", probe("stat", f.path)), f.way("open through ocifs", probe("open", f.path))
	statFile, openFile := peer("stat of a file", "stat", deep), peer("open of a file", "open", deep)
	openLoop := peer("open through go-fuse's loopback", "open", filepath.Join(loop.dir, strings.TrimPrefix(f.path, f.daemon.dir)))
	r.ways = []*way{statFile, stat, openFile, openLoop, open}
	r.goals = []goal{
		{"stat", stat.name, []string{statFile.name}, extra, 3e-6},
		{"open", open.name, []string{openLoop.name}, slow, 1.3},
	}
	return r, nil
}

// fixture is a mount that has a blob in its cache.
type fixture struct {
	b      *bench
	owner  owner
	cache  string
	daemon *daemon // nil between mounts
	path   string  // of the blob, in the mount
	file   string  // of the blob, in the cache
}

func (b *bench) cachedBlob(ctx context.Context, u owner) (*fixture, error) {
	i, err := b.image(ctx, "bench/blob", 1, b.size)
	if err != nil {
		return nil, err
	}
	f := &fixture{b: b, owner: u, cache: "cached"}
	if u == unprivileged {
		f.cache = "cached-unprivileged"
	}
	if err := f.remount(ctx); err != nil {
		return nil, err
	}
	hex := i.layers[0].Digest.Encoded()
	f.path, f.file = f.daemon.at(b.server.Registry, i.repo, "blobs/sha256", hex), f.daemon.cached(hex)
	// The blob has its place in the cache a while after it was read: when it is on the disk.
	script := "cat %s >/dev/null && for i in $(seq 600); do [ -e %s ] && break; sleep 0.1; done && cat %[2]s >/dev/null"
	if _, err = f.daemon.run(ctx, fmt.Sprintf(script, quote(f.path), quote(f.file))); err != nil {
		return nil, f.failed(err)
	}
	return f, nil
}

// remount mounts anew with the same cache, as the kernel knows nothing of a new mount.
func (f *fixture) remount(ctx context.Context) (err error) {
	if f.daemon != nil {
		err = f.daemon.stop()
		f.daemon = nil
	}
	if err != nil {
		return err
	}
	var d *daemon
	if f.owner == self {
		d, err = f.b.privileged(ctx, f.cache)
	} else {
		d, err = f.b.mount(ctx, f.owner, f.cache)
	}
	if err == nil {
		f.daemon = d
	}
	return err
}

// known mounts anew, and asks for the blob's attributes: that the repository has it is
// no part of reading it.
func (f *fixture) known(ctx context.Context) error {
	if err := f.remount(ctx); err != nil {
		return err
	}
	_, err := f.daemon.run(ctx, "stat "+quote(f.path)+" >/dev/null")
	return err
}

// row is one of this fixture's, which ends with it.
func (f *fixture) row(u unit) *row {
	return &row{unit: u, rounds: f.b.rounds, done: f.close}
}

func (f *fixture) close() error {
	if f.daemon == nil {
		return nil
	}
	d := f.daemon
	f.daemon = nil
	return d.stop()
}

// failed ends the fixture where err says that it is of no use.
func (f *fixture) failed(err error) error {
	if err == nil {
		return nil
	}
	return errors.Join(err, f.close())
}

func (f *fixture) way(name string, run func(context.Context, *daemon) (time.Duration, error)) *way {
	return &way{
		name: name, ours: true,
		run:    func(ctx context.Context, _ int) (time.Duration, error) { return run(ctx, f.daemon) },
		memory: func() (int64, error) { return f.daemon.peak() },
	}
}
