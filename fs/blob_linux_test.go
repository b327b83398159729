package fs

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/fs/failingdisk"
	"github.com/ocifs/ocifs/fs/internal/caller"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// A read that the disk fails goes on with the blob downloaded again. From then on no read passes
// through, as nobody would learn of another failure.
func TestAReadThatTheDiskFailsGoesOn(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Image("team/app", "v1", []byte("one"))
	disk := failingdisk.Mount(t)
	w := walkAt(t, s, filepath.Join(disk.Dir, "cache"))
	d := digest.FromString("one")
	path := "team/app/blobs/" + hexPath(d)
	w.want(path, "one")
	for len(w.store.Transfers()) > 0 { // until it has its place
		time.Sleep(time.Millisecond)
	}
	e, err := w.to(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := e.(node.File).Open(t.Context(), caller.Caller{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Way().Mode == node.Direct {
		t.Fatal("it isn't cached")
	}
	disk.FailReads(d)
	fetched := len(s.Requests())
	b := make([]byte, 10)
	for range 2 {
		if n, err := c.ReadAt(t.Context(), caller.Caller{}, b, 0); string(b[:n]) != "one" || err != nil {
			t.Errorf("read %q, %v", b[:n], err)
		}
	}
	if n := len(s.Requests()) - fetched; n != 1 {
		t.Errorf("%d requests", n)
	}
	disk.Mend()
	w.want(path, "one")
	if n := len(s.Requests()) - fetched; n != 1 {
		t.Errorf("%d requests then", n)
	}
	if w.store.Reads() {
		t.Error("reads may pass through again")
	}
}
