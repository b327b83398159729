package layers

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/fs/rootfs"
)

// opened is an index in use, whose file is open. When it isn't among Layers.opened any more, each
// read opens the file again, for those who still have the rootfs.Index.
type opened struct {
	store *cache.Store
	of    digest.Digest // the packed blob
	index *rootfs.Index

	mu   sync.RWMutex // guards file
	file *cache.Index // nil: closed
}

func (o *opened) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file != nil {
		o.file.Close()
		o.file = nil
	}
}

// ReadAt reads from the index. Whatever fails is rootfs.ErrIndex: the index can be made anew.
func (o *opened) ReadAt(p []byte, off int64) (int, error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	f := o.file
	if f == nil {
		var err error
		if f, err = o.store.OpenIndex(o.of); err != nil {
			return 0, fmt.Errorf("%w: %v", rootfs.ErrIndex, err) // it mustn't be taken for a missing name
		}
		defer f.Close()
	}
	n, err := f.ReadAt(p, off)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %w", rootfs.ErrIndex, err)
	}
	return n, err
}

// kept gives the index of a layer that was unpacked before; nil: there is none.
func (s *Layers) kept(packed digest.Digest) *rootfs.Index {
	if o, ok := s.opened.Get(packed); ok {
		return o.index
	}
	f, err := s.o.Store.OpenIndex(packed)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("index not opened", "layer", packed, "cause", err)
		}
		return nil
	}
	o := &opened{store: s.o.Store, of: packed, file: f}
	o.index, err = rootfs.Open(o, f.Size())
	if err != nil || o.index.Meta().Packed != packed {
		// It is of another version of ocifs: a new one is made.
		f.Close()
		s.o.Store.DropIndex(packed)
		return nil
	}
	if was, ok, _ := s.opened.PeekOrAdd(packed, o); ok { // another was first
		f.Close()
		return was.index
	}
	return o.index
}
