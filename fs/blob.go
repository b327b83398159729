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
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

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
			b.repo.doubt(b.digest, b.size)
			return nil, fmt.Errorf("%s can't be of 0 bytes, as was promised: %w", b.digest, registry.ErrCorrupt)
		}
		return &snapshot{}, nil
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
	if c.file == nil && b.tree.opts.Stream {
		w := b.repo.want(b.digest, b.size)
		c.charge = b.tree.charge(&w)
		c.stream = b.tree.store.Stream(w)
	}
	return c, nil
}

func (b *blobFile) xattrs() map[string]string {
	f, err := b.tree.store.Open(b.digest, b.size)
	if err == nil {
		f.Close()
	}
	x := described(v1.Descriptor{Digest: b.digest, MediaType: b.mediaType})
	x["user.ocifs.cached"] = strconv.FormatBool(err == nil)
	return x
}

// blobContent is an open blob.
type blobContent struct {
	blob   *blobFile
	how    ioMode
	stream *cache.Stream // of what is read while it comes; nil: it isn't
	charge *charge       // of the stream

	mu   sync.Mutex
	file *cache.File // nil until it has been downloaded
}

// readAt waits for the whole blob where it isn't cached, so that no byte is shown before
// all of them have matched the digest, or, if people would rather have it so, for what
// is read.
func (c *blobContent) readAt(ctx context.Context, p []byte, off int64) (int, error) {
	var n int
	var err error
	if c.stream != nil {
		n, err = c.stream.ReadAt(ctx, p, off)
		if !errors.Is(err, io.EOF) {
			c.charge.settle(ctx, err)
		}
		c.doubt(err)
	} else {
		var f *cache.File
		if f, err = c.get(ctx); err != nil {
			return 0, err
		}
		n, err = f.ReadAt(p, off)
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// doubt has what is believed of the blob asked for again, where it was wrong.
func (c *blobContent) doubt(err error) {
	if errors.Is(err, cache.ErrMismatch) || errors.Is(err, registry.ErrCorrupt) {
		c.blob.repo.doubt(c.blob.digest, c.blob.size)
	}
}

func (c *blobContent) get(ctx context.Context) (*cache.File, error) {
	c.mu.Lock()
	f := c.file
	c.mu.Unlock()
	if f != nil {
		return f, nil
	}
	// Not under the lock: each reader of this handle leaves when it is interrupted.
	f, err := c.blob.tree.get(ctx, c.blob.repo.want(c.blob.digest, c.blob.size))
	c.doubt(err)
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
	if c.stream != nil {
		c.stream.Close()
	}
}

// manifestFile is the bytes of a manifest.
type manifestFile struct {
	place
	repo  *repository
	desc  v1.Descriptor
	mtime time.Time
}

func (f *manifestFile) stat() stat { return f.fileStat(f.desc.Digest, f.desc.Size, f.mtime) }

func (f *manifestFile) open(ctx context.Context) (content, error) {
	m, err := f.repo.child(ctx, f.desc)
	if err != nil {
		return nil, err
	}
	return &snapshot{m.Raw}, nil
}

func (f *manifestFile) xattrs() map[string]string { return described(f.desc) }

// small is a file of a few bytes that can't change.
type small struct {
	place
	bytes  []byte
	digest digest.Digest // of what the bytes tell
	mtime  time.Time
}

func (f *small) stat() stat { return f.fileStat(f.digest, int64(len(f.bytes)), f.mtime) }

func (f *small) open(context.Context) (content, error) { return &snapshot{f.bytes}, nil }
