package registry

import (
	"errors"
	"slices"
	"testing"

	"github.com/ocifs/ocifs/registry/registrytest"
)

// A proxy that compresses in spite of identity changes nothing of what manifests, lists and
// errors say.
//
// Behaviour: transport.coding
func TestWhatIsCompressedOnTheWayIsReadAsItWasMeant(t *testing.T) {
	for _, coding := range []string{"gzip", "x-gzip", "deflate"} {
		for _, length := range []bool{true, false} {
			s, c := newFixture(t)
			s.Change(func(tr *registrytest.Traits) { tr.Referrers = true })
			d := s.Image(s.repo.Path, "v1", []byte(layer))
			s.On("GET *", registrytest.Encode(coding, length))
			for _, reference := range []string{"v1", d.String()} {
				m, err := c.Manifest(t.Context(), s.repo, reference)
				if err != nil || m.Digest != d || string(m.Raw) != s.at("v1") {
					t.Errorf("%s %s: %v", coding, reference, err)
				}
			}
			var names []string
			for p, err := range c.Tags(t.Context(), s.repo) {
				if err != nil {
					t.Errorf("%s: %v", coding, err)
				}
				names = append(names, p.Tags...)
			}
			if !slices.Equal(names, []string{"v1"}) {
				t.Errorf("%s: tags %q", coding, names)
			}
			if ds, err := c.Referrers(t.Context(), s.repo, d); len(ds) != 0 || err != nil {
				t.Errorf("%s: referrers %v, %v", coding, ds, err)
			}
			var e *Error
			if _, err := c.Manifest(t.Context(), s.repo, "none"); !errors.As(err, &e) || !e.has("MANIFEST_UNKNOWN") {
				t.Errorf("%s: an error is %v", coding, err)
			}
		}
	}
}

// A Content-Length of HEAD is of the compressed body, and so no size of a manifest.
//
// Behaviour: transport.coding, manifest.head
func TestALengthOfACompressedManifestIsNoSize(t *testing.T) {
	s, c := newFixture(t)
	d := s.Image(s.repo.Path, "v1", []byte(layer))
	s.On("HEAD manifest", registrytest.With("Content-Encoding", "gzip"), registrytest.Length(7))
	if got, err := c.ResolveManifest(t.Context(), s.repo, "v1"); got.Digest != d || got.Size != -1 || err != nil {
		t.Errorf("%+v, %v", got.Descriptor, err)
	}
}
