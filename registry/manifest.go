package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/ref"
)

// Media types besides those of the OCI's image specification.
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerForeign  = "application/vnd.docker.image.rootfs.foreign."
	schema1        = "application/vnd.docker.distribution.manifest.v1+json"
	schema1Signed  = "application/vnd.docker.distribution.manifest.v1+prettyjws"

	// Release candidates of OCI's image specification 1.1 had an artifact manifest, and
	// ORAS had one before. Notation and ORAS wrote them in 2022 and 2023.
	ociArtifact  = "application/vnd.oci.artifact.manifest.v1+json"
	orasArtifact = "application/vnd.cncf.oras.artifact.manifest.v1+json"
)

// AnnotationReferenceType marks BuildKit's attestations in an index.
const AnnotationReferenceType = "vnd.docker.reference.type"

// MaxManifest is the largest manifest that is read, in bytes. Registries must
// take 4 MiB.
const MaxManifest = 8 << 20

// acceptManifests are the types that are asked for, the best first. Schema 1
// comes last: it is shown raw where a registry has nothing else.
var acceptManifests = strings.Join([]string{v1.MediaTypeImageIndex, v1.MediaTypeImageManifest, dockerList, dockerManifest, ociArtifact, orasArtifact, schema1Signed + ";q=0.5", schema1 + ";q=0.5"}, ", ")

// IsIndexType says whether a media type is of an index: OCI's or Docker's list.
func IsIndexType(mediaType string) bool {
	return mediaType == v1.MediaTypeImageIndex || mediaType == dockerList
}

// IsImageType says whether a media type is of an image manifest: OCI's or Docker's. An artifact
// manifest and Docker's schema 1 have no config.
func IsImageType(mediaType string) bool {
	return mediaType == v1.MediaTypeImageManifest || mediaType == dockerManifest
}

// IsManifestType says whether a media type is of a manifest of any kind, an
// index included.
func IsManifestType(mediaType string) bool {
	switch mediaType {
	case v1.MediaTypeImageManifest, dockerManifest, ociArtifact, orasArtifact, schema1, schema1Signed:
		return true
	}
	return IsIndexType(mediaType)
}

// Manifest is an image manifest or an index. ParseManifest makes one of its bytes. It is not changed once made, and
// so safe for concurrent use.
type Manifest struct {
	MediaType string
	Digest    digest.Digest
	Raw       []byte // as served, byte for byte
	etag      string // of the answer, for a write that depends on it

	// The decoded form. Unknown fields are left alone. Descriptors stand here as they do
	// in the bytes. Each digest keeps the grammar, but its algorithm may be unknown
	// (ref.ErrAlgorithm): the client neither gets nor pushes such content.
	ArtifactType string
	Config       *v1.Descriptor
	Layers       []v1.Descriptor // an artifact manifest's blobs, too
	Manifests    []v1.Descriptor
	Subject      *v1.Descriptor
	Annotations  map[string]string
}

// IsIndex says whether the manifest is an index.
func (m *Manifest) IsIndex() bool { return IsIndexType(m.MediaType) }

// Descriptor describes the manifest.
func (m *Manifest) Descriptor() v1.Descriptor {
	return v1.Descriptor{MediaType: m.MediaType, Digest: m.Digest, Size: int64(len(m.Raw))}
}

// Blobs lists the blobs that an image or artifact manifest is made of: its config, and its
// layers in order. They are blobs whatever their media types are.
func (m *Manifest) Blobs() []v1.Descriptor { return append(one(m.Config), m.Layers...) }

// IsForeign says whether a descriptor is of a layer that its registry may lack: its media
// type says that it mustn't be distributed, or the descriptor has URLs to get it from
// (image-spec, "Non-Distributable Layers" and "Descriptors").
func IsForeign(d v1.Descriptor) bool {
	return len(d.URLs) > 0 || strings.Contains(d.MediaType, ".nondistributable.") || strings.HasPrefix(d.MediaType, dockerForeign)
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrCorrupt, fmt.Errorf(format, args...))
}

