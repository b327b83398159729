package cache

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/cache/internal/ingest"
)

// An index is a small file that says what is in a blob. It is kept by the digest of the blob that
// it describes, and longer than the blob: no eviction of blobs takes it. Nobody knows the digest of
// an index itself, so that a checksum stands behind its bytes.

// Index is an open index. It is safe for concurrent use. Its bytes stay readable until Close,
// whatever happens to the cache meanwhile.
type Index struct {
	f    *os.File
	size int64 // without the checksum
}

// ReadAt reads as io.ReaderAt does.
func (x *Index) ReadAt(b []byte, off int64) (int, error) {
	return io.NewSectionReader(x.f, 0, x.size).ReadAt(b, off)
}

// Size is the size of the index in bytes.
func (x *Index) Size() int64 { return x.size }

// Close closes the index.
func (x *Index) Close() error { return x.f.Close() }

// indexPath is the file of the index of a blob.
func (l layout) indexPath(of digest.Digest) string {
	hex := of.Encoded()
	return filepath.Join(l.indexes(), of.Algorithm().String(), hex[:2], hex)
}

// PutIndex keeps what write writes as the index of a blob, in place of another one. It is atomic. It
// isn't synced: a sync waits for what others write to the disk, and OpenIndex finds what a power cut
// took. An error leaves what was there; ErrNoSpace is also that of an index that is larger
// than what a trim leaves of the eighth of the bound that indexes take at most.
func (s *Store) PutIndex(of digest.Digest, write func(w io.Writer) error) error {
	if err := of.Validate(); err != nil {
		return fmt.Errorf("index of %q: %w", of, err)
	}
	var room reservation
	defer s.ledger.release(&room)
	path := s.indexPath(of)
	count := func() {}
	err := s.replaceWith(path, func(f *os.File) error {
		w := s.newIndexWriter(f, of)
		w.most = indexGoal(s.limit() / besidesShare)
		w.room = &growth{s: s, of: &room, size: -1}
		room.came = w.written.Load
		if _, err := w.writeAll(write); err != nil {
			return err
		}
		step("temporary written")
		count = s.changeIndex(path)
		return nil
	})
	count()
	if err != nil {
		return fmt.Errorf("keep the index of %s: %w", of, err)
	}
	s.ledger.release(&room)
	s.trimIndexes(s.limit())
	s.evict(0)
	return nil
}

// UnnamedIndex gives an index that is kept nowhere, for when PutIndex fails: it is there until it
// is closed.
func (s *Store) UnnamedIndex(write func(w io.Writer) error) (*Index, error) {
	p, err := s.unnamed()
	if err != nil {
		return nil, fmt.Errorf("an index without a name: %w", err)
	}
	n, err := s.newIndexWriter(p.f, "").writeAll(write)
	if err != nil {
		p.f.Close()
		return nil, fmt.Errorf("an index without a name: %w", err)
	}
	return &Index{p.f, n}, nil
}

// OpenIndex opens the index of a blob; fs.ErrNotExist where none is kept. All of it is hashed
// before. One that is damaged is removed.
func (s *Store) OpenIndex(of digest.Digest) (*Index, error) {
	if err := of.Validate(); err != nil {
		return nil, fmt.Errorf("index of %q: %w", of, err)
	}
	path := s.indexPath(of)
	f, err := os.Open(path)
	switch {
	case err != nil && gone(err):
		return nil, fmt.Errorf("index of %s: %w", of, fs.ErrNotExist)
	case err != nil && !unreadable(err):
		return nil, fmt.Errorf("index of %s: %w", of, err)
	}
	size, why, err := checkIndex(s.ctx, of, f, err)
	if err == nil && why != "" {
		s.log.Warn("damaged index removed", "of", of, "why", why)
		s.removeIndex(path, f)
		err = fmt.Errorf("damaged: %w", fs.ErrNotExist)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("index of %s: %w", of, err)
	}
	if st, err := f.Stat(); err == nil {
		now := s.now()
		if age := now.Sub(st.ModTime()); age > time.Minute || age < 0 {
			_ = os.Chtimes(path, now, now) // recency is a hint
		}
	}
	return &Index{f, size}, nil
}

// DropIndex removes the index of a blob, if one is kept.
func (s *Store) DropIndex(of digest.Digest) {
	if of.Validate() == nil {
		s.removeIndex(s.indexPath(of), nil)
	}
}

// removeIndex removes the file of an index, unless another one than f has its name by now. f is
// nil if whatever has the name is meant.
func (s *Store) removeIndex(path string, f *os.File) {
	if f != nil && !named(f, path) {
		return
	}
	count := s.changeIndex(path)
	_ = os.Remove(path) // or another process has removed it
	count()
}

// changeIndex is called before the file of an index is replaced or removed, and what it gives
// after that: the ledger counts the difference. Nobody counts indexes in between.
func (s *Store) changeIndex(path string) (count func()) {
	s.indexing.Lock()
	before := indexAt(path)
	return func() {
		defer s.indexing.Unlock()
		after := indexAt(path)
		s.ledger.addIndexes(Held{after.Files - before.Files, after.Bytes - before.Bytes})
	}
}

