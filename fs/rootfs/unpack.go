package rootfs

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"math"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Limits bounds what a blob may unpack to.
type Limits struct {
	Bytes int64 // at most so many bytes; 0: no bound
	// Packed is the size of the blob in bytes. A blob may unpack to 1000 times its size, or
	// to 1 GiB if that is more.
	Packed int64
}

// Bounds of what a blob may unpack to by its own size. Deflate reaches 1032:1 at most, on zeros.
const (
	maxRatio  = 1000
	freeBytes = 1 << 30 // that any blob may unpack to
)

// maxWindow is the largest window of zstd that is read: `zstd --long` writes 128 MiB.
const maxWindow = 128 << 20

// packedBuffer is how much is read at once of what is packed.
const packedBuffer = 256 << 10

// most gives the largest size that is allowed.
func (l Limits) most() int64 {
	most := int64(math.MaxInt64)
	if l.Packed < math.MaxInt64/maxRatio {
		most = max(freeBytes, l.Packed*maxRatio)
	}
	if l.Bytes > 0 {
		most = min(most, l.Bytes)
	}
	return most
}

// Unpack gives the archive that is packed in r. The first bytes tell how it is packed, whatever
// the media type says: gzip, zstd, bzip2, or not at all. Its reads fail with ErrTooLarge beyond
// the limits, with ErrCorrupt where the packing is malformed, and with ErrNoArchive where it can't
// be read. An error of r comes back as it is. What follows the last member of a gzip, or the last
// frame of a zstd, is read and left out. When Unpack gives io.EOF, all of r has been read. Close
// must be called; it doesn't close r.
func Unpack(r io.Reader, l Limits) (io.ReadCloser, error) {
	src := &packed{r: r}
	u := &unpacker{src: src, buf: bufio.NewReaderSize(src, packedBuffer), most: l.most()}
	b, err := u.buf.Peek(block)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(b, gzipMagic):
		u.r = &members{buf: u.buf}
	case bytes.HasPrefix(b, zstdMagic), isSkippable(b):
		z, err := zstd.NewReader(u.buf, zstd.WithDecoderConcurrency(zstdThreads), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		u.r, u.close = z, z.Close
	case bytes.HasPrefix(b, []byte("BZh")):
		u.r = bzip2.NewReader(u.buf)
	case len(b) == 0, beginsTar(b):
		u.r = u.buf
	default:
		return nil, fmt.Errorf("%w: neither tar, nor gzip, zstd or bzip2", ErrNoArchive)
	}
	return u, nil
}

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// isSkippable says whether a skippable frame of zstd begins here: RFC 8878, section 3.1.2.
func isSkippable(b []byte) bool {
	return len(b) >= 4 && b[0]&0xf0 == 0x50 && b[1] == 0x2a && b[2] == 0x4d && b[3] == 0x18
}

// zstdThreads is how many goroutines decode one zstd. A second one takes 15 % more CPU time
// (measured 2026, klauspost/compress 1.20.4), and Close would wait for its read of r. Layers are
// unpacked side by side instead.
const zstdThreads = 1

// packed is the reader below. It keeps its error, which tells a failed read from a malformed
// packing.
type packed struct {
	r   io.Reader
	err atomic.Pointer[error] // other than io.EOF; a decoder may read in a goroutine of its own
}

func (p *packed) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if err != nil && err != io.EOF {
		p.err.CompareAndSwap(nil, &err)
	}
	return n, err
}

// unpacker is what Unpack gives.
type unpacker struct {
	src   *packed
	buf   *bufio.Reader // of src
	r     io.Reader     // the decoder, which reads buf
	close func()        // ends the decoder; nil: nothing to do
	most  int64         // bytes that may be given
	n     int64         // bytes that were given
	err   error         // what ended it
}

func (u *unpacker) Read(p []byte) (int, error) {
	if u.err != nil {
		return 0, u.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := u.r.Read(p)
	if int64(n) > u.most-u.n {
		n = int(u.most - u.n)
		err = fmt.Errorf("%w: more than %d bytes", ErrTooLarge, u.most)
	} else if err != nil {
		err = u.ended(err, u.n+int64(n))
	}
	u.n, u.err = u.n+int64(n), err
	return n, err
}

// ended says what an error of the decoder means, after n bytes.
func (u *unpacker) ended(err error, n int64) error {
	if kept := u.src.err.Load(); kept != nil {
		return *kept
	}
	switch {
	case err == io.EOF:
		return u.drain()
	case errors.Is(err, zstd.ErrMagicMismatch) && n > 0:
		return u.drain() // what follows the last frame
	case errors.Is(err, zstd.ErrMagicMismatch), errors.Is(err, zstd.ErrUnknownDictionary):
		return fmt.Errorf("%w: %w", ErrNoArchive, err)
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return fmt.Errorf("%w: the window is larger than %d MiB: %w", ErrNoArchive, maxWindow>>20, err)
	case err == io.ErrUnexpectedEOF:
		return fmt.Errorf("%w: it breaks off", ErrCorrupt)
	}
	return fmt.Errorf("%w: %w", ErrCorrupt, err)
}

// drain reads what is left of the reader below, and gives io.EOF.
func (u *unpacker) drain() error {
	for {
		if _, err := u.buf.Discard(1 << 20); err != nil {
			return err
		}
	}
}

// Close ends the decoder. Reads fail afterwards.
func (u *unpacker) Close() error {
	if u.close != nil {
		u.close()
		u.close = nil
	}
	if u.err == nil {
		u.err = errors.New("read of a closed archive")
	}
	return nil
}

// members reads the members of a gzip, one after the other: RFC 1952, section 2.2. It ends at the
// first byte that begins no member, where gzip's own way to read several is an error.
type members struct {
	buf *bufio.Reader
	z   *gzip.Reader // of the member that is read; nil: none has begun
}

func (m *members) Read(p []byte) (int, error) {
	for {
		if m.z == nil {
			z, err := gzip.NewReader(m.buf)
			if err != nil {
				return 0, unexpected(err)
			}
			z.Multistream(false)
			m.z = z
		}
		n, err := m.z.Read(p)
		if err != io.EOF {
			return n, err
		}
		if n > 0 {
			return n, nil // the next read gives io.EOF again
		}
		b, err := m.buf.Peek(len(gzipMagic))
		if !bytes.Equal(b, gzipMagic) {
			if err == nil {
				err = io.EOF
			}
			return 0, err
		}
		if err := m.z.Reset(m.buf); err != nil {
			return 0, unexpected(err)
		}
		m.z.Multistream(false)
	}
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
