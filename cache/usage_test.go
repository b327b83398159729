package cache

import (
	"bytes"
	"context"
	"io"
	"testing"
)

// A store tells its bound, what it takes, and what is left; downloads under way count by
// what they have brought.
func TestUsage(t *testing.T) {
	s := open(t, t.TempDir(), Options{MaxBytes: 100_000})
	is := func(when string, want Usage) {
		t.Helper()
		if got, err := s.Usage(); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", when, got, err, want)
		}
	}
	is("empty", Usage{Size: 100_000, Free: 100_000})
	fill(t, s, content(1, 30_000))
	is("with a blob", Usage{Size: 100_000, Used: 30_000, Free: 70_000})

	src := &source{b: content(2, 40_000)}
	w := src.want()
	rest := make(chan struct{})
	w.Fetch = func(_ context.Context, off, _ int64) (io.ReadCloser, error) {
		more := io.Reader(bytes.NewReader(src.b[off:]))
		if off == 0 {
			more = io.MultiReader(bytes.NewReader(src.b[:10_000]), untilClosed{rest}, bytes.NewReader(src.b[10_000:]))
		}
		return io.NopCloser(more), nil
	}
	c := start(t.Context(), s, w, 1)
	eventually(t, "some came", func() bool { ts := s.Transfers(); return len(ts) == 1 && ts[0].Done == 10_000 })
	is("while more comes", Usage{Size: 100_000, Used: 40_000, Free: 60_000})
	close(rest)
	if o := <-c; o.err != nil {
		t.Fatal(o.err)
	} else {
		_ = o.f.Close()
	}
	is("with both", Usage{Size: 100_000, Used: 70_000, Free: 30_000})
}

// untilClosed is a reader without bytes that ends when its channel is closed.
type untilClosed struct{ until chan struct{} }

func (u untilClosed) Read([]byte) (int, error) {
	<-u.until
	return 0, io.EOF
}

// No store claims more than its disk has, nor as free what the disk hasn't free.
func TestUsageOfASmallDisk(t *testing.T) {
	s := open(t, t.TempDir(), Options{MaxBytes: 1 << 60})
	disk, err := s.Space()
	if err != nil {
		t.Fatal(err)
	}
	u, err := s.Usage()
	if err != nil || u.Size != disk.Size || u.Free <= 0 || u.Free > disk.Free+disk.Size/10 { // others write as well
		t.Errorf("%+v, %v, on a disk of %+v", u, err, disk)
	}
}
