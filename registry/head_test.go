package registry

import (
	"errors"
	"net/http"
	"testing"

	"github.com/ocifs/ocifs/registry/registrytest"
)

// A HEAD that leads to an address that is signed for GET alone is a GET instead, of a blob and of
// a manifest, and no byte more is read than its head. A push sees that the blob is there.
//
// Behaviour: blob.head
func TestAHeadOfAnAddressForGetIsAGet(t *testing.T) {
	s, c := newFixture(t)
	storage := s.Elsewhere(t, registrytest.Options{})
	d := s.Blob(s.repo.Path, []byte(layer))
	m := s.Image(s.repo.Path, "v1")
	s.On("* blob", registrytest.PresignGet(storage))
	s.On("HEAD manifest", registrytest.PresignGet(storage))
	if is, err := c.ResolveBlob(t.Context(), s.repo, d); is.Size != int64(len(layer)) || err != nil {
		t.Errorf("a blob: %+v, %v", is.Descriptor, err)
	}
	s.want(c, "HEAD blob", "elsewhere HEAD blob", "GET blob", "elsewhere GET blob")
	if is, err := c.ResolveManifest(t.Context(), s.repo, "v1"); is.Digest != m || err != nil {
		t.Errorf("a manifest: %+v, %v", is.Descriptor, err)
	}
	if done, err := push(c, s, layer, Push{}); !done.Existed || err != nil {
		t.Errorf("a push: %+v, %v", done, err)
	}
}

// A refusal of the registry itself is final.
//
// Behaviour: blob.head, blob.private
func TestAHeadThatTheRegistryRefusesIsFinal(t *testing.T) {
	s, c := newFixture(t)
	d := s.Blob(s.repo.Path, []byte(layer))
	s.On("* *", registrytest.Status(http.StatusForbidden, ""))
	if _, err := c.ResolveBlob(t.Context(), s.repo, d); !errors.Is(err, ErrDenied) {
		t.Errorf("a blob: %v", err)
	}
	if _, err := c.ResolveManifest(t.Context(), s.repo, "v1"); !errors.Is(err, ErrDenied) {
		t.Errorf("a manifest: %v", err)
	}
	s.want(c, "HEAD blob", "HEAD manifest v1")
}
