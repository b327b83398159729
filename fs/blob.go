package fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/fs/internal/caller"
	"github.com/ocifs/ocifs/fs/internal/guard"
	"github.com/ocifs/ocifs/fs/internal/known"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry"
)

// blobFile is a file with the verified bytes of one blob.
type blobFile struct {
	place
	repo      known.Repository
	digest    digest.Digest
	size      int64 // in bytes
	mtime     time.Time
	mediaType string // "" if nothing says it
}

func (b *blobFile) Attr() node.Attr { return b.fileAttr(b.digest, b.size, b.mtime) }

// descriptor gives the blob as a repository is asked for it.
func (b *blobFile) descriptor() v1.Descriptor {
	return v1.Descriptor{MediaType: b.mediaType, Digest: b.digest, Size: b.size}
}

// Open opens the cache file, if there is one. If there is none, it sends no request: the first
// read does. If the file is in doubt, the first read waits for its check, as an interrupt ends
// that wait.
//
// An open that waited for the download could pass its reads through: a cold image of 1 GiB takes
// 1.7 s of this process's CPU time then, and 2.2 s as it is. But cp opens a blob before it asks for
// a copy into upload/ (copy_file_range), which needs no byte of it, and so do cat and programs in
// Go: nothing tells an open that is read from one that is copied.
func (b *blobFile) Open(_ context.Context, by caller.Caller) (node.Content, error) {
	if b.size == 0 {
		if b.digest != b.digest.Algorithm().FromBytes(nil) {
			b.doubt()
			return nil, fmt.Errorf("%s can't be of 0 bytes, as was promised: %w", b.digest, registry.ErrCorrupt)
		}
		return node.Bytes(nil), nil
	}
	f, err := b.tree.store.Open(b.digest, b.size)
	if err == nil {
		return b.cached(f), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		b.tree.log.Warn("cache file not opened", "digest", b.digest, "cause", err)
	}
	if b.tree.opts.Stream {
		w := b.repo.Want(b.descriptor())
		charge := b.tree.guard.Charge(guard.PayerOf(by), w.Size)
		w.Begin = charge.Begin
		return &blobStream{b, b.tree.store.Stream(w), charge}, nil
	}
	return &blobContent{blob: b}, nil
}

// cached gives the content of a blob that has a cache file.
func (b *blobFile) cached(f *cache.File) *blobContent {
	way := node.Way{Mode: node.Cached, Fd: int(f.Fd()), Pages: f.Inode()}
	// What the disk can't read is fetched again only if the read comes by here. So once the disk
	// has failed, no read passes through any more.
	if b.tree.kernel.PassesThrough() && b.tree.store.Reads() {
		way.Mode = node.Passthrough
	}
	return &blobContent{blob: b, way: way, file: cacheFile[*cache.File]{file: f}}
}

// doubt drops what is known of the blob, because it was wrong. The registry is asked again.
func (b *blobFile) doubt() {
	if b.repo.DoubtBlob(b.digest, b.size) {
		b.tree.await(b.tree.outdate(b.repo.Repository, staleDigest(blobsName, b.digest)))
	}
}

// doubtAfter calls doubt if a read failed because of the blob's bytes.
func (b *blobFile) doubtAfter(err error) {
	if errors.Is(err, cache.ErrMismatch) || errors.Is(err, registry.ErrCorrupt) {
		b.doubt()
	}
}

func (b *blobFile) Xattrs() map[string]string {
	f, err := b.tree.store.Open(b.digest, b.size)
	if err == nil {
		f.Close()
	}
	x := described(v1.Descriptor{Digest: b.digest, MediaType: b.mediaType})
	x["user.ocifs.cached"] = strconv.FormatBool(err == nil || errors.Is(err, cache.ErrUnchecked))
	return x
}

// get downloads a blob, unless it is cached. The download is charged to pays.
func (t *Tree) get(ctx context.Context, pays guard.Payer, w cache.Want) (*cache.File, error) {
	c := t.guard.Charge(pays, w.Size)
	w.Begin = c.Begin
	f, err := t.store.Get(ctx, w)
	c.Settle(ctx, err)
	return f, err
}

// blobContent is an open blob whose reads wait for the whole blob.
type blobContent struct {
	blob *blobFile
	// way is how the kernel reads it. The zero value is by direct reads, because the blob
	// wasn't cached when it was opened.
	way node.Way

	file cacheFile[*cache.File]
}

// ReadAt waits for the whole blob, unless it is cached, so that no byte is shown before all of
// them have matched the digest. If the disk can't read the cache file, the blob is downloaded
// again, and the read goes on with that: its bytes are the same.
func (c *blobContent) ReadAt(ctx context.Context, by caller.Caller, p []byte, off int64) (int, error) {
	return c.file.read(
		func() (*cache.File, error) { return c.get(ctx, by) },
		func(f *cache.File) (int, error) { return f.ReadAt(p, off) })
}

// View gives bytes of a blob that was read before, where the system has them in memory.
func (c *blobContent) View(n int, off int64) node.View {
	if f := c.file.present(); f != nil {
		if v := f.View(n, off); v != nil {
			return v
		}
	}
	return nil
}

// atEnd drops io.EOF from the error of a read, because the kernel knows the size.
func atEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (c *blobContent) get(ctx context.Context, by caller.Caller) (*cache.File, error) {
	f, err := c.blob.tree.get(ctx, guard.PayerOf(by), c.blob.repo.Want(c.blob.descriptor()))
	c.blob.doubtAfter(err)
	return f, err
}

func (c *blobContent) Way() node.Way { return c.way }
func (c *blobContent) Close()        { c.file.close() }

// blobStream is an open blob that is read while it is downloaded. The download is charged to the
// program that opened it.
type blobStream struct {
	blob   *blobFile
	stream *cache.Stream
	charge *guard.Charge
}

func (s *blobStream) ReadAt(ctx context.Context, _ caller.Caller, p []byte, off int64) (int, error) {
	n, err := s.stream.ReadAt(ctx, p, off)
	err = atEnd(err)
	s.charge.Settle(ctx, err)
	s.blob.doubtAfter(err)
	return n, err
}

func (s *blobStream) Way() node.Way { return node.Way{Pages: node.UnverifiedPages} }
func (s *blobStream) Close()        { s.stream.Close() }

// manifestFile is a file with the bytes of a manifest.
type manifestFile struct {
	place
	repo  known.Repository
	desc  v1.Descriptor
	mtime time.Time
}

func (f *manifestFile) Attr() node.Attr { return f.fileAttr(f.desc.Digest, f.desc.Size, f.mtime) }

func (f *manifestFile) Open(ctx context.Context, _ caller.Caller) (node.Content, error) {
	m, err := f.repo.Child(ctx, f.desc)
	if err != nil {
		return nil, err
	}
	return node.Bytes(m.Raw), nil
}

func (f *manifestFile) Xattrs() map[string]string { return described(f.desc) }
