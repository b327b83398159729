package fs

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/fs/internal/caller"
	"github.com/ocifs/ocifs/fs/internal/guard"
	"github.com/ocifs/ocifs/fs/internal/layers"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/fs/rootfs"
)

// treeEntry is what isn't a directory in rootfs/ or unpacked/. The kernel holds many of them, so that
// an entry is small: its path is put together when somebody asks for it.
type treeEntry struct {
	dir   *treeDir // in which it was found
	name  string
	layer int32 // which of the image's
	ino   rootfs.Ino
	attr  rootfs.Attr
}

// Path gives the path below the mountpoint.
func (e *treeEntry) Path() string { return e.place().path }

func (e *treeEntry) place() place { return e.dir.at(e.name) }

// Light says that the kernel may hold more such entries than others.
func (*treeEntry) Light() {}

// packed gives the digest of the blob that the entry came from.
func (e *treeEntry) packed() digest.Digest { return e.dir.image.Packed(int(e.layer)) }

// Attr gives the attributes that the archive has. Whatever shows a file of a layer shows it as
// one inode, with one set of pages in the kernel.
func (e *treeEntry) Attr() node.Attr {
	return node.Attr{
		Identity: node.IdentityOf(layerFiles, e.packed().String()+"/"+strconv.FormatUint(uint64(e.ino), 10)),
		Mode:     e.attr.Mode, Size: e.attr.Size, Mtime: e.attr.Mtime, UID: e.attr.UID, GID: e.attr.GID,
		Nlink: e.attr.Nlink, Rdev: e.attr.Rdev, TTL: forever,
	}
}

// layerFiles is the path in the identities of files of layers. No path in the tree is so, because
// no host has an empty name.
const layerFiles = "/layers"

// layerXattr has the digest of the blob that a file came from.
const layerXattr = "user.ocifs.layer"

func (e *treeEntry) Xattrs() map[string]string { return layerXattrs(e.dir.image, int(e.layer), e.ino) }

// layerXattrs gives the extended attributes that a layer has for an Ino, and the layer itself. An
// archive can't speak for ocifs or for the registry.
func layerXattrs(image *layers.Image, layer int, ino rootfs.Ino) map[string]string {
	x := map[string]string{}
	if index := image.Kept(layer); index != nil {
		own, _ := index.Xattrs(ino) // an index that can't be read has none
		maps.Copy(x, own)
	}
	maps.DeleteFunc(x, func(name, _ string) bool {
		return strings.HasPrefix(name, "user.ocifs.") || strings.HasPrefix(name, "user.oci.")
	})
	x[layerXattr] = image.Packed(layer).String()
	return x
}

// treeSpecial is a device, a pipe or a socket.
type treeSpecial struct{ treeEntry }

func (*treeSpecial) Special() {}

// treeLink is a symlink. Its target leads nowhere outside of the tree.
type treeLink struct {
	treeEntry
	to     string
	broken error // why no target can be shown; nil: to is the target
}

func (l *treeLink) Target() string { return l.to }
func (l *treeLink) Broken() error  { return l.broken }

// Attr gives each name an inode of its own, because the target depends on the directory.
func (l *treeLink) Attr() node.Attr {
	a := l.treeEntry.Attr()
	a.Identity = l.place().identity(digest.Digest(l.to))
	a.Nlink = 1
	if l.broken == nil {
		a.Size = int64(len(l.to))
	}
	return a
}

// treeFile is a file of a layer.
type treeFile struct{ treeEntry }

// OpenReady opens the file if its layer is unpacked, and the layer's index is in use.
func (f *treeFile) OpenReady() node.Content {
	if f.attr.Size == 0 {
		return node.Bytes(nil)
	}
	index := f.dir.image.Kept(int(f.layer))
	if index == nil {
		return nil
	}
	c, err := f.content(index)
	if err != nil || c.archive.file == nil {
		return nil
	}
	return c
}

// Open finds out where the file's bytes are. It waits for no unpacking: the first read does.
func (f *treeFile) Open(ctx context.Context, by caller.Caller) (node.Content, error) {
	ctx = guard.WithPayer(ctx, guard.PayerOf(by))
	index, err := f.dir.image.ShownIndex(ctx, int(f.layer))
	if err != nil {
		return nil, err
	}
	c, err := f.content(index)
	if !errors.Is(err, rootfs.ErrIndex) {
		return c, err
	}
	f.dir.image.Doubt(int(f.layer))
	if index, err = f.dir.image.ShownIndex(ctx, int(f.layer)); err != nil {
		return nil, err
	}
	return f.content(index)
}

// content opens the file of a layer with an index. The layer's unpacked bytes may be gone.
func (f *treeFile) content(index *rootfs.Index) (*treeContent, error) {
	c := &treeContent{file: f}
	var err error
	c.data, err = index.Data(f.ino)
	if err != nil {
		return nil, err
	}
	if a := f.dir.tree.layers.Cached(index.Meta()); a != nil {
		c.archive.file = a
		c.way = node.Way{Mode: node.Cached, Pages: a.Inode()}
	}
	return c, nil
}

// treeContent is an open file of a layer.
type treeContent struct {
	file *treeFile
	data rootfs.Data
	// way is how the kernel reads it. The zero value is by direct reads, because the layer
	// has to be unpacked again.
	way node.Way

	archive cacheFile[*layers.Archive] // with the unpacked bytes
}

// ReadAt waits until the layer is unpacked. If the disk can't read the unpacked bytes, the layer is
// unpacked again.
func (c *treeContent) ReadAt(ctx context.Context, by caller.Caller, p []byte, off int64) (int, error) {
	return c.archive.read(
		func() (*layers.Archive, error) {
			return c.file.dir.image.ShownArchive(guard.WithPayer(ctx, guard.PayerOf(by)), int(c.file.layer))
		},
		func(a *layers.Archive) (int, error) { return c.data.ReadAt(a, p, off) })
}

func (c *treeContent) Way() node.Way { return c.way }
func (c *treeContent) Close()        { c.archive.close() }
