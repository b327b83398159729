package main

import (
	"context"
	"os"
	"path"
	"path/filepath"
	"slices"
)

const (
	// imageLayers have the size of the blob together.
	imageLayers = 10
	// slowRounds are enough where the network and not the machine is what's slow.
	slowRounds = 3
)

// cold is a blob that no cache has.
func (b *bench) cold(ctx context.Context) (*row, error) {
	i, err := b.image(ctx, "bench/blob", 1, b.size)
	if err != nil {
		return nil, err
	}
	r := &row{unit: rate(b.size), rounds: b.rounds, memory: 2 * b.size, counted: true, bare: true}
	r.what = "a blob of " + mebibytes(b.size) + " that isn't cached: cat FILE >/dev/null, verified, against programs that write it to a file"
	ours, peers := b.catBlob(b.server.Registry, i), b.fetchers(b.server.Registry, i)
	r.ways = append([]*way{ours}, peers...)
	r.goals = []goal{
		{"", ours.name, names(peers[1:]), ahead, 0},
		{"of curl", ours.name, names(peers[:1]), fast, 0.6},
	}
	return r, nil
}

// cdn is the same where one connection carries little.
func (b *bench) cdn(ctx context.Context) (*row, error) {
	size := b.size / 4 // or the peers alone would take minutes
	i, err := b.image(ctx, "bench/quarter", 1, size)
	if err != nil {
		return nil, err
	}
	r := &row{unit: rate(size), rounds: min(b.rounds, slowRounds), memory: 2 * size, counted: true, bare: true}
	r.what = "the same for a blob of " + mebibytes(size) + " where one connection carries 40 MB/s"
	ours, peers := b.catBlob(b.server.Slow, i), b.fetchers(b.server.Slow, i)
	r.ways = append([]*way{ours}, peers...)
	r.goals = []goal{{"", ours.name, names(peers), fast, 4}}
	return r, nil
}

func (b *bench) catBlob(host string, i image) *way {
	return b.ocifsWay("cat through ocifs", func(d *daemon, _ int) string {
		return "cat " + quote(d.at(host, i.repo, "blobs/sha256", i.layers[0].Digest.Encoded())) + " >/dev/null"
	})
}

// layers is an image, all layers of which are read at once.
func (b *bench) layers(ctx context.Context) (*row, error) {
	i, err := b.image(ctx, "bench/image", imageLayers, b.size/imageLayers)
	if err != nil {
		return nil, err
	}
	host := b.server.Registry
	ref := host + "/" + i.repo + ":v1"
	r := &row{unit: rate(b.size / imageLayers * imageLayers), rounds: b.rounds, memory: 2 * b.size, counted: true}
	r.what = "an image of 10 layers of " + mebibytes(b.size/imageLayers) + " that isn't cached, all read at once, against programs that pull it into a directory"
	ours := b.ocifsWay("cat of all layers through ocifs", func(d *daemon, _ int) string {
		return "cd " + quote(d.at(host, i.repo, "tags/v1/layers")) + " && pids= && for l in *; do cat $l >/dev/null & pids=\"$pids $!\"; done && for p in $pids; do wait $p || exit 1; done"
	})
	peers := []*way{
		b.peer("crane pull", "crane pull --insecure --format=oci "+ref+" {out}"),
		b.peer("skopeo copy", "skopeo --insecure-policy copy -q --src-tls-verify=false docker://"+ref+" dir:{out}"),
		b.peer("regctl image copy", "regctl --host reg="+host+",tls=disabled image copy "+ref+" ocidir://{out}:v1"),
	}
	r.ways = append([]*way{ours}, peers...)
	r.goals = []goal{{"", ours.name, names(peers[:1]), fast, 1}}
	return r, nil
}

// firstByte is what a reader waits for who would rather start early.
func (b *bench) firstByte(ctx context.Context) (*row, error) {
	size := 2 * b.size
	i, err := b.image(ctx, "bench/double", 1, size)
	if err != nil {
		return nil, err
	}
	host, blob := b.server.Registry, i.layers[0].Digest
	r := &row{unit: times, rounds: b.rounds}
	r.what = "the first byte of a blob of " + mebibytes(size) + " that isn't cached, with --verify=stream: head -c 1 FILE, against curl URL | head -c 1"
	ours := b.ocifsWay("head through ocifs", func(d *daemon, _ int) string {
		return "head -c 1 " + quote(d.at(host, i.repo, "blobs/sha256", blob.Encoded())) + " >/dev/null"
	}, "--verify=stream")
	// curl fails when its reader leaves, and says so: that is no failure here, and head
	// alone says how the pipeline ends.
	curl := b.peer("curl", "curl -sf http://"+host+path.Join("/v2", i.repo, "blobs", blob.String())+" 2>/dev/null | head -c 1 >/dev/null")
	r.ways = []*way{ours, curl}
	r.goals = []goal{{"", ours.name, []string{curl.name}, slow, 2}}
	return r, nil
}

// tags is a long list of tags.
func (b *bench) tags(context.Context) (*row, error) {
	host := b.server.Tags
	const repo = "bench/many"
	r := &row{unit: times, rounds: b.rounds, counted: true}
	r.what = "ls and ls -l of 100,000 tags, which the registry gives in pages of 1000; ls -l also of as many files on the disk"
	disk := filepath.Join(b.dir, "files")
	if err := makeFiles(disk, tagNames()); err != nil {
		return nil, err
	}
	list := func(name, flags string) *way {
		return b.ocifsWay(name, func(d *daemon, _ int) string { return "ls " + flags + quote(d.at(host, repo, "tags")) + " >/dev/null" })
	}
	ls, long, again := list("ls through ocifs", ""), list("ls -l through ocifs", "-l "), list("the second ls", "")
	fresh := again.before
	again.before = func(ctx context.Context, round int) error {
		if err := fresh(ctx, round); err != nil {
			return err
		}
		_, err := again.run(ctx, round)
		return err
	}
	peers := []*way{
		b.peer("oras repo tags", "oras repo tags --plain-http "+host+"/"+repo+" >/dev/null"),
		b.peer("crane ls", "crane ls --insecure "+host+"/"+repo+" >/dev/null"),
	}
	files := b.peer("ls -l on the disk", "ls -l "+quote(disk)+" >/dev/null")
	files.limit = true
	r.ways = slices.Concat([]*way{ls, long, again, files}, peers)
	r.goals = []goal{
		{"ls", ls.name, names(peers), slow, 1.2},
		{"ls -l", long.name, []string{files.name}, slow, 2.5},
		{"second ls", again.name, nil, within, 0.3},
	}
	r.done = func() error { return os.RemoveAll(disk) }
	return r, nil
}

// makeFiles makes empty files.
func makeFiles(dir string, names []string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			return err
		}
	}
	return nil
}
