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
	s := open(t, t.TempDir(), Options{MaxBytes: 102_400})
	is := func(when string, want Usage) {
		t.Helper()
		if got, err := s.Usage(); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", when, got, err, want)
		}
	}
	is("empty", Usage{Size: 102_400, Free: 102_400})
	fill(t, s, content(1, 30_720))
	is("with a blob", Usage{Size: 102_400, Used: 30_720 + 2048, Free: 69_632})

	src := &source{b: content(2, 40_960)}
	w := src.want()
	rest := make(chan struct{})
	w.Fetch = func(_ context.Context, off, _ int64) (io.ReadCloser, error) {
		more := io.Reader(bytes.NewReader(src.b[off:]))
		if off == 0 {
			more = io.MultiReader(bytes.NewReader(src.b[:10_240]), untilClosed{rest}, bytes.NewReader(src.b[10_240:]))
		}
		return io.NopCloser(more), nil
	}
	c := start(t.Context(), s, w, 1)
	eventually(t, "some came", func() bool { ts := s.Transfers(); return len(ts) == 1 && ts[0].Done == 10_240 })
	is("while more comes", Usage{Size: 102_400, Used: 43_008, Free: 59_392})
	close(rest)
	if o := <-c; o.err != nil {
		t.Fatal(o.err)
	} else {
		_ = o.f.Close()
	}
	is("with both", Usage{Size: 102_400, Used: 73_728, Free: 28_672})
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
