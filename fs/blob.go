package fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/registry"
)

// blobFile is the verified bytes of one blob.
type blobFile struct {
	place
	repo      *repository
	digest    digest.Digest
	size      int64
	mtime     time.Time
	mediaType string // "" where nothing told it
}

func (b *blobFile) stat() stat { return b.fileStat(b.digest, b.size, b.mtime) }

// open opens the cache file where there is one. Where there is none it sends
// nothing: the first read does.
func (b *blobFile) open(context.Context) (content, error) {
	if b.size == 0 {
		if b.digest != b.digest.Algorithm().FromBytes(nil) {
			return nil, fmt.Errorf("%s can't be of 0 bytes, as was promised: %w", b.digest, registry.ErrCorrupt)
		}
		return &snapshot{how: cached}, nil
	}
	c := &blobContent{blob: b}
	f, err := b.tree.store.Open(b.digest, b.size)
	switch {
	case err == nil:
		c.file, c.how = f, cached
		if b.tree.through.Load() {
			c.how = passthrough
		}
	case !errors.Is(err, fs.ErrNotExist):
		b.tree.log.Warn("cache file not opened", "digest", b.digest, "cause", err)
	}
	return c, nil
}

func (b *blobFile) xattrs() map[string]string {
	f, err := b.tree.store.Open(b.digest, b.size)
	if err == nil {
		f.Close()
	}
	x := map[string]string{"user.oci.digest": b.digest.String(), "user.ocifs.cached": strconv.FormatBool(err == nil)}
	if b.mediaType != "" {
		x["user.oci.mediaType"] = b.mediaType
	}
	return x
}

// blobContent is an open blob.
type blobContent struct {
	blob *blobFile
	how  ioMode

	mu   sync.Mutex
	file *cache.File // nil until it has been downloaded
}

// readAt waits for the whole blob where it isn't cached: no byte is shown before
// all of them have matched the digest.
func (c *blobContent) readAt(ctx context.Context, p []byte, off int64) (int, error) {
	f, err := c.get(ctx)
	if err != nil {
		return 0, err
	}
	n, err := f.ReadAt(p, off)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

func (c *blobContent) get(ctx context.Context) (*cache.File, error) {
	c.mu.Lock()
	f := c.file
	c.mu.Unlock()
	if f != nil {
		return f, nil
	}
	// Not under the lock: each reader of this handle leaves when it is interrupted.
	f, err := c.blob.tree.store.Get(ctx, c.blob.repo.want(c.blob.digest, c.blob.size))
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file != nil { // another reader was first
		f.Close()
		return c.file, nil
	}
	c.file = f
	return f, nil
}

func (c *blobContent) mode() ioMode { return c.how }
func (c *blobContent) fd() int      { return int(c.file.Fd()) }

func (c *blobContent) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file != nil {
		c.file.Close()
	}
}

// manifestFile is the bytes of a manifest that an index names.
type manifestFile struct {
	place
	repo      *repository
	digest    digest.Digest
	size      int64
	mtime     time.Time
	mediaType string
}

func (f *manifestFile) stat() stat { return f.fileStat(f.digest, f.size, f.mtime) }

func (f *manifestFile) open(ctx context.Context) (content, error) {
	m, err := f.repo.child(ctx, f.digest, f.size)
	if err != nil {
		return nil, err
	}
	return &snapshot{m.Raw, cached}, nil
}

func (f *manifestFile) xattrs() map[string]string {
	return map[string]string{"user.oci.digest": f.digest.String(), "user.oci.mediaType": f.mediaType}
}

// child is manifest for one that an index names with its size.
func (r *repository) child(ctx context.Context, d digest.Digest, size int64) (*registry.Manifest, error) {
	m, err := r.manifest(ctx, d)
	if err != nil {
		return nil, err
	}
	if int64(len(m.Raw)) != size {
		return nil, wrongSize(d, size, int64(len(m.Raw)))
	}
	return m, nil
}

// small is a file of a few bytes that can't change.
type small struct {
	place
	bytes  []byte
	digest digest.Digest // of what the bytes tell
	mtime  time.Time
}

func (f *small) stat() stat { return f.fileStat(f.digest, int64(len(f.bytes)), f.mtime) }

func (f *small) open(context.Context) (content, error) { return &snapshot{f.bytes, cached}, nil }
