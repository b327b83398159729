package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ocifs/ocifs/cache/internal/ingest"
)

// heldBack is how much of a blob's end is shown only when all of it has matched, at
// most. A blob that isn't larger is held back whole.
const heldBack = 1 << 20

// Stream is a blob that is read while it comes. What is shown may turn out to be wrong,
// but it is never all of it: the end is held back until the whole has matched its digest
// and its size, and where it doesn't, every read from then on is ErrMismatch. It is safe
// for concurrent use.
type Stream struct {
	s *Store
	w Want

	mu      sync.Mutex      // guards what follows; nothing is waited for under it; before Store.mu
	finding chan struct{}   // closed when the read that looks for the blob is through; nil: none does
	dl      *download       // the download that the stream waits for, with a place in it
	shown   *ingest.Attempt // what some of the blob was read from; nil: nothing was shown early
	file    *File           // the whole blob; nil: it hasn't come
	err     error           // of every read from now on
	closed  bool
}

// Stream gives a blob to read while it comes. Nothing is fetched before the first read;
// from then on the download lives for as long as the stream is open. Close must be
// called.
func (s *Store) Stream(w Want) *Stream { return &Stream{s: s, w: w} }

// ReadAt reads as io.ReaderAt does, and waits for what it reads, but no longer than ctx
// lasts.
func (st *Stream) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	for {
		dl, file, err := st.source(ctx)
		if examined(err) {
			// Without the lock, so that each reader can leave.
			if err = st.s.examineAfter(ctx, st.w, err); err == nil {
				continue
			}
		}
		if err != nil {
			return 0, err
		}
		if file != nil {
			return file.ReadAt(p, off)
		}
		// Nothing of the end before it is verified: the file has it then.
		end := min(off+int64(len(p)), st.w.Size)
		early := off < end && end <= (st.w.Size-1)/heldBack*heldBack
		in, err := dl.readable(ctx, off, end, early)
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if in, err = st.show(dl, in, err); err != nil {
			return 0, err
		}
		if in == nil {
			continue
		}
		n, err := in.ReadAt(p[:end-off], off)
		if dl.in.Attempt() != in {
			continue // it was given up meanwhile: the next turn tells why
		}
		if err != nil {
			err = fmt.Errorf("read %s while it comes: %w", st.w.Digest, err)
		}
		return n, err
	}
}

// source gives what is read: the file, or the download that it comes by. One read looks
// for it, and the others wait for that read, each no longer than its own ctx lasts.
func (st *Stream) source(ctx context.Context) (*download, *File, error) {
	for {
		st.mu.Lock()
		finding := st.finding
		switch {
		case st.closed:
			st.mu.Unlock()
			return nil, nil, ErrClosed
		case st.err != nil || st.file != nil || st.dl != nil:
			defer st.mu.Unlock()
			return st.dl, st.file, st.err
		case finding == nil:
			st.finding = make(chan struct{})
			st.mu.Unlock()
			dl, file, err := st.find(ctx)
			return st.found(dl, file, err)
		}
		st.mu.Unlock()
		select {
		case <-finding:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

// find looks for the blob: in the cache, or in a download of this want. Where a download
// of another want is under way, which may fail, or be slow, it waits for the whole.
func (st *Stream) find(ctx context.Context) (*download, *File, error) {
	file, err := st.s.Open(st.w.Digest, st.w.Size)
	if err == nil {
		return nil, file, nil
	}
	if examined(err) {
		return nil, nil, err
	}
	dl, _, err := st.s.join(ctx, st.w, false)
	if err != nil || dl.is(st.w) {
		return dl, nil, err
	}
	st.s.leave(dl)
	file, err = st.s.Get(ctx, st.w)
	return nil, file, err
}

// found takes note of what find gave, and lets the reads go on that wait for it. Where the
// stream was closed meanwhile, what was found is given back.
func (st *Stream) found(dl *download, file *File, err error) (*download, *File, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	close(st.finding)
	st.finding = nil
	switch {
	case err != nil:
		return nil, nil, err
	case st.closed:
		return nil, nil, errors.Join(ErrClosed, st.s.giveBack(dl, file))
	}
	st.dl, st.file = dl, file
	return dl, file, nil
}

// show takes note of what is going to be shown, or of the download's end.
func (st *Stream) show(dl *download, in *ingest.Attempt, err error) (*ingest.Attempt, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case st.closed:
		return nil, ErrClosed
	case st.dl != dl || st.err != nil || st.file != nil: // another read was first
		return nil, st.err
	case err != nil && st.shown == nil:
		st.dl = nil // the next read begins anew
		return nil, err
	case err != nil:
		st.err = err
	case st.shown != nil && dl.in.Attempt() != st.shown: // it was fetched anew since
		st.err = fmt.Errorf("%w: %s: what was shown of it", ErrMismatch, st.w.Digest)
	case in != nil:
		st.shown = in
	case st.w.Size >= 0 && dl.file.size != st.w.Size: // another process was first, and the want is wrong
		st.err = wrongSize(st.w, dl.file.size)
	default:
		st.file = &File{s: dl.file}
	}
	return in, st.err
}

// Close closes the stream. A second call does nothing. The download of a blob that nobody
// reads any more holds still for the grace period, and then ends.
func (st *Stream) Close() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed {
		return nil
	}
	st.closed = true
	return st.s.giveBack(st.dl, st.file)
}

// giveBack gives back what a stream holds: its file, or its place in a download.
func (s *Store) giveBack(dl *download, file *File) error {
	switch {
	case file != nil:
		return file.Close()
	case dl != nil:
		s.leaveStill(dl)
	}
	return nil
}

// readable waits for a download's end, or, where early, for bytes of it to have come,
// and gives what they can be read from then: nil where all of it is verified.
func (dl *download) readable(ctx context.Context, from, to int64, early bool) (*ingest.Attempt, error) {
	for {
		moved := dl.in.Changed()
		select {
		case <-dl.ended:
			return nil, dl.err
		default:
		}
		if in := dl.in.Attempt(); early && in != nil && in.Has(from, to) {
			return in, nil
		}
		if !early {
			moved = nil
		}
		select {
		case <-dl.ended:
			return nil, dl.err
		case <-moved:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
