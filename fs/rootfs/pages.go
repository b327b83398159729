package rootfs

import (
	"io"
	"sync/atomic"
)

// pages reads small pieces of an index by whole pages, and keeps a few of them. A binary search
// and the records that follow each other in a listing then need few reads.
type pages struct {
	r    io.ReaderAt
	size int64
	kept [keptPages]atomic.Pointer[page]
}

const (
	pageSize  = 4 << 10
	keptPages = 16 // 64 KiB an Index: 16 MiB for an image of 255 layers
)

// page is one page. It doesn't change.
type page struct {
	n int64
	b []byte
}

// ReadAt fills p, as io.ReaderAt does. It doesn't keep large pieces.
func (c *pages) ReadAt(p []byte, off int64) (int, error) {
	if len(p) > pageSize {
		return c.r.ReadAt(p, off)
	}
	done := 0
	for done < len(p) {
		g, err := c.page((off + int64(done)) / pageSize)
		if err != nil {
			return done, err
		}
		n := copy(p[done:], g.b[min(int64(len(g.b)), (off+int64(done))%pageSize):])
		if n == 0 {
			return done, io.EOF
		}
		done += n
	}
	return done, nil
}

func (c *pages) page(n int64) (*page, error) {
	slot := &c.kept[uint64(n)%keptPages]
	if g := slot.Load(); g != nil && g.n == n {
		return g, nil
	}
	if n*pageSize >= c.size {
		return nil, io.EOF
	}
	g := &page{n: n, b: make([]byte, min(pageSize, c.size-n*pageSize))}
	if err := readFull(c.r, g.b, n*pageSize); err != nil {
		return nil, err
	}
	slot.Store(g)
	return g, nil
}
