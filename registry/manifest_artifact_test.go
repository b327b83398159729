package registry

import (
	"bytes"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/registrytest"
)

// An artifact manifest is pushed under its own media type, and its subject lists it: by
// the API where the registry has one, else by the tag schema.
//
// Behaviour: push.subject
func TestAnArtifactManifestIsPushed(t *testing.T) {
	for _, mediaType := range []string{ociArtifact, orasArtifact} {
		for _, api := range []bool{true, false} {
			s, c, r := reading(t, registrytest.Options{})
			s.Change(func(tr *registrytest.Traits) { tr.Referrers = api })
			s.Blob(r.Path, []byte(blob))
			subject := descriptor("subject")
			m := manifest(t, map[string]any{"mediaType": mediaType, "artifactType": "a/b", "blobs": []v1.Descriptor{descriptor(blob)}, "subject": subject})
			if err := c.PushManifest(t.Context(), r, m, "v1"); err != nil {
				t.Fatal(err)
			}
			got, err := c.Manifest(t.Context(), r, "v1")
			if err != nil || got.MediaType != mediaType || !bytes.Equal(got.Raw, m.Raw) || len(got.Layers) != 1 {
				t.Errorf("%s: it is %+v, %v", mediaType, got, err)
			}
			rs, err := c.Referrers(t.Context(), r, subject.Digest, "")
			ds := rs.Descriptors
			if err != nil || len(ds) != 1 || ds[0].MediaType != mediaType || ds[0].ArtifactType != "a/b" || ds[0].Digest != m.Digest {
				t.Errorf("%s, API %v: the subject lists %+v, %v", mediaType, api, ds, err)
			}
		}
	}
}
