package fs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// Bounds of errors.jsonl, as package node has them.
const (
	maxFailures = 500
	maxLag      = 4 << 20
)

// asKernel asks a tree for what a kernel asks.
type asKernel struct {
	t   *testing.T
	raw fuse.RawFileSystem
}

func (w *walked) asKernel() asKernel {
	raw, _ := w.kernel.Bridge(w.root)
	return asKernel{w.t, raw}
}

// lookup walks along a path, as a kernel does that believes no name.
func (k asKernel) lookup(path string) fuse.EntryOut {
	k.t.Helper()
	out := fuse.EntryOut{NodeId: fuse.FUSE_ROOT_ID}
	for name := range strings.SplitSeq(path, "/") {
		in := fuse.InHeader{NodeId: out.NodeId}
		out = fuse.EntryOut{}
		if st := k.raw.Lookup(nil, &in, name, &out); !st.Ok() {
			k.t.Fatalf("lookup of %s in %s: %v", name, path, st)
		}
	}
	return out
}

// opened is an open file.
type opened struct {
	asKernel
	node, fh uint64
}

func (k asKernel) open(path string) opened {
	k.t.Helper()
	node := k.lookup(path).NodeId
	var out fuse.OpenOut
	if st := k.raw.Open(nil, &fuse.OpenIn{InHeader: fuse.InHeader{NodeId: node}}, &out); !st.Ok() {
		k.t.Fatalf("open %s: %v", path, st)
	}
	return opened{k, node, out.Fh}
}

// size is what fstat says, which a kernel asks for without the handle.
func (o opened) size() int {
	o.t.Helper()
	var out fuse.AttrOut
	if st := o.raw.GetAttr(nil, &fuse.GetAttrIn{InHeader: fuse.InHeader{NodeId: o.node}}, &out); !st.Ok() {
		o.t.Fatal(st)
	}
	return int(out.Size)
}

// read reads from an offset to the end.
func (o opened) read(off int) (string, fuse.Status) {
	b := make([]byte, 8<<20)
	res, st := o.raw.Read(nil, &fuse.ReadIn{InHeader: fuse.InHeader{NodeId: o.node}, Fh: o.fh, Offset: uint64(off), Size: uint32(len(b))}, b)
	if !st.Ok() {
		return "", st
	}
	b, _ = res.Bytes(b)
	return string(b), st
}

// holds checks that an open file has these bytes and this size.
func (o opened) holds(what, want string) {
	o.t.Helper()
	if got, st := o.read(0); got != want || !st.Ok() {
		o.t.Errorf("%s: %d bytes are read, want %d: %v", what, len(got), len(want), st)
	}
	if got := o.size(); got != len(want) {
		o.t.Errorf("%s: fstat says %d bytes, want %d", what, got, len(want))
	}
}

// fail adds failures, which are lines of errors.jsonl, and gives these lines.
func (w *walked) fail(n int, what string) string {
	var lines strings.Builder
	for i := range n {
		w.kernel.Tell(fmt.Sprint(what, i), "read", "hint", errors.New("boom"))
		text := w.jsonl()
		lines.Write(text[bytes.LastIndexByte(text[:len(text)-1], '\n')+1:])
	}
	return lines.String()
}

// A program that has errors.jsonl open reads each new line at its end, and is told the size
// of all that it can read. Other programs that have it open, and the number of lines
// before, make no difference.
func TestErrorsGrowForProgramsThatHaveThemOpen(t *testing.T) {
	w := walk(t, registrytest.Start(t, registrytest.Options{}), t.TempDir(), Options{})
	const path = ".ocifs/errors.jsonl"
	k := w.asKernel()
	k.open(path).holds("without a failure", "")

	type follower struct {
		opened
		want string
	}
	var followers []follower
	for _, n := range []int{3, maxFailures - 5, 1, 1, 1, maxFailures / 2, maxFailures + 1} {
		followers = append(followers, follower{k.open(path), string(w.jsonl())})
		came := w.fail(n, fmt.Sprint("after ", len(followers), " opened: "))
		for i := range followers {
			f := &followers[i]
			f.want += came
			f.holds(fmt.Sprintf("opened by %d, after %d more lines", i, n), f.want)
		}
		now := string(w.jsonl())
		k.open(path).holds(fmt.Sprintf("opened after %d more lines", n), now)
		if size := k.lookup(path).Size; size != uint64(len(now)) {
			t.Errorf("stat says %d bytes, want %d", size, len(now))
		}
	}
}

