package fs

import (
	"context"
	"errors"
	"fmt"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/fs/internal/guard"
	"github.com/ocifs/ocifs/fs/internal/known"
	"github.com/ocifs/ocifs/fs/internal/layers"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/fs/prefetch"
	"github.com/ocifs/ocifs/registry"
)

// need is one thing that a path needs in the cache, to be read without a registry.
type need struct {
	// Item has the kind, the digest, and the size as it is downloaded. Its Path is that of the ask.
	prefetch.Item
	here func() bool
	// bring brings it. The download is charged to the payer of the context.
	bring func(ctx context.Context) error
}

// lookAgain is how long the disk has, each time, to get on with what waits for it.
const lookAgain = 50 * time.Millisecond

// Kinds of needs.
const (
	manifestNeed = "manifest"
	blobNeed     = "blob"
	layerNeed    = "layer" // unpacked
)

// Errors of paths that need nothing. Who reports them names the path.
var (
	errNothingToBring = errors.New("there is nothing to bring: it is neither an image, nor a file, nor a tree of files")
	errNoPlatform     = errors.New("the index lists none")
)

// maxDepth is how deep the directories are nested that one path has to bring: tags/<tag> is 1, and
// referrers/<algo>/<hex>/<type>/<image> is 2. Directories in files/ have more levels.
const maxDepth = 16

// needs finds what paths need. An image needs its manifest, its config and its layers, packed: its
// rootfs and its archive are made of them. An index needs the child for one platform. A file of an
// image, and a tree of files, need layers unpacked.
type needs struct {
	walker
	// platform picks the child of an index: that of platform, or all children if it is nil.
	platform *v1.Platform
	found    func(need)
	// failed is told of a name in a directory of which nothing could be found.
	failed func(path string, err error)
}

// of finds what an entry needs. at has the directories on the way to it, and depth counts those that
// were listed.
func (n *needs) of(ctx context.Context, at ways, e node.Entry, depth int) error {
	switch e := e.(type) {
	case *tagDir:
		v, err := e.resolve(ctx)
		if err != nil {
			return err
		}
		return n.image(ctx, v.(*image))
	case *image:
		return n.image(ctx, e)
	case *archiveFile:
		return n.pieces(ctx, e.image)
	case *blobFile:
		n.blob(e)
	case *manifestFile:
		n.manifest(e.repo, e.desc)
	case *treeDir:
		for k := range e.image.Len() {
			if err := n.layer(ctx, e.image, k); err != nil {
				return err
			}
		}
	case *treeFile:
		if e.attr.Size > 0 {
			return n.layer(ctx, e.dir.image, int(e.layer))
		}
	case *hostsDir, *withControl, *namespace, *controlDir, *stagedDir:
		return errNothingToBring
	case node.Directory:
		return n.all(ctx, at, e, depth+1)
	}
	return nil
}

// all finds what everything in a directory needs: of all tags, of the blobs of a layout, of what
// symlinks lead to.
func (n *needs) all(ctx context.Context, at ways, d node.Directory, depth int) error {
	l, err := d.List(ctx)
	if err != nil {
		return err
	}
	if len(l.Names) == 0 || depth > maxDepth {
		return errNothingToBring
	}
	for _, name := range l.Names {
		at, e, err := n.follow(ctx, at, name)
		if err == nil {
			err = n.of(ctx, at, e, depth)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			n.failed(node.Join(d.Path(), name), err)
		}
	}
	return nil
}

// image finds what an image directory needs.
func (n *needs) image(ctx context.Context, i *image) error {
	m, err := i.Manifest(ctx)
	if err != nil {
		return err
	}
	if !m.IsIndex() || n.platform == nil {
		return n.pieces(ctx, i)
	}
	all, err := i.shortcuts(ctx, platformsName)
	if err != nil {
		return err
	}
	child, ok := childFor(all, *n.platform, i.Repository.LacksManifest)
	if !ok {
		return fmt.Errorf("no image for %s: %w", FormatPlatform(*n.platform), errNoPlatform)
	}
	c, err := i.Repository.Child(ctx, child.Descriptor())
	if err != nil {
		return err
	}
	n.manifest(i.Repository, i.Descriptor)
	return n.pieces(ctx, newImage(i.place, i.base, i.Repository, c, c.Digest, ""))
}

// pieces finds everything that is reachable from an image.
func (n *needs) pieces(ctx context.Context, i *image) error {
	c, err := i.Reachable(ctx)
	if err != nil {
		return err
	}
	for _, p := range c.Pieces {
		switch f := i.pieceFile(i.at(blobsName).at(hexPath(p.Digest)), p).(type) {
		case *manifestFile:
			n.manifest(f.repo, f.desc)
		case *blobFile:
			n.blob(f)
		}
	}
	return nil
}

// manifest finds a manifest.
func (n *needs) manifest(r known.Repository, d v1.Descriptor) {
	here := func() bool { return n.tree.hasBlob(v1.Descriptor{Digest: d.Digest, Size: d.Size}) }
	n.found(need{
		Item: prefetch.Item{Kind: manifestNeed, Digest: d.Digest, Name: "manifest of " + r.String(), Total: d.Size},
		here: here,
		bring: func(ctx context.Context) error {
			m, err := r.Child(ctx, d)
			if err != nil || here() {
				return err
			}
			return n.put(ctx, m) // it was evicted, or the disk was behind, and it is still in memory
		},
	})
}

// put puts a manifest into the cache, when the disk isn't behind any more.
func (n *needs) put(ctx context.Context, m *registry.Manifest) error {
	for {
		err := n.tree.store.Put(m.Digest, m.Raw)
		if !errors.Is(err, cache.ErrBehind) {
			return err
		}
		select {
		case <-time.After(lookAgain):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// blob finds a blob.
func (n *needs) blob(b *blobFile) {
	if b.size == 0 {
		return
	}
	n.found(need{
		Item: prefetch.Item{Kind: blobNeed, Digest: b.digest, Name: "blob of " + b.repo.String(), Total: b.size},
		here: func() bool { return n.tree.hasBlob(b.descriptor()) },
		bring: func(ctx context.Context) error {
			f, err := n.tree.get(ctx, guard.PayerIn(ctx), b.repo.Want(b.descriptor()))
			if err != nil {
				b.doubtAfter(err)
				return err
			}
			return f.Close()
		},
	})
}

// hasBlob says whether a blob is in the cache. One that is in doubt after an unclean end is: it is
// hashed before it is read.
func (t *Tree) hasBlob(d v1.Descriptor) bool {
	f, err := t.store.Open(d.Digest, d.Size)
	if err == nil {
		f.Close()
	}
	return err == nil || errors.Is(err, cache.ErrUnchecked)
}

// layer finds a layer of an image, unpacked. The config of the image is needed for that.
func (n *needs) layer(ctx context.Context, i *layers.Image, k int) error {
	l, err := i.At(ctx, k)
	if err != nil {
		return err
	}
	n.found(need{
		Item: prefetch.Item{Kind: layerNeed, Digest: l.Packed, Name: l.Name, Total: l.Size},
		here: func() bool { return i.Has(k) },
		bring: func(ctx context.Context) error {
			if _, err := i.Layer(ctx, k); err != nil {
				return err
			}
			a, err := i.Archive(ctx, k)
			if err != nil {
				return err
			}
			return a.Close()
		},
	})
	return nil
}
