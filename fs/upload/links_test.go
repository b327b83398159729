package upload

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// A symlink that leads through others, each of which leads twice through the one before,
// is refused as soon as one in a circle is.
func TestSymlinksThatDoubleAreRefused(t *testing.T) {
	b := newBench(t)
	v1 := b.dirAt("v1")
	b.dirAt("v1/d0")
	for n := range 24 {
		_, err := v1.Symlink(t.Context(), fmt.Sprint("d", n+1), fmt.Sprintf("d%d/../d%d", n, n))
		b.ok(err)
	}
	began := time.Now()
	_, err := b.dirAt("v1/blobs/sha256").Symlink(t.Context(), digest.FromString("x").Encoded(), "../../d24/x")
	if !errors.Is(err, ErrLink) || time.Since(began) > time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

// Symlinks that nothing looks for cost the files beside them nothing, however many there
// are; a directory that becomes a layout makes those at digests count.
func TestSymlinksCountWhereABlobIsLookedFor(t *testing.T) {
	b := newBench(t)
	i := newImage("x")
	for n := range 10 {
		_, err := b.dirAt("v1.tmp/layers").Symlink(t.Context(), fmt.Sprint(n), "../file")
		b.ok(err)
	}
	for name, content := range map[string][]byte{"layer": i.layer, "config": i.config, "manifest": i.raw} {
		b.ok(b.write("v1.tmp/"+name, content))
		_, err := b.dirAt("v1.tmp/blobs/sha256").Symlink(t.Context(), digest.FromBytes(content).Encoded(), "../../"+name)
		b.ok(err)
	}
	b.ok(b.write("v1.tmp/index.json", indexOf(i.descriptor("v1"))))
	if n := len(b.top.root.links); n != 0 {
		t.Errorf("%d symlinks count in a directory of a temporary name", n)
	}
	b.ok(b.rename("v1.tmp", "v1"))
	if n := len(b.top.root.links); n != 3 {
		t.Errorf("%d symlinks count in a layout, want 3", n)
	}
	b.pointsAt("v1", i.digest)
	b.ok(b.rename("v1", "v1.tmp"))
	if n := len(b.top.root.links); n != 0 {
		t.Errorf("%d symlinks count in what was a layout", n)
	}
}
