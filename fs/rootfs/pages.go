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
	kept []atomic.Pointer[page] // by the page's number, modulo their count
}

// pageSize is a page of the kernel's cache, in bytes.
const pageSize = 4 << 10

// How many pages an Index keeps of each kind: 80 KiB in all, 20 MiB for an image of 255 layers. A
// kind has pages of its own, so that a listing doesn't read the page of its classes again and
// again.
const (
	keptInodes  = 8
	keptClasses = 4
	keptOthers  = 8
)

func newPages(r io.ReaderAt, size int64, keep int) *pages {
	return &pages{r: r, size: size, kept: make([]atomic.Pointer[page], keep)}
}

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
	slot := &c.kept[n%int64(len(c.kept))]
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
