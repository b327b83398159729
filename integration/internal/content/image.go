package content

import (
	"context"
	"runtime"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image says what an image is made of.
type Image struct {
	// Docker makes it a Docker schema 2 image.
	Docker bool
	Layers []Layer
	// Arch is the architecture in the config; empty: this machine's.
	Arch        string
	Subject     *ocispec.Descriptor
	Annotations map[string]string
}

// Image pushes an image: layers, config, manifest, tag.
func (r *Repo) Image(ctx context.Context, tag string, i Image) (Manifest, error) {
	if i.Arch == "" {
		i.Arch = runtime.GOARCH
	}
	created := Made
	config := ocispec.Image{
		Created:  &created,
		Author:   "ocifs",
		Platform: ocispec.Platform{OS: "linux", Architecture: i.Arch},
		Config:   ocispec.ImageConfig{Env: []string{"PATH=/bin"}, Cmd: []string{"/bin/hello"}},
		RootFS:   ocispec.RootFS{Type: "layers"},
	}
	var layers []Blob
	for _, l := range i.Layers {
		if i.Docker {
			l.MediaType = DockerLayer
		}
		packed, diffID := l.pack()
		b, err := r.Blob(ctx, l.MediaType, packed)
		if err != nil {
			return Manifest{}, err
		}
		layers = append(layers, b)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, diffID)
		config.History = append(config.History, ocispec.History{Created: &created, CreatedBy: "made for a test"})
	}
	manifestType, configType := ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageConfig
	if i.Docker {
		manifestType, configType = DockerManifest, DockerConfig
	}
	c, err := r.Blob(ctx, configType, encode(config))
	if err != nil {
		return Manifest{}, err
	}
	return r.manifest(ctx, tag, manifestType, ocispec.Manifest{Subject: i.Subject, Annotations: i.Annotations}, c, layers)
}

// Artifact says what an artifact is made of. Each file is a layer.
type Artifact struct {
	Type string
	// ConfigType and Config: empty means the empty config.
	ConfigType  string
	Config      []byte
	Files       []ArtifactFile
	Subject     *ocispec.Descriptor
	Annotations map[string]string
}

// ArtifactFile is one layer of an artifact.
type ArtifactFile struct {
	MediaType   string
	Bytes       []byte
	Annotations map[string]string // the title among them
}

// Titled is a layer with a title.
func Titled(title, mediaType string, b []byte) ArtifactFile {
	return ArtifactFile{MediaType: mediaType, Bytes: b, Annotations: map[string]string{ocispec.AnnotationTitle: title}}
}

// Artifact pushes an artifact.
func (r *Repo) Artifact(ctx context.Context, tag string, a Artifact) (Manifest, error) {
	if a.ConfigType == "" {
		a.ConfigType, a.Config = ocispec.MediaTypeEmptyJSON, ocispec.DescriptorEmptyJSON.Data
	}
	c, err := r.Blob(ctx, a.ConfigType, a.Config)
	if err != nil {
		return Manifest{}, err
	}
	var layers []Blob
	for _, f := range a.Files {
		b, err := r.Blob(ctx, f.MediaType, f.Bytes)
		if err != nil {
			return Manifest{}, err
		}
		b.Annotations = f.Annotations
		layers = append(layers, b)
	}
	if len(layers) == 0 { // an artifact without files has the empty layer
		b, err := r.Blob(ctx, ocispec.MediaTypeEmptyJSON, ocispec.DescriptorEmptyJSON.Data)
		if err != nil {
			return Manifest{}, err
		}
		layers = append(layers, b)
	}
	return r.manifest(ctx, tag, ocispec.MediaTypeImageManifest,
		ocispec.Manifest{ArtifactType: a.Type, Subject: a.Subject, Annotations: a.Annotations}, c, layers)
}

func (r *Repo) manifest(ctx context.Context, tag, mediaType string, m ocispec.Manifest, config Blob, layers []Blob) (Manifest, error) {
	m.Versioned = specs.Versioned{SchemaVersion: 2}
	m.MediaType, m.Config, m.Layers = mediaType, config.Descriptor, []ocispec.Descriptor{}
	for _, l := range layers {
		m.Layers = append(m.Layers, l.Descriptor)
	}
	out, err := r.Put(ctx, tag, mediaType, encode(m))
	out.Config, out.Layers, out.ArtifactType = config, layers, m.ArtifactType
	return out, err
}

// Digests are those of everything reachable from m, itself included, once each.
func (m Manifest) Digests() map[digest.Digest]ocispec.Descriptor {
	all := map[digest.Digest]ocispec.Descriptor{m.Digest: m.Descriptor}
	if m.Config.Digest != "" {
		all[m.Config.Digest] = m.Config.Descriptor
	}
	for _, l := range m.Layers {
		all[l.Digest] = l.Descriptor
	}
	for _, c := range m.Children {
		for d, desc := range c.Digests() {
			all[d] = desc
		}
	}
	return all
}
