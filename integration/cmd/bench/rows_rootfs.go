package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/integration/internal/content"
)

const (
	// treeFileSize is near to the mean of a Debian system's files.
	treeFileSize = 32 << 10
	// walkFiles are walked over where a blob is 1 GiB, each of walkFileSize bytes.
	walkFiles    = 20_000
	walkFileSize = 4 << 10
	// listingEntries are in one layer, and in each of entryLayers, where a blob is 1 GiB.
	listingEntries = 100_000
	entryLayers    = 8
	// entrySize is little, so that the index is measured against an archive that has hardly
	// more than headers.
	entrySize = 512
	// indexLimit is how large an index may be, as a part of the unpacked layer.
	indexLimit = 0.03
)

// scaled gives a number that is n where a blob is 1 GiB.
func (b *bench) scaled(n int64) int { return int(max(n*b.size>>30, 500)) }

// system is an image of a base of half a blob's size, unpacked, and a small layer above.
func (b *bench) system(ctx context.Context) (image, error) {
	return b.tree(ctx, "bench/system",
		archive{ocispec.MediaTypeImageLayerGzip, content.TextFiles("usr/lib", int(b.size/2/treeFileSize), treeFileSize)},
		archive{ocispec.MediaTypeImageLayerGzip, content.TextFiles("srv/app", int(b.size/16/treeFileSize), treeFileSize)})
}

// baseName and topName are files in system's layers.
const (
	baseName = "usr/lib/part-00/module-000/source-000007.txt"
	topName  = "srv/app/part-00/module-000/source-000007.txt"
)

// rootfs is the path of a tree's file in the mount.
func (d *daemon) rootfs(host string, i image, name string) string {
	return d.at(host, i.repo, "tags/v1/rootfs", name)
}

// catFile is the first look at a file of an image.
func (b *bench) catFile(name string, i image, file string) *way {
	return b.ocifsWay(name, func(d *daemon, _ int) string {
		return "cat " + quote(d.rootfs(b.server.Registry, i, file)) + " >/dev/null"
	})
}

func (b *bench) craneExport(name string, i image, file string) *way {
	return b.peer(name, "crane export --insecure "+b.server.Registry+"/"+i.repo+":v1 - | tar xO "+file+" >/dev/null")
}

// baseFile is a file of the lowest layer: all layers have to come.
func (b *bench) baseFile(ctx context.Context) (*row, error) {
	i, err := b.system(ctx)
	if err != nil {
		return nil, err
	}
	r := &row{unit: times, rounds: b.rounds}
	r.what = "the first cat of a file of the base layer, gzip layers of " + mebibytes(i.unpacked) + " unpacked that aren't cached"
	ours, crane := b.catFile("cat through ocifs", i, baseName), b.craneExport("crane export | tar xO", i, baseName)
	r.ways = []*way{ours, crane}
	r.goals = []goal{{"", ours.name, []string{crane.name}, fast, 1.5}}
	return r, nil
}

// topFile is a file of the uppermost layer: the base mustn't count.
func (b *bench) topFile(ctx context.Context) (*row, error) {
	images := map[string]image{}
	for name, size := range map[string]int64{"large": b.size, "small": b.size / 16} {
		base := func(yield func(content.TextFile) bool) { yield(content.TextFile{Name: "usr/lib/base.bin", Size: size}) }
		i, err := b.tree(ctx, "bench/over-"+name,
			archive{ocispec.MediaTypeImageLayer, base},
			archive{ocispec.MediaTypeImageLayerGzip, content.TextFiles("srv/app", int(b.size/16/treeFileSize), treeFileSize)})
		if err != nil {
			return nil, err
		}
		images[name] = i
	}
	r := &row{unit: times, rounds: b.rounds, counted: true}
	r.what = fmt.Sprintf("the first cat of a file of a top layer of %s over a base of %s, and over one of %s", mebibytes(b.size/16), mebibytes(b.size), mebibytes(b.size/16))
	large, small := b.catFile("cat over the large base", images["large"], topName), b.catFile("cat over the small base", images["small"], topName)
	crane := b.craneExport("crane export | tar xO", images["large"], topName)
	r.ways = []*way{large, small, crane}
	r.goals = []goal{
		{"of a small base", large.name, []string{small.name}, slow, 1.25},
		{"of crane", large.name, []string{crane.name}, ahead, 0},
	}
	return r, nil
}

