package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// pushRounds are enough for what takes most of a run.
const pushRounds = 3

// push is a blob of noise that goes from the disk to the registry: alone, or as the
// layer of an image. Each time it is another one, in a repository of its own: some
// programs remember where a layer is, and have the registry copy it.
func (b *bench) push(context.Context) (*row, error) {
	host, dir := b.server.Push, filepath.Join(b.dir, "layout")
	r := &row{unit: rate(b.size), rounds: min(b.rounds, pushRounds), memory: 2 * b.size, counted: true}
	r.what = "a blob of " + mebibytes(b.size) + " is pushed by cp, alone and in a layout, copying included; crane and skopeo push the layout"
	var layer ocispec.Descriptor
	file := func() string { return filepath.Join(dir, "blobs/sha256", layer.Digest.Encoded()) }
	blob := b.ocifsWay("cp FILE upload/blobs/", func(d *daemon, round int) string {
		return fmt.Sprintf("cp %s %s", quote(file()), quote(d.at(host, "push", repoOf(round, "cp"), "upload/blobs/blob.bin")))
	})
	image := b.ocifsWay("cp -r LAYOUT upload/", func(d *daemon, round int) string {
		return fmt.Sprintf("cp -r %s %s", quote(dir), quote(d.at(host, "push", repoOf(round, "cp-r"), "upload/v1")))
	})
	oras := b.peer("oras push", "")
	oras.run = func(ctx context.Context, round int) (time.Duration, error) {
		took, err := shell(ctx, b.env, fmt.Sprintf("cd %s && oras push --plain-http --no-tty %s/push/%s:v1 %s:application/octet-stream",
			quote(filepath.Dir(file())), host, repoOf(round, "oras"), filepath.Base(file())))
		return took.Took, err
	}
	peers := []*way{
		b.peer("crane push", "crane push --insecure "+quote(dir)+" "+host+"/push/"+"crane-{round}:v1"),
		oras,
		// It would compress what isn't compressed, if it may.
		b.peer("skopeo copy", "skopeo --insecure-policy copy -q --preserve-digests --dest-tls-verify=false oci:"+dir+":v1 docker://"+host+"/push/skopeo-{round}:v1"),
	}
	r.ways = append([]*way{blob, image}, peers...)
	for _, w := range r.ways {
		mount, unmount := w.before, w.after
		w.before = func(ctx context.Context, round int) (err error) {
			if layer, err = b.layout(dir, b.size); err != nil || mount == nil {
				return err
			}
			return mount(ctx, round)
		}
		run := w.run
		w.run = func(ctx context.Context, round int) (time.Duration, error) {
			took, err := run(ctx, round)
			return took, errors.Join(err, b.stored(layer))
		}
		w.after = func(ctx context.Context) error { return errors.Join(unmount(ctx), b.unstore(layer)) }
	}
	r.goals = []goal{
		{"blob", blob.name, names(peers[:1]), fast, 0.8},
		{"image", image.name, names(peers[:1]), fast, 0.8},
	}
	r.done = func() error { return os.RemoveAll(dir) }
	return r, nil
}

func repoOf(round int, who string) string { return fmt.Sprintf("%s-%d", who, round) }

// stored says whether the registry has a blob, by looking where it keeps them: a
// request would be counted.
func (b *bench) stored(d ocispec.Descriptor) error {
	st, err := os.Stat(filepath.Join(b.storage(d), "data"))
	if err == nil && st.Size() != d.Size {
		err = fmt.Errorf("it has %d bytes of %d", st.Size(), d.Size)
	}
	if err != nil {
		return fmt.Errorf("the blob isn't at the registry: %w", err)
	}
	return nil
}

// unstore takes a blob away from the registry, for the disk's sake.
func (b *bench) unstore(d ocispec.Descriptor) error { return os.RemoveAll(b.storage(d)) }

func (b *bench) storage(d ocispec.Descriptor) string {
	hex := d.Digest.Encoded()
	return filepath.Join(b.pushDir(), "docker/registry/v2/blobs/sha256", hex[:2], hex)
}
