package ingest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/cache/internal/lanes"
)

// A blob that comes while others keep the processors busy is hashed from the bytes that came, and the
// file isn't read again. One that comes alone is hashed from the file, and so are as many as lanes hash
// together. The test tells by a file that has other bytes.
func TestBlobsThatKeepTheProcessorsBusyAreHashedAsTheyCome(t *testing.T) {
	b := bytes.Repeat([]byte("blob"), 1<<20)
	busy := int64(max(2, runtime.GOMAXPROCS(0)))
	var many error
	if lanes.Gather(1000) {
		many = ErrMismatch
	}
	for _, row := range []struct {
		others int64
		want   error
	}{{0, ErrMismatch}, {busy - 2, ErrMismatch}, {busy - 1, nil}, {1000, many}} {
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var coming atomic.Int64
		coming.Store(row.others)
		in := New(
			Blob{Digest: digest.FromBytes(b), Size: int64(len(b)), Fetch: func(_ context.Context, off, _ int64) (io.ReadCloser, error) {
				return io.NopCloser(bytes.NewReader(b[off:])), nil
			}},
			Options{Coming: &coming, Write: func(f *os.File, p []byte, off int64) error {
				_, err := f.WriteAt(make([]byte, len(p)), off)
				return err
			}})
		if _, err := in.Run(t.Context(), f, func() {}); !errors.Is(err, row.want) {
			t.Errorf("beside %d others: %v, want %v", row.others, err, row.want)
		}
		if n := coming.Load(); n != row.others {
			t.Errorf("%d blobs come, want %d", n, row.others)
		}
	}
}

// Bytes that can't be handed over are read from the file: what an earlier ingest left, and what stands
// behind a gap.
func TestWhatIsntHandedOverIsReadFromTheFile(t *testing.T) {
	b := bytes.Repeat([]byte("blob"), 1<<20)
	const hole = 1 << 20 // bytes, after as many that are there; the rest is there too
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, s := range []span{{0, hole}, {2 * hole, int64(len(b))}} {
		if _, err := f.WriteAt(b[s.from:s.to], s.from); err != nil {
			t.Fatal(err)
		}
	}
	var coming, fetched atomic.Int64
	coming.Store(1000)
	in := New(
		Blob{Digest: digest.FromBytes(b), Size: int64(len(b)), Fetch: func(_ context.Context, off, n int64) (io.ReadCloser, error) {
			fetched.Add(n)
			return io.NopCloser(bytes.NewReader(b[off : off+n])), nil
		}},
		Options{Coming: &coming})
	if size, err := in.Run(t.Context(), f, func() {}); err != nil || size != int64(len(b)) {
		t.Errorf("%d bytes, %v", size, err)
	}
	// The block before a hole is fetched too, as it may be written in part.
	if n := fetched.Load(); n < hole || n > hole+64<<10 {
		t.Errorf("%d bytes were fetched, want %d and a block", n, hole)
	}
}
