package fs

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"sync"

	"github.com/ocifs/ocifs/fs/internal/caller"
	"github.com/ocifs/ocifs/fs/internal/known"
	"github.com/ocifs/ocifs/fs/internal/node"
)

// wayOf gives how the kernel reads a file that is made of pieces. If all of them are cached, it
// reads through its page cache. If one isn't, it reads directly, so that an interrupt ends the wait
// for it. With Options.Stream it always reads directly: a piece can be evicted while the file is
// open, and its bytes are then shown before they are verified.
func (t *Tree) wayOf(pieces []known.Piece) node.Way {
	if t.opts.Stream {
		return node.Way{Pages: node.UnverifiedPages}
	}
	files := fnv.New64a()
	for _, p := range pieces {
		if p.Kind != known.BlobPiece || p.Size == 0 {
			continue
		}
		f, err := t.store.Open(p.Digest, p.Size)
		if err != nil {
			return node.Way{}
		}
		_ = binary.Write(files, binary.LittleEndian, f.Inode()) // a hash takes everything
		f.Close()
	}
	return node.Way{Mode: node.Cached, Pages: max(files.Sum64(), 1)}
}

// archiveContent is an open archive. A read opens the pieces that it touches. The piece that was
// opened last stays open, so that reads in a row open each piece once.
type archiveContent struct {
	*archiveLayout
	file *archiveFile
	way  node.Way

	mu   sync.Mutex // guards last, and the readers of all pieces
	last *openPiece // nil: none was opened
}

// openPiece is an open piece of an archive. It is closed when it has no reader, and isn't the last
// one that was opened.
type openPiece struct {
	node.Content
	member int // its index in the archive
	// readers counts the reads under way, and one for being the last; archiveContent.mu
	// guards it.
	readers int
}

// ReadAt waits for the pieces that it reads, as a read of their files in blobs/ does.
func (c *archiveContent) ReadAt(ctx context.Context, by caller.Caller, p []byte, off int64) (int, error) {
	n, err := c.tar.ReadAt(p, off, func(member int, p []byte, off int64) error {
		piece, err := c.open(ctx, by, member)
		if err != nil {
			return err
		}
		defer c.release(piece)
		n, err := piece.ReadAt(ctx, by, p, off)
		if err == nil && n < len(p) {
			err = fmt.Errorf("read %s at %d: it ends after %d bytes: %w", c.piece(member).Digest, off, n, io.ErrUnexpectedEOF)
		}
		return err
	})
	return n, atEnd(err)
}

// piece gives the piece with an index in the archive.
func (c *archiveContent) piece(member int) known.Piece {
	return c.pieces[member-(c.tar.Members()-len(c.pieces))]
}

// open opens a piece for one read, and makes it the last one. The caller releases it.
func (c *archiveContent) open(ctx context.Context, by caller.Caller, member int) (*openPiece, error) {
	if last := c.join(member); last != nil {
		return last, nil
	}
	// Without the lock, so that each reader of this handle can be interrupted.
	content, err := c.file.image.pieceFile(c.file.place, c.piece(member)).Open(ctx, by)
	if err != nil {
		return nil, err
	}
	opened := &openPiece{content, member, 2}
	c.mu.Lock()
	before := c.last
	c.last = opened
	c.mu.Unlock()
	c.release(before)
	return opened, nil
}

// join adds a reader to the last piece, if it has this index; else it gives nil.
func (c *archiveContent) join(member int) *openPiece {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil || c.last.member != member {
		return nil
	}
	c.last.readers++
	return c.last
}

// release takes a reader off a piece, and closes the piece if that was its last one. nil is no
// piece.
func (c *archiveContent) release(p *openPiece) {
	if p == nil {
		return
	}
	c.mu.Lock()
	p.readers--
	unused := p.readers == 0
	c.mu.Unlock()
	if unused {
		p.Close()
	}
}

func (c *archiveContent) Way() node.Way { return c.way }

// Close closes the last piece. No read is under way: the kernel releases a file after its reads.
func (c *archiveContent) Close() {
	c.mu.Lock()
	last := c.last
	c.last = nil
	c.mu.Unlock()
	c.release(last)
}
