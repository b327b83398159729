package registry

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// A mount brings the blob and sends no byte of it, or it is ErrNotMounted; the session that a
// registry begins in its place is cancelled.
func TestABlobIsMountedOrItSaysSo(t *testing.T) {
	s, c := newFixture(t)
	from := ref.Repository{Host: s.repo.Host, Path: "other"}
	desc := v1.Descriptor{Digest: s.Blob(from.Path, []byte(blob)), Size: int64(len(blob))}
	if err := c.MountBlob(t.Context(), s.repo, desc, from); !errors.Is(err, ErrNotMounted) {
		t.Errorf("a session begins: %v", err)
	}
	s.want(c, "POST upload", cancelled)
	for status, want := range map[int]error{404: ErrNotMounted, 405: ErrNotMounted, 400: ErrNotMounted, 403: ErrDenied, 503: ErrServer} {
		refused := s.On("POST upload", registrytest.Status(status, ""))
		if err := c.MountBlob(t.Context(), s.repo, desc, from); !errors.Is(err, want) || (want != ErrNotMounted) == errors.Is(err, ErrNotMounted) {
			t.Errorf("%d: %v, want %v", status, err, want)
		}
		refused.End()
	}
	s.Forget()
	elsewhere := ref.Repository{Host: "other.example", Path: "other"}
	if err := c.MountBlob(t.Context(), s.repo, desc, elsewhere); !errors.Is(err, ErrNotMounted) || !strings.Contains(err.Error(), "another registry, other.example") {
		t.Errorf("from another registry: %v", err)
	}
	s.want(c)
	s.Change(func(tr *registrytest.Traits) { tr.Mounts = true })
	if err := c.MountBlob(t.Context(), s.repo, desc, from); err != nil {
		t.Error(err)
	}
	s.has(blob)
	s.Nth(1, "POST upload", registrytest.With("Docker-Content-Digest", digest.FromString("another").String()))
	if err := c.MountBlob(t.Context(), s.repo, desc, from); !errors.Is(err, ErrCorrupt) {
		t.Errorf("another blob is mounted: %v", err)
	}
	s.want(c, "POST upload", "POST upload")
}

// A registry that declines a mount and names no session is one that doesn't mount.
func TestADeclinedMountMayNameNoSession(t *testing.T) {
	s, c := newFixture(t)
	from := ref.Repository{Host: s.Host, Path: "from/it"}
	d := s.Blob(from.Path, []byte(blob))
	s.First(2, "POST upload", registrytest.Status(http.StatusAccepted, ""))
	if err := c.MountBlob(t.Context(), s.repo, v1.Descriptor{Digest: d}, from); !errors.Is(err, ErrNotMounted) {
		t.Error(err)
	}
	if done, err := push(c, s, blob, Push{Absent: true, From: []ref.Repository{from}}); done.Mounted || err != nil {
		t.Errorf("%+v, %v", done, err)
	}
	s.has(blob)
}
