package registry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"sync"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Source is the bytes of a blob that is pushed. They are read from any offset, as
// often as needed, by one goroutine at a time.
type Source interface {
	io.ReaderAt
	io.Closer
}

// An Opener opens the bytes of a blob. PushBlob calls it once, when bytes are needed, and not at
// all where the registry has the blob. Whoever called it closes the Source.
type Opener = func(context.Context) (Source, error)

// FromBytes gives the opener of bytes in memory, which mustn't change while they are pushed.
func FromBytes(b []byte) Opener {
	return func(context.Context) (Source, error) { return memory{bytes.NewReader(b)}, nil }
}

type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

// FromFile gives the opener of a file, which mustn't change while it is pushed.
func FromFile(path string) Opener {
	return func(context.Context) (Source, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		return f, nil
	}
}

// FromReader gives the opener of bytes that can be read once: a pipe, or a blob that another
// registry sends. open is called when the push needs bytes, once at most. Its reader is copied into
// a temporary file and closed before the first byte is sent. More than limit bytes are an error,
// ErrTooLarge, as of Spool.
func FromReader(open func(context.Context) (io.ReadCloser, error), limit int64) Opener {
	return func(ctx context.Context) (Source, error) {
		r, err := open(ctx)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		s, err := Spool(ctx, r, limit)
		if err != nil {
			return nil, err
		}
		return s.file, nil
	}
}

// Spooled is a copy of what a reader gave, in a temporary file.
type Spooled struct {
	Descriptor v1.Descriptor // the digest (SHA-256) and the size; its media type is for the caller to say
	file       *spoolFile
}

// Spool copies a reader into a temporary file (os.TempDir) and computes its digest. A push needs
// both: the digest before the first byte is sent, and the bytes once more after it breaks off.
// The file has no name, so that nothing of it is left when the process ends; on Windows
// Close removes it. More than limit bytes are an error, ErrTooLarge. A reader that waits isn't
// interrupted by ctx: it is looked at between reads.
//
// Close gives the disk's space back.
func Spool(ctx context.Context, r io.Reader, limit int64) (*Spooled, error) {
	limit = min(limit, math.MaxInt64-1)
	f, err := newSpoolFile()
	if err != nil {
		return nil, err
	}
	hash := digest.Canonical.Hash()
	n, err := io.Copy(io.MultiWriter(f, hash), io.LimitReader(ctxReader{ctx, r}, limit+1))
	if err == nil && n > limit {
		err = fmt.Errorf("%w: the reader gives more than the %d bytes that are allowed", ErrTooLarge, limit)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("spooling a blob: %w", err)
	}
	return &Spooled{v1.Descriptor{Digest: digest.NewDigest(digest.Canonical, hash), Size: n}, f}, nil
}

// Open is an Opener. The Source is open for as long as the Spooled.
func (s *Spooled) Open(context.Context) (Source, error) { return stays{s.file}, nil }

// Close removes the copy.
func (s *Spooled) Close() error { return s.file.Close() }

// stays is a Source that its owner closes.
type stays struct{ io.ReaderAt }

func (stays) Close() error { return nil }

// ctxReader ends with its context.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (r ctxReader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(b)
}

// spoolFile is a temporary file.
type spoolFile struct {
	*os.File
	close func() error
}

func newSpoolFile() (*spoolFile, error) {
	f, err := os.CreateTemp("", "registry-push-")
	if err != nil {
		return nil, err
	}
	removed := os.Remove(f.Name()) == nil // not so on Windows
	return &spoolFile{f, sync.OnceValue(func() error {
		err := f.Close()
		if !removed {
			_ = os.Remove(f.Name()) // nothing hangs on it: it is in the system's place for such files
		}
		return err
	})}, nil
}

func (f *spoolFile) Close() error { return f.close() }
