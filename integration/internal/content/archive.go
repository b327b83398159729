package content

import (
	"archive/tar"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"path"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TextFile is a file of text in a large archive. Directories are of no entry.
type TextFile struct {
	Name string
	Size int64 // in bytes
}

// TextFiles gives count files of size bytes each, a hundred in a directory, below top.
func TextFiles(top string, count int, size int64) iter.Seq[TextFile] {
	return func(yield func(TextFile) bool) {
		for i := range count {
			if !yield(TextFile{fmt.Sprintf("%s/part-%02d/module-%03d/source-%06d.txt", top, i/10_000, i/100%100, i), size}) {
				return
			}
		}
	}
}

// Packed says what an archive became.
type Packed struct {
	Digest, DiffID digest.Digest // of what was written, and of what it unpacks to
	Size, Unpacked int64         // of the same, in bytes
}

// WriteArchive writes an archive that may be too big for memory. The media type decides the
// compression, as it does of a Layer. Compression is the fastest, because it takes most of the time.
func WriteArchive(w io.Writer, mediaType string, files iter.Seq[TextFile]) (Packed, error) {
	packed, plain := newCounted(w), (*counted)(nil)
	pack := func() error { return nil }
	switch mediaType {
	case ocispec.MediaTypeImageLayerGzip:
		z, err := gzip.NewWriterLevel(packed, gzip.BestSpeed)
		if err != nil {
			return Packed{}, err
		}
		plain, pack = newCounted(z), z.Close
	case ocispec.MediaTypeImageLayerZstd:
		z, err := zstd.NewWriter(packed, zstd.WithEncoderLevel(zstd.SpeedFastest))
		if err != nil {
			return Packed{}, err
		}
		plain, pack = newCounted(z), z.Close
	default:
		plain = newCounted(packed)
	}
	tw := tar.NewWriter(plain)
	for f := range files {
		h := &tar.Header{Name: f.Name, Mode: 0o644, ModTime: Made, Size: f.Size, Typeflag: tar.TypeReg}
		if err := tw.WriteHeader(h); err != nil {
			return Packed{}, err
		}
		if _, err := io.Copy(tw, f.Open()); err != nil {
			return Packed{}, err
		}
	}
	if err := tw.Close(); err != nil {
		return Packed{}, err
	}
	if err := pack(); err != nil {
		return Packed{}, err
	}
	return Packed{packed.hash.Digest(), plain.hash.Digest(), packed.n, plain.n}, nil
}

// WriteFiles writes the same files to a directory of the disk.
func WriteFiles(dir string, files iter.Seq[TextFile]) error {
	made := ""
	for f := range files {
		name := path.Join(dir, f.Name)
		if above := path.Dir(name); above != made {
			if err := os.MkdirAll(above, 0o755); err != nil {
				return err
			}
			made = above
		}
		out, err := os.Create(name)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, f.Open())
		if cerr := out.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Open gives the file's text, the same for a name on every run. It compresses to about a third, as
// what is in images does.
func (f TextFile) Open() io.Reader {
	h := uint64(14695981039346656037) // FNV-1a
	for _, c := range []byte(f.Name) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return &text{at: int(h % uint64(len(lines))), left: f.Size}
}

// text reads from lines, round and round.
type text struct {
	at   int
	left int64
}

func (t *text) Read(p []byte) (int, error) {
	if t.left == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(int64(len(p)), t.left)], lines[t.at:])
	t.at = (t.at + n) % len(lines)
	t.left -= int64(n)
	return n, nil
}

// lines are made of 2000 words, chosen by chance. They are longer than deflate's window, in which
// nothing comes twice.
var lines = func() []byte {
	r := rand.New(rand.NewPCG(1, 2))
	words := make([]string, 2000)
	for i := range words {
		b := make([]byte, 2+r.IntN(9))
		for k := range b {
			b[k] = byte('a' + r.IntN(26))
		}
		words[i] = string(b)
	}
	var all []byte
	for len(all) < 1<<20 {
		// Some words are much more frequent than others.
		all = append(all, words[int(float64(len(words))*r.Float64()*r.Float64()*r.Float64())]...)
		if r.IntN(10) == 0 {
			all = append(all, '\n')
		} else {
			all = append(all, ' ')
		}
	}
	return all
}()

// counted hashes and counts what is written.
type counted struct {
	to   io.Writer
	hash digest.Digester
	n    int64
}

func newCounted(to io.Writer) *counted { return &counted{to: to, hash: digest.SHA256.Digester()} }

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.hash.Hash().Write(p[:n])
	c.n += int64(n)
	return n, err
}
