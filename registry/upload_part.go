package registry

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// part is some of a blob's bytes as the body of a request. An http.Transport may
// go on reading a body that was answered early, or that it gave up: only the newest
// reader gets any bytes, and none once the part has ended.
type part struct {
	u       *upload
	from, n int64
	growth  *growth // nil: n says where it ends

	mu  sync.Mutex
	cur *partReader
	err error // of the source
}

type partReader struct {
	p    *part
	at   int64 // from the part's start
	sect *io.SectionReader
}

func (p *part) size() int64 {
	if p.growth != nil {
		return unknownSize
	}
	return p.n
}

// work is how many bytes the registry is to hash before it answers.
func (p *part) work() int64 {
	if p.growth != nil {
		return growthWork
	}
	return p.n
}

// length is how many bytes the part turned out to have, or -1 where its end wasn't
// read.
func (p *part) length() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}

func (p *part) open() (io.ReadCloser, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.growth != nil {
		p.n = -1
		p.cur = &partReader{p: p}
		return &growingReader{partReader: p.cur, closed: make(chan struct{})}, nil
	}
	p.cur = &partReader{p, 0, io.NewSectionReader(p.u.src, p.from, p.n)}
	return p.cur, nil
}

// end returns when nobody reads any more, and gives what went wrong with the source.
func (p *part) end() error {
	if p.growth != nil {
		p.growth.stop()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cur = nil
	return p.err
}

var errPartOver = errors.New("another attempt has taken over")

func (r *partReader) Read(b []byte) (int, error) {
	p := r.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cur != r {
		return 0, errPartOver
	}
	n, err := r.sect.Read(b)
	r.at += int64(n)
	if err == io.EOF && r.at < p.n {
		err = fmt.Errorf("it ends after %d bytes: %w", p.from+r.at, io.ErrUnexpectedEOF)
	}
	if err != nil && err != io.EOF {
		p.err = err
	}
	if n > 0 {
		p.u.sent(p.from+r.at, n)
	}
	return n, err
}

// Close leaves the source open: others read from it.
func (r *partReader) Close() error { return nil }

// sent takes note of bytes that left, up to an offset. Its calls follow one another.
func (u *upload) sent(upTo int64, n int) {
	u.high = max(u.high, upTo)
	u.done.Sent += int64(n)
	if u.progress != nil {
		u.progress(upTo)
	}
}