// coldFind is a listing of all that an image has.
func (b *bench) coldFind(ctx context.Context) (*row, error) {
	i, err := b.system(ctx)
	if err != nil {
		return nil, err
	}
	r := &row{unit: times, rounds: b.rounds}
	r.what = "find over all files of an image of " + mebibytes(i.unpacked) + " unpacked that isn't cached"
	ours := b.ocifsWay("find through ocifs", func(d *daemon, _ int) string {
		return "find " + quote(d.rootfs(b.server.Registry, i, "")) + "/ >/dev/null"
	})
	rootless := ""
	if os.Geteuid() != 0 {
		rootless = "--rootless "
	}
	umoci := b.peer("skopeo copy, umoci unpack, find", "mkdir {out} && skopeo --insecure-policy copy -q --src-tls-verify=false docker://"+b.server.Registry+"/"+i.repo+":v1 oci:{out}/image:v1 && "+
		"umoci unpack "+rootless+"--image {out}/image:v1 {out}/bundle && find {out}/bundle/rootfs >/dev/null")
	r.ways = []*way{ours, umoci}
	r.goals = []goal{{"", ours.name, []string{umoci.name}, fast, 1.5}}
	return r, nil
}

// warmTree is a mount that has an image's layers in its cache. Close stops it.
func (b *bench) warmTree(ctx context.Context, i image) (*fixture, error) {
	f := &fixture{b: b, owner: self, cache: "tree"}
	if err := f.remount(ctx); err != nil {
		return nil, err
	}
	f.path = f.daemon.rootfs(b.server.Registry, i, "")
	_, err := f.daemon.run(ctx, "grep -rqF 'no such text' "+quote(f.path)+"/; [ $? = 1 ]")
	return f, f.failed(err)
}

// warmWalk walks over a tree that was seen before.
func (b *bench) warmWalk(ctx context.Context) (*row, error) {
	files := content.TextFiles("usr/src", b.scaled(walkFiles), walkFileSize)
	i, err := b.tree(ctx, "bench/walk", archive{ocispec.MediaTypeImageLayerGzip, files})
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(b.dir, "walk")
	if err := content.WriteFiles(dir, files); err != nil {
		return nil, err
	}
	f, err := b.warmTree(ctx, i)
	if err != nil {
		return nil, err
	}
	loop, err := startLoopback(ctx, b.exe, dir, filepath.Join(b.dir, "loop"))
	if err != nil {
		return nil, f.failed(err)
	}
	r := f.row(times)
	r.done = func() error { return errors.Join(loop.Close(), f.close()) }
	r.what = fmt.Sprintf("du and grep -r over %d files of %d KiB that were seen before, and over the same tree on the disk, also through the loopback file system of go-fuse", b.scaled(walkFiles), walkFileSize>>10)
	for _, c := range []struct{ name, script string }{
		{"du", "du -s %s/ >/dev/null"},
		{"grep", "grep -rqF 'no such text' %s/; [ $? = 1 ]"},
	} {
		on := func(name, dir string) *way {
			return f.way(c.name+name, func(ctx context.Context, d *daemon) (time.Duration, error) {
				return d.run(ctx, fmt.Sprintf(c.script, quote(dir)))
			})
		}
		disk, through, ours := on(" on the disk", dir), on(" through go-fuse's loopback", loop.dir), on(" through ocifs", f.path)
		for w, at := range map[*way]string{disk: dir, through: loop.dir} {
			w.ours, w.memory = false, nil
			if _, err := f.daemon.run(ctx, fmt.Sprintf(c.script, quote(at))); err != nil { // theirs are seen before as well
				return nil, errors.Join(err, r.done())
			}
		}
		r.ways = append(r.ways, disk, through, ours)
		r.goals = append(r.goals, goal{c.name, ours.name, []string{disk.name}, fast, 0.25})
	}
	return r, nil
}

// layerFile is a large file of a layer, read in order.
func (b *bench) layerFile(ctx context.Context) (*row, error) {
	size := b.size / 5
	file := content.TextFile{Name: "usr/share/model.bin", Size: size}
	files := func(yield func(content.TextFile) bool) { yield(file) }
	i, err := b.tree(ctx, "bench/large", archive{ocispec.MediaTypeImageLayerZstd, files})
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(b.dir, "large")
	if err := content.WriteFiles(dir, files); err != nil {
		return nil, err
	}
	f, err := b.warmTree(ctx, i)
	if err != nil {
		return nil, err
	}
	r := f.row(rate(size))
	r.what = "a file of " + mebibytes(size) + " of an unpacked layer is read in order"
	read := func(ctx context.Context, d *daemon) (time.Duration, error) {
		return d.probe(ctx, "read", filepath.Join(f.path, file.Name))
	}
	first, second := f.way("first read", read), f.way("second read", read)
	fresh := func(ctx context.Context, _ int) error {
		if err := f.remount(ctx); err != nil {
			return err
		}
		_, err := f.daemon.run(ctx, "stat "+quote(filepath.Join(f.path, file.Name))+" >/dev/null")
		return err
	}
	first.before = fresh
	second.before = func(ctx context.Context, round int) error {
		if err := fresh(ctx, round); err != nil {
			return err
		}
		_, err := read(ctx, f.daemon)
		return err
	}
	disk := f.way("the file on the disk", func(ctx context.Context, d *daemon) (time.Duration, error) {
		return d.probe(ctx, "read", filepath.Join(dir, file.Name))
	})
	disk.ours, disk.memory = false, nil
	r.ways = []*way{disk, first, second}
	r.goals = []goal{
		{"first", first.name, []string{disk.name}, fast, 0.1},
		{"second", second.name, []string{disk.name}, fast, 0.5},
	}
	return r, nil
}