// A program that reads errors.jsonl so slowly that lines are gone gets an error, and goes on
// with the lines that are there when it opens the file anew.
func TestAProgramThatFallsFarBehindTheErrorsIsTold(t *testing.T) {
	w := walk(t, registrytest.Start(t, registrytest.Options{}), t.TempDir(), Options{})
	const path = ".ocifs/errors.jsonl"
	k := w.asKernel()
	w.fail(1, "first")
	behind, looked := k.open(path), k.lookup(path)
	long := strings.Repeat("long ", 200)
	w.fail(maxLag/len(long)+maxFailures, long)
	if _, st := behind.read(0); st != fuse.Status(syscall.ESTALE) {
		t.Errorf("reading what isn't in memory any more: %v, want ESTALE", st)
	}
	var out fuse.OpenOut
	if st := k.raw.Open(nil, &fuse.OpenIn{InHeader: fuse.InHeader{NodeId: looked.NodeId}}, &out); st != fuse.Status(syscall.ESTALE) {
		t.Errorf("opening what was looked up long ago: %v, want ESTALE, which has the kernel look it up again", st)
	}
	end := behind.size()
	last := w.fail(1, "last")
	if got, st := behind.read(end); got != last || !st.Ok() {
		t.Errorf("from the end on it reads %q, %v; want %q", got, st, last)
	}
	k.open(path).holds("opened now", string(w.jsonl()))
}

// A program that has a replaced control file open reads it as it was, with its size; the name
// means the new one.
func TestAControlFileIsReadAsItWasWhenItWasOpened(t *testing.T) {
	config := map[string]any{"key": "short"}
	w := walk(t, registrytest.Start(t, registrytest.Options{}), t.TempDir(), Options{Config: config})
	k := w.asKernel()
	const path = ".ocifs/config.json"
	first, before := k.open(path), string(indented(config))
	same := k.lookup(path)
	if same.NodeId != first.node || same.Mtime != k.lookup(path).Mtime {
		t.Error("a file that hasn't changed is another inode, or has another time")
	}
	config["key"] = "a longer value"
	second, now := k.open(path), string(indented(config))
	first.holds("opened before the change", before)
	second.holds("opened after it", now)
	changed := k.lookup(path)
	if changed.Size != uint64(len(now)) {
		t.Errorf("stat says %d bytes, want %d", changed.Size, len(now))
	}
	if changed.Ino != same.Ino {
		t.Error("the inode number isn't what it was: cp says that the file was replaced while it was copied")
	}
	if changed.EntryTimeout() != 0 {
		t.Error("the kernel may believe what the name meant")
	}
}

// The control files are those that are listed, and no others.
func TestControlFilesAreListed(t *testing.T) {
	w := walk(t, registrytest.Start(t, registrytest.Options{}), t.TempDir(), Options{})
	c, err := w.root.Lookup(t.Context(), controlName)
	if err != nil {
		t.Fatal(err)
	}
	l, err := c.Entry.(node.Directory).List(t.Context())
	if got, want := strings.Join(l.Names, " "), "config.json errors.jsonl metrics stats.json transfers.json uploads.json version"; got != want || err != nil {
		t.Errorf("it lists %q, %v; want %q", got, err, want)
	}
	if _, err := c.Entry.(node.Directory).Lookup(t.Context(), "none"); !errors.Is(err, node.ErrNotExist) {
		t.Errorf("what isn't listed: %v", err)
	}
}

// The figures tell how many layers were unpacked, and the indexes that are kept of them.
func TestTheFiguresTellOfUnpackedLayers(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	one, two := archiveOf(t, "etc/", "etc/version=1"), archiveOf(t, "etc/", "etc/name=app")
	p := pushImage(t, s, "v1", nil, one, two)
	w := walkAt(t, s, t.TempDir())
	w.want(p.rootfs()+"/etc/name", "app")
	w.want(p.rootfs()+"/etc/version", "1")
	var got struct {
		Layers struct {
			Unpacked int   `json:"unpacked"`
			Bytes    int64 `json:"unpacked_bytes"`
		}
		Cache struct {
			Indexes int   `json:"indexes"`
			Bytes   int64 `json:"index_bytes"`
		}
	}
	if err := json.Unmarshal(indented(w.stats()), &got); err != nil {
		t.Fatal(err)
	}
	if got.Layers.Unpacked != 2 || got.Layers.Bytes != int64(len(one)+len(two)) {
		t.Errorf("stats.json has %+v of two layers with %d bytes", got.Layers, len(one)+len(two))
	}
	if got.Cache.Indexes != 4 || got.Cache.Bytes == 0 { // two of layers, one of the config, one of the manifest
		t.Errorf("stats.json has %+v of the indexes", got.Cache)
	}
}
