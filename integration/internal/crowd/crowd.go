package crowd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// Repository is where the images are that the crowd reads.
const Repository = "team/app"

// still is how many tags there are that don't move, and versions how many images
// each of the others takes turns with.
const (
	still    = 8
	versions = 4
)

// Reporter is told what went on, and which promises were broken. A testing.T is one.
// It is safe for concurrent use.
type Reporter interface {
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
}

// Options say what a crowd works with. All paths are absolute.
type Options struct {
	// Registry has the images and gets what is pushed. It is asked directly for what
	// came of that; Host is host:port of the same registry behind the bad network,
	// where the mount finds it. Quiet is another registry, without a network in between.
	Registry, Quiet *registries.Server
	Host            string
	// Mountpoint is where the mount is. Env is the environment of the programs.
	Mountpoint string
	Env        []string
	// Beneath is the mountpoint's own directory, which shows itself while nothing is
	// mounted there, opened before anything was; nil where the mount never goes away.
	Beneath *os.Root
	// Probe is the program of that name. Dir is a directory to work in.
	Probe, Dir string
	// Moving is how many tags can be moved by Move. Big is the size of a layer of one more
	// image, which may be more than the cache holds; 0: there is none.
	Moving int
	Big    int64
	// Patience is how long a turn may take. It has to be longer than all waits of the
	// daemon that one turn may meet.
	Patience time.Duration
}

// Crowd is what the programs work on, and what came of it. All methods are safe for
// concurrent use.
type Crowd struct {
	Reporter
	// Tally is what came of the turns of Run.
	Tally Tally

	o      Options
	images map[string][]image // by tag; several of those that move
	tags   []string           // in byte order
	moving []string
	outages
	pushes

	mu     sync.Mutex
	points map[string]int // by moving tag: which of its images it points at
}

// image is one that the registry has, and a file with what it has as a file.
type image struct {
	content.Manifest
	noise string
}

// New fills the registry with images: several times as much as a small cache holds, of
// 6 to 8 MiB.
func New(ctx context.Context, report Reporter, o Options) (*Crowd, error) {
	c := &Crowd{Reporter: report, o: o, images: map[string][]image{}, points: map[string]int{}}
	for i := range still {
		if err := c.add(ctx, fmt.Sprint("v", i), 1, uint64(500+i), int64(400_000*(1+i%4))); err != nil {
			return nil, err
		}
	}
	for i := range o.Moving {
		tag := fmt.Sprint("moving-", i)
		c.moving = append(c.moving, tag)
		if err := c.add(ctx, tag, versions, uint64(600+10*i), int64(700_000*(1+i%3))); err != nil {
			return nil, err
		}
	}
	if o.Big > 0 {
		if err := c.add(ctx, "big", 1, 700, o.Big); err != nil {
			return nil, err
		}
	}
	slices.Sort(c.tags)
	return c, nil
}

// add pushes the images of a tag, and tags the first of them.
func (c *Crowd) add(ctx context.Context, tag string, n int, seed uint64, size int64) error {
	repo, err := content.To(c.o.Registry.Host, Repository, "", "")
	if err != nil {
		return err
	}
	for v := range n {
		noise := content.NoiseBytes(seed+uint64(v), size)
		i := image{noise: filepath.Join(c.o.Dir, fmt.Sprintf("%s.%d", tag, v))}
		if err := os.WriteFile(i.noise, noise, 0o600); err != nil {
			return fmt.Errorf("writing down what an image has: %w", err)
		}
		under := tag
		if v > 0 {
			under = ""
		}
		i.Manifest, err = repo.Image(ctx, under, content.Image{Layers: append(content.Sample(fmt.Sprint(tag, " ", v)).Layers, content.Layer{
			MediaType: "application/vnd.oci.image.layer.v1.tar", Files: []content.File{{Name: "noise", Text: string(noise)}},
		})})
		if err != nil {
			return err
		}
		c.images[tag] = append(c.images[tag], i)
	}
	c.tags = append(c.tags, tag)
	return nil
}

// at is a path in the registry as the tree has it.
func (c *Crowd) at(path ...string) string {
	return filepath.Join(append([]string{c.o.Mountpoint, strings.ReplaceAll(c.o.Host, ":", "_")}, path...)...)
}