// ParseManifest decodes and checks the bytes of a manifest. contentType is the
// answer's, or "" for bytes from elsewhere; d is the digest that they must have,
// or "" where it isn't known. All errors are ErrCorrupt.
func ParseManifest(raw []byte, contentType string, d digest.Digest) (*Manifest, error) {
	if len(raw) > MaxManifest {
		return nil, corrupt("the manifest has %d bytes, more than the %d MiB that are read", len(raw), MaxManifest>>20)
	}
	var f struct {
		MediaType    string                     `json:"mediaType"`
		ArtifactType string                     `json:"artifactType"`
		Config       *v1.Descriptor             `json:"config"`
		Layers       []v1.Descriptor            `json:"layers"`
		Manifests    []v1.Descriptor            `json:"manifests"`
		Subject      *v1.Descriptor             `json:"subject"`
		Annotations  map[string]string          `json:"annotations"`
		Fields       map[string]json.RawMessage `json:"-"`
	}
	if err := json.Unmarshal(raw, &f.Fields); err != nil || f.Fields == nil {
		return nil, corrupt("the manifest is no JSON object")
	}
	// Field by field, as encoding/json would take MediaType for mediaType, and
	// other readers of the same bytes don't.
	for name, to := range map[string]any{
		"mediaType": &f.MediaType, "artifactType": &f.ArtifactType, "config": &f.Config, "layers": &f.Layers,
		"manifests": &f.Manifests, "subject": &f.Subject, "annotations": &f.Annotations,
	} {
		if v, ok := f.Fields[name]; ok {
			if err := json.Unmarshal(v, to); err != nil {
				return nil, corrupt("the manifest's %s is malformed: %v", name, err)
			}
		}
	}
	if f.Manifests != nil && (f.Config != nil || f.Layers != nil) {
		// Readers differ in which of the two they see.
		return nil, corrupt("it is both an index and an image manifest")
	}
	mediaType, err := manifestType(contentType, f.MediaType, f.Fields)
	if err != nil {
		return nil, err
	}
	m := &Manifest{MediaType: mediaType, Raw: raw, ArtifactType: f.ArtifactType, Annotations: f.Annotations}
	if err := m.verify(d, f.Fields); err != nil {
		return nil, err
	}
	switch {
	case m.IsIndex():
		m.Manifests, m.Subject = f.Manifests, f.Subject
	case mediaType == v1.MediaTypeImageManifest || mediaType == dockerManifest:
		m.Config, m.Layers, m.Subject = f.Config, f.Layers, f.Subject
	case mediaType == ociArtifact || mediaType == orasArtifact:
		if f.Layers != nil {
			return nil, corrupt("it is both an artifact manifest and an image manifest")
		}
		if v, ok := f.Fields["blobs"]; ok {
			if err := json.Unmarshal(v, &m.Layers); err != nil {
				return nil, corrupt("the manifest's blobs is malformed: %v", err)
			}
		}
		m.Subject = f.Subject
	}
	for _, ds := range [][]v1.Descriptor{m.Manifests, m.Layers, one(m.Config), one(m.Subject)} {
		for _, x := range ds {
			if _, err := ref.ParseDigest(x.Digest.String()); err != nil && !errors.Is(err, ref.ErrAlgorithm) {
				return nil, corrupt("a descriptor in the manifest: %v", err)
			}
			if x.Size < 0 {
				return nil, corrupt("the descriptor of %s has the size %d", x.Digest, x.Size)
			}
		}
	}
	return m, nil
}

func one(d *v1.Descriptor) []v1.Descriptor {
	if d == nil {
		return nil
	}
	return []v1.Descriptor{*d}
}

// manifestType decides what a manifest is: what it says of itself, else what its
// fields show, so that the same bytes are the same at every registry. What the
// answer said must agree; where it named no type of a manifest, it said nothing.
func manifestType(contentType, own string, fields map[string]json.RawMessage) (string, error) {
	answered := bareType(contentType)
	if !IsManifestType(answered) {
		answered = ""
	}
	if own != "" && answered != "" && own != answered {
		return "", corrupt("the registry calls the manifest %s, and it calls itself %s", answered, own)
	}
	has := func(name string) bool {
		v, ok := fields[name]
		return ok && string(v) != "null"
	}
	_, list := fields["manifests"] // which may be null
	shown := ""
	switch {
	case list:
		shown = v1.MediaTypeImageIndex
	case has("config"):
		shown = v1.MediaTypeImageManifest
	case has("fsLayers") && has("signatures"):
		shown = schema1Signed
	case has("fsLayers"):
		shown = schema1
	case has("blobs") || kindOfManifest(own) == ociArtifact: // an artifact manifest may have no blobs
		shown = ociArtifact
	}
	if own != "" && !IsManifestType(own) {
		return own, nil // of a kind that isn't known here: shown as it is
	}
	for _, t := range []string{own, answered} {
		if t != "" && kindOfManifest(t) != kindOfManifest(shown) {
			return "", corrupt("it is called %s, and its fields are not those of one", t)
		}
	}
	switch {
	case own != "":
		return own, nil
	case shown != "":
		return shown, nil
	}
	return "", corrupt("nothing tells what kind of manifest it is")
}

// kindOfManifest gives one type for all that have the same fields.
func kindOfManifest(mediaType string) string {
	switch mediaType {
	case dockerList:
		return v1.MediaTypeImageIndex
	case dockerManifest:
		return v1.MediaTypeImageManifest
	case orasArtifact:
		return ociArtifact
	case schema1Signed:
		return schema1
	}
	return mediaType
}

// bareType is a media type without its parameters.
func bareType(contentType string) string {
	if t, _, err := mime.ParseMediaType(contentType); err == nil {
		return t
	}
	t, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(t))
}

// verify checks the digest d over the bytes, or computes it. A signed schema 1
// manifest has the digest of its payload.
func (m *Manifest) verify(d digest.Digest, fields map[string]json.RawMessage) error {
	algo := digest.Canonical
	if d != "" {
		algo = d.Algorithm()
		if !algo.Available() {
			return corrupt("digest %q can't be verified", d)
		}
	}
	m.Digest = algo.FromBytes(m.Raw)
	if m.Digest == d {
		return nil
	}
	if kindOfManifest(m.MediaType) == schema1 {
		if p, ok := signedPayload(m.Raw, fields); ok {
			if signed := algo.FromBytes(p); d == "" || d == signed {
				m.Digest = signed
				return nil
			}
		}
	}
	if d == "" {
		return nil
	}
	return corrupt("the manifest's digest is %s, where %s was promised", m.Digest, d)
}