// firstListing is a layer of many entries whose packed blob is in the cache.
func (b *bench) firstListing(ctx context.Context) (*row, error) {
	n := b.scaled(listingEntries)
	i, err := b.tree(ctx, "bench/listing", archive{ocispec.MediaTypeImageLayerGzip, content.TextFiles("usr/many", n, entrySize)})
	if err != nil {
		return nil, err
	}
	r := &row{unit: times, rounds: b.rounds}
	r.what = fmt.Sprintf("the first ls of a layer of %d entries, %s unpacked, whose blob is in the cache", n, mebibytes(i.unpacked))
	host, blob := b.server.Registry, i.layers[0].Digest
	var cache string // the daemon's
	ours := b.preparedWay("ls through ocifs", func(d *daemon, _ int) string {
		cache = d.cache
		return "cat " + quote(d.at(host, i.repo, "blobs/sha256", blob.Encoded())) + " >/dev/null"
	}, func(d *daemon, _ int) string {
		return "ls " + quote(d.rootfs(host, i, "usr/many")) + " >/dev/null"
	})
	var index int64 // bytes
	run := ours.run
	ours.run = func(ctx context.Context, round int) (time.Duration, error) {
		took, err := run(ctx, round)
		if err != nil {
			return 0, err
		}
		index, err = sizeBelow(filepath.Join(cache, "v1/indexes"))
		return took, err
	}
	r.ways = []*way{ours}
	r.goals = []goal{{"", ours.name, nil, within, 10}}
	r.more = func() []verdict {
		part := float64(index) / float64(i.unpacked)
		v := verdict{Row: r.name + " index", Goal: fmt.Sprintf("<= %g %% of the unpacked layer", 100*indexLimit), Mark: 1, Budget: true,
			Ours: fmt.Sprintf("%.2f MB", float64(index)/1e6), Result: fmt.Sprintf("%.2f %%", 100*part)}
		v.Value = part / indexLimit
		v.Least, v.Most = v.Value, v.Value
		v.State = stateOf(v.Value <= 1)
		if ours.failed != nil {
			v = v.without(ours)
		}
		return []verdict{v}
	}
	return r, nil
}

// sizeBelow adds up the files below a directory.
func sizeBelow(dir string) (n int64, err error) {
	return n, filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		st, err := e.Info()
		if err == nil {
			n += st.Size()
		}
		return err
	})
}

// manyEntries are as many as the largest images have. What counts is the daemon's memory.
func (b *bench) manyEntries(ctx context.Context) (*row, error) {
	n := b.scaled(listingEntries)
	var archives []archive
	for k := range entryLayers {
		archives = append(archives, archive{ocispec.MediaTypeImageLayerGzip, content.TextFiles(fmt.Sprintf("usr/many-%d", k), n, entrySize)})
	}
	i, err := b.tree(ctx, "bench/entries", archives...)
	if err != nil {
		return nil, err
	}
	r := &row{unit: times, rounds: min(b.rounds, slowRounds)}
	r.what = fmt.Sprintf("find over %d entries in %d layers that aren't cached", n*entryLayers, entryLayers)
	find := func(d *daemon, _ int) string {
		return "find " + quote(d.rootfs(b.server.Registry, i, "")) + "/ >/dev/null"
	}
	cold := b.ocifsWay("find through ocifs", find)
	r.ways = []*way{cold}
	r.more = func() []verdict {
		v := verdict{Row: r.name + " memory", Goal: "<= " + mebibytes(memoryLimit), Mark: 1, Budget: true, Ours: mebibytes(cold.peak), Result: mebibytes(cold.peak)}
		v.Value = float64(cold.peak) / memoryLimit
		v.Least, v.Most = v.Value, v.Value
		v.State = stateOf(v.Value <= 1)
		if cold.failed != nil {
			v = v.without(cold)
		}
		return []verdict{v}
	}
	r.goals = []goal{{"", cold.name, nil, within, 120}}
	return r, nil
}
