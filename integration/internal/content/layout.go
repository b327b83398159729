package content

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Layout writes an image of plain layers as an OCI image layout to a directory of the
// disk that isn't there yet, under a tag.
func Layout(dir, tag string, layers ...[]File) (Manifest, error) {
	var all []Blob
	add := func(mediaType string, b []byte) Blob {
		all = append(all, Blob{ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}, b})
		return all[len(all)-1]
	}
	created := Made
	config := ocispec.Image{
		Created: &created, Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"},
		RootFS: ocispec.RootFS{Type: "layers"},
	}
	m := Manifest{}
	list := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for _, files := range layers {
		l := add(ocispec.MediaTypeImageLayer, Tar(files))
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.Digest)
		list.Layers = append(list.Layers, l.Descriptor)
		m.Layers = append(m.Layers, l)
	}
	m.Config = add(ocispec.MediaTypeImageConfig, encode(config))
	list.Config = m.Config.Descriptor
	manifest := add(ocispec.MediaTypeImageManifest, encode(list))
	m.Descriptor, m.Bytes = manifest.Descriptor, manifest.Bytes

	entry := m.Descriptor
	entry.Annotations = map[string]string{ocispec.AnnotationRefName: tag}
	files := map[string][]byte{
		ocispec.ImageLayoutFile: encode(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}),
		ocispec.ImageIndexFile: encode(ocispec.Index{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{entry},
		}),
	}
	for _, b := range all {
		files[filepath.Join(ocispec.ImageBlobsDir, string(b.Digest.Algorithm()), b.Digest.Encoded())] = b.Bytes
	}
	if err := os.MkdirAll(filepath.Join(dir, ocispec.ImageBlobsDir, "sha256"), 0o755); err != nil {
		return Manifest{}, fmt.Errorf("writing a layout: %w", err)
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return Manifest{}, fmt.Errorf("writing a layout: %w", err)
		}
	}
	return m, nil
}
