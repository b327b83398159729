package upload

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// names in which a crowd works: staged ones, blobs by any name and by digest, in directories
// that come and go.
var crowdNames = []string{"a.tmp", "b.tmp", "blobs/x", "blobs/y", "v1/c.tmp", "v1/blobs/sha256/" + digest.FromString("small").Encoded(), "v2/d.tmp"}

// Many programs that do anything at once to the same names, and are interrupted now and then,
// end. Whatever they left, the disk has the names and the bytes of the tree, and the budget
// counts those. Nothing is counted once all is removed.
func TestACrowdLeavesTheDiskAsTheTreeIs(t *testing.T) {
	b := newBench(t)
	b.area.early, b.area.attendAfter, b.area.deferFor, b.area.pace = 1<<20, time.Millisecond, time.Millisecond, time.Millisecond
	_, blob := b.borrowed()
	b.ok(b.write("warm.tmp", nil))
	deadline := time.Now().Add(2 * time.Second)
	var wg sync.WaitGroup
	for n := range 6 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(n), 1))
			for time.Now().Before(deadline) {
				b.act(r, blob)
			}
		})
	}
	ended := make(chan struct{})
	go func() { wg.Wait(); b.area.work.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("the crowd hangs")
	}
	total := b.compare(b.top)
	if got := b.area.Staged(); got != total {
		t.Errorf("%d bytes are counted, and %d are on the disk", got, total)
	}
	if waiting, _ := filepath.Glob(filepath.Join(b.area.dir, adoptName, "*")); len(waiting) > 0 {
		t.Errorf("the cache didn't get %q", waiting)
	}
	b.removeAll(b.top)
	if got := b.area.Staged(); got != 0 {
		t.Errorf("%d bytes are counted once all is removed", got)
	}
}

// act does one thing of those that programs do.
func (b *bench) act(r *rand.Rand, blob Blob) {
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Duration(r.IntN(20_000))*time.Microsecond)
	defer cancel()
	path := crowdNames[r.IntN(len(crowdNames))]
	d := b.reach(ctx, filepath.Dir(path))
	if d == nil {
		return
	}
	name := filepath.Base(path)
	switch r.IntN(9) {
	case 0:
		_ = d.Unlink(ctx, name)
	case 1:
		other := crowdNames[r.IntN(len(crowdNames))]
		if to := b.reach(ctx, filepath.Dir(other)); to != nil {
			_ = d.Rename(ctx, name, to, filepath.Base(other), true, nil)
		}
	case 2:
		b.top.List()
		d.List()
		b.top.Attr()
	case 3:
		_ = b.top.Rmdir(ctx, "v2")
	case 4:
		_, _ = d.Link(ctx, name, blob, nil)
	case 5:
		size := int64(r.IntN(3000))
		if f := b.fileAt(ctx, d, name); f != nil {
			_ = f.Set(ctx, nil, Change{Size: &size})
			_, _ = f.readAll(ctx, 1<<20)
		}
	default:
		b.writeSome(ctx, r, d, name, blob)
	}
}

// reach finds a directory, and makes it where it isn't; nil: it can't be had now.
func (b *bench) reach(ctx context.Context, path string) *Dir {
	d := b.top
	for part := range strings.SplitSeq(path, "/") {
		if part == "." {
			continue
		}
		n, err := d.Staged(ctx, part)
		if err != nil {
			n, err = d.Mkdir(ctx, part, 0o755)
		}
		if err != nil {
			return nil
		}
		d = n.(*Dir)
	}
	return d
}

// fileAt gives the file that has a name, or that a symlink in its place stands for; nil: none.
func (b *bench) fileAt(ctx context.Context, d *Dir, name string) *File {
	n, err := d.Lookup(ctx, name)
	if err != nil {
		return nil
	}
	f, _ := n.(*File)
	return f
}

// writeSome makes a file, or opens it, and writes a little in one way or another.
func (b *bench) writeSome(ctx context.Context, r *rand.Rand, d *Dir, name string, blob Blob) {
	_, h, err := d.Create(ctx, name, 0o644, Openly, nil)
	if err != nil {
		f := b.fileAt(ctx, d, name)
		if f == nil {
			return
		}
		open := f.OpenWrite
		if r.IntN(2) == 0 {
			open = f.OpenEmpty
		}
		if h, err = open(ctx, nil); err != nil {
			return
		}
	}
	defer h.Release()
	content := []byte("small")
	if r.IntN(3) == 0 {
		content = fmt.Appendf(nil, "content %d", r.IntN(1e9))
	}
	if r.IntN(4) == 0 {
		_, _ = h.CopyFrom(ctx, blob, 0, 0, blob.Size)
	}
	if _, err := h.WriteAt(ctx, content, int64(r.IntN(2))*50); err == nil {
		_ = h.Flush(ctx)
	}
	if r.IntN(4) == 0 {
		_ = h.Sync(ctx)
	}
}

// compare checks that the disk has what the tree has, and gives how many bytes that are.
func (b *bench) compare(top *Dir) (total int64) {
	b.t.Helper()
	root := top.root
	root.mu.Lock()
	at := root.path
	root.mu.Unlock()
	err := filepath.WalkDir(at, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(at, path)
		if err != nil {
			return err
		}
		n := Node(top)
		for part := range strings.SplitSeq(rel, "/") {
			if d, ok := n.(*Dir); ok && part != "." {
				n, _ = root.nodeAt(d, part)
			}
		}
		st, err := e.Info()
		if err != nil {
			return err
		}
		switch n := n.(type) {
		case nil:
			b.t.Errorf("%s is on the disk alone", rel)
		case *Dir:
			if !st.IsDir() {
				b.t.Errorf("%s is a directory", rel)
			}
		case *File:
			_, borrowed, size := n.bytesOn()
			if borrowed.Digest != "" {
				size = 0
			}
			if st.Size() != size {
				b.t.Errorf("%s has %d bytes on the disk, want %d", rel, st.Size(), size)
			}
			total += st.Size()
		}
		return nil
	})
	b.ok(err)
	return total
}

// removeAll removes all that is staged.
func (b *bench) removeAll(d *Dir) {
	b.t.Helper()
	for _, e := range d.List() {
		if sub, ok := e.Node.(*Dir); ok {
			b.removeAll(sub)
			b.ok(d.Rmdir(b.t.Context(), e.Name))
			continue
		}
		b.ok(d.Unlink(b.t.Context(), e.Name))
	}
}