// indexAt counts the file of an index, if it is there.
func indexAt(path string) (h Held) {
	if st, err := os.Lstat(path); err == nil {
		h.add(allocated(st))
	}
	return h
}

// checkIndex hashes an index that was opened as f with the error opened. It gives the size of the
// index without its checksum, and what is wrong with it; "": nothing. An error says that it
// couldn't be told.
func checkIndex(ctx context.Context, of digest.Digest, f *os.File, opened error) (size int64, why string, err error) {
	if opened != nil {
		return 0, fmt.Sprintf("the disk can't open it: %v", opened), nil
	}
	st, err := f.Stat()
	if err != nil {
		return 0, "", err
	}
	if size = st.Size() - sha256.Size; size < 0 || !st.Mode().IsRegular() {
		return 0, "it is no file with a checksum", nil
	}
	h := indexHash(of)
	sum := make([]byte, sha256.Size)
	if err = ingest.HashRange(ctx, h, f, 0, size); err == nil {
		_, err = f.ReadAt(sum, size)
	}
	switch {
	case unreadable(err):
		return 0, fmt.Sprintf("the disk can't read it: %v", err), nil
	case err != nil:
		return 0, "", err
	case !slices.Equal(h.Sum(nil), sum):
		return 0, "its checksum is another one", nil
	}
	return size, "", nil
}

// indexHash begins the checksum of an index with the blob that it is of, so that the index of
// another blob is damaged in its place.
func indexHash(of digest.Digest) hash.Hash {
	h := sha256.New()
	fmt.Fprintln(h, of)
	return h
}

// indexWriter writes an index and then its checksum.
type indexWriter struct {
	s       *Store
	f       *os.File
	hash    hash.Hash
	written atomic.Int64
	most    int64   // bytes that it may have
	room    *growth // nil: nothing is reserved
}

func (s *Store) newIndexWriter(f *os.File, of digest.Digest) *indexWriter {
	return &indexWriter{s: s, f: f, hash: indexHash(of), most: math.MaxInt64}
}

// writeAll writes all of an index, and gives its size without the checksum.
func (w *indexWriter) writeAll(write func(w io.Writer) error) (int64, error) {
	b := bufio.NewWriterSize(w, 256<<10) // as ingest's buffers
	err := write(b)
	if err == nil {
		err = b.Flush()
	}
	size := w.written.Load()
	if err == nil {
		_, err = w.Write(w.hash.Sum(nil))
	}
	return size, err
}

func (w *indexWriter) Write(b []byte) (int, error) {
	at := w.written.Load()
	end := at + int64(len(b))
	if end > w.most {
		return 0, fmt.Errorf("%w: it has more than the %d bytes that all indexes may take", ErrNoSpace, w.most)
	}
	if w.room != nil {
		w.room.upTo(end)
	}
	if err := w.s.write(w.f, b, at); err != nil {
		return 0, err
	}
	w.hash.Write(b)
	w.written.Store(end)
	return len(b), nil
}

// walkIndexes lists the indexes, by the blobs that they are of, as walkBlobs does the blobs.
func (l layout) walkIndexes(ctx context.Context, each func(blobEntry) error) error {
	return walkByDigest(ctx, l.indexes(), l.indexPath, each)
}

// countIndexes counts what the indexes take.
func (s *Store) countIndexes() {
	s.indexing.Lock()
	defer s.indexing.Unlock()
	var all Held
	err := s.walkIndexes(s.ctx, func(x blobEntry) error { all.add(x.bytes); return nil })
	if err == nil { // else the store ends
		s.ledger.setIndexes(all)
	}
}

// indexGoal is how many bytes indexes may take after a trim, if they may take share. No index is
// larger, or it would go as soon as it is there.
func indexGoal(share int64) int64 { return share - share/100*(100-lowWatermark) }

// trimIndexes removes the indexes that weren't used for longest, where they take more than their
// share of limit.
func (s *Store) trimIndexes(limit int64) {
	share := limit / besidesShare
	if s.ledger.sums().indexes.Bytes <= share {
		return
	}
	s.indexing.Lock()
	defer s.indexing.Unlock()
	var found []blobEntry
	var left Held
	err := s.walkIndexes(s.ctx, func(x blobEntry) error {
		found = append(found, x)
		left.add(x.bytes)
		return nil
	})
	if err != nil {
		return // the store ends
	}
	byUse(found, s.now())
	goal := indexGoal(share)
	if left.Bytes <= share { // others removed some
		goal = left.Bytes
	}
	for _, x := range found {
		if left.Bytes <= goal {
			break
		}
		if err := os.Remove(s.indexPath(x.digest)); err != nil && !gone(err) {
			s.degrade(fmt.Errorf("remove the index of %s: %w", x.digest, err))
			break
		}
		left.Files--
		left.Bytes -= x.bytes
		step("index evicted")
	}
	s.ledger.setIndexes(left)
}
