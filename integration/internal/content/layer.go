package content

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Made is the time of everything that is made here.
var Made = time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)

// File is a file of a layer: a name that ends in a slash is a directory, a
// Link a symbolic link.
type File struct {
	Name, Text, Link string
	Mode             int64 // 0: 0644, or 0755 for directories
}

// Layer is a layer before it is pushed.
type Layer struct {
	// MediaType decides the compression: gzip for Docker's and +gzip, zstd
	// for +zstd, else none.
	MediaType string
	Files     []File
	// Archive is the layer's archive; nil: that of Files.
	Archive []byte
	// Packed is the blob as it is pushed; nil: the archive, packed as MediaType says.
	Packed []byte
	// DiffID is what the config promises; empty: the digest of the archive.
	DiffID digest.Digest
}

// Tar gives the files as an archive, the same bytes every time.
func Tar(files []File) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.Name, Mode: f.Mode, ModTime: Made, Size: int64(len(f.Text)), Typeflag: tar.TypeReg, Format: tar.FormatPAX}
		switch {
		case f.Link != "":
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, f.Link, 0
		case f.Name[len(f.Name)-1] == '/':
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		mustWrite(w.WriteHeader(h))
		if h.Typeflag == tar.TypeReg {
			_, err := w.Write([]byte(f.Text))
			mustWrite(err)
		}
	}
	mustWrite(w.Close())
	return b.Bytes()
}

// pack gives the layer's bytes, and the diff ID that the config promises.
func (l Layer) pack() (packed []byte, diffID digest.Digest) {
	plain := l.Archive
	if plain == nil {
		plain = Tar(l.Files)
	}
	diffID = l.DiffID
	if diffID == "" {
		diffID = digest.FromBytes(plain)
	}
	if l.Packed != nil {
		return l.Packed, diffID
	}
	var b bytes.Buffer
	switch l.MediaType {
	case DockerLayer, ocispec.MediaTypeImageLayerGzip:
		w := gzip.NewWriter(&b)
		_, err := w.Write(plain)
		mustWrite(err)
		mustWrite(w.Close())
	case ocispec.MediaTypeImageLayerZstd:
		w, err := zstd.NewWriter(&b)
		mustWrite(err)
		_, err = w.Write(plain)
		mustWrite(err)
		mustWrite(w.Close())
	default:
		b.Write(plain)
	}
	return b.Bytes(), diffID
}

// mustWrite is for writers into memory, which fail only where this package is
// wrong.
func mustWrite(err error) {
	if err != nil {
		panic(fmt.Sprintf("making content: %v", err))
	}
}

// Noise gives size bytes that can't be compressed, the same for a seed on every
// run and different in every block, at the speed of memory.
func Noise(seed uint64, size int64) io.Reader {
	n := &noise{left: size}
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
	r.Read(n.block[:])
	n.at = len(n.block)
	return n
}

type noise struct {
	block [1 << 20]byte
	at    int // what of block was given
	count uint64
	left  int64
}

func (n *noise) Read(p []byte) (int, error) {
	if n.left == 0 {
		return 0, io.EOF
	}
	if n.at == len(n.block) {
		n.count++
		binary.LittleEndian.PutUint64(n.block[:], n.count)
		n.at = 0
	}
	if int64(len(p)) > n.left {
		p = p[:n.left]
	}
	c := copy(p, n.block[n.at:])
	n.at += c
	n.left -= int64(c)
	return c, nil
}

// NoiseBytes is Noise in memory.
func NoiseBytes(seed uint64, size int64) []byte {
	b, err := io.ReadAll(Noise(seed, size))
	mustWrite(err)
	return b
}
