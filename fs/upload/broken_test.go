package upload

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// A write that fails is recorded for the file: with what was written, and that nothing of it is pushed
// or kept. The bytes are gone when the mount ends. The same file, written anew, is pushed.
func TestAWriteThatFailsIsRecordedAsThat(t *testing.T) {
	content := []byte(strings.Repeat("x", 900))
	whole := digest.FromBytes(content)
	for _, c := range []struct {
		name, path, target string
		room               int64 // bytes
		says               string
	}{
		{"the first write", "blobs/x", "x", 0, "when it had 0 bytes, and nothing of it is pushed or kept: "},
		{"a later write", "blobs/x", "x", 250, "when it had 200 bytes, and nothing of it is pushed or kept: "},
		{"of a digest", at("", whole), whole.String(), 250, "when it had 200 bytes"},
		{"of a tag", "manifests/v1", "v1", 250, "when it had 200 bytes"},
	} {
		b := newBench(t)
		b.ok(b.area.Close(t.Context()))
		b.open(Options{MaxBytes: int64(len(startLayout)+len(startIndex)) + c.room})
		b.area.attendAfter = time.Millisecond // what this test waits for ends soon
		h := b.create(c.path)
		for off := 0; off < len(content); off += 100 {
			if _, err := h.WriteAt(t.Context(), content[off:off+100], int64(off)); err != nil {
				break
			}
		}
		if err := h.Flush(t.Context()); !errors.Is(err, ErrNoSpace) {
			t.Errorf("%s: close says %v", c.name, err)
		}
		h.Release()
		b.area.work.Wait()
		all := b.area.Records()
		if len(all) != 1 || all[0].Target != c.target || all[0].State != Failed || !all[0].Broken || !strings.Contains(all[0].Error, c.says) {
			t.Errorf("%s: it is recorded as %+v, want %s: %s", c.name, all, c.target, c.says)
		}
		b.s.Want()
		if c.path == "blobs/x" {
			b.ok(b.write(c.path, []byte("y"[:min(c.room, 1)]))) // an empty file is pushed when it is closed
			b.area.work.Wait()
			all := b.area.Records()
			if len(all) != 1 || all[0].State != Pushed || all[0].Broken {
				t.Errorf("%s, and then written: %+v", c.name, all)
			}
		}
		b.ok(b.area.Close(t.Context()))
		if left, err := filepath.Glob(b.dir + "/*"); err != nil || len(left) > 0 {
			t.Errorf("%s: %q are kept, %v", c.name, left, err)
		}
		if err := os.RemoveAll(b.dir); err != nil {
			t.Fatal(err)
		}
	}
}
