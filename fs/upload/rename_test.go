package upload

import (
	"errors"
	"io/fs"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// A rename whose push fails renames nothing, and works once the registry does.
func TestARenameThatFailsIsNone(t *testing.T) {
	b := newBench(t)
	i := newImage("a layer")
	b.ok(b.write("model.tmp", []byte("bytes")))
	b.pieces("v1.tmp", i)
	b.ok(b.write("v1.tmp/index.json", indexOf(i.descriptor("v1"))))
	down := b.s.On("* *", registrytest.Refuse(http.StatusForbidden, "DENIED"))
	for from, to := range map[string]string{"model.tmp": "blobs/model", "v1.tmp": "v1"} {
		for range 2 {
			if err := b.rename(from, to); !errors.Is(err, registry.ErrDenied) {
				t.Errorf("%s: %v", from, err)
			}
			if _, err := b.dirAt(filepath.Dir(to)).Lookup(t.Context(), filepath.Base(to)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s is there: %v", to, err)
			}
			if _, err := b.top.Lookup(t.Context(), from); err != nil {
				t.Errorf("%s is gone: %v", from, err)
			}
		}
	}
	down.End()
	b.ok(b.rename("model.tmp", "blobs/model"))
	b.ok(b.rename("v1.tmp", "v1"))
	b.pointsAt("v1", i.digest)
}

// The kernel may tell of the last close after the rename of a closed file. The rename pushes all the same.
func TestARenameWaitsForTheLastClose(t *testing.T) {
	b := newBench(t)
	content := []byte("bytes")
	h := b.create("model.tmp")
	b.put(h, content, 0, len(content))
	b.ok(h.Flush(t.Context()))
	b.s.On("* *", registrytest.Refuse(http.StatusForbidden, "DENIED"))
	released := make(chan struct{})
	go func() {
		defer close(released)
		time.Sleep(releaseFor / 20)
		h.Release()
	}()
	if err := b.rename("model.tmp", "blobs/model"); !errors.Is(err, registry.ErrDenied) {
		t.Errorf("%v", err)
	}
	<-released
}
