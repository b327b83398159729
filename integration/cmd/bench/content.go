package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/integration/internal/content"
)

const (
	manyTags = 100_000
	tagPage  = 1000 // as distribution and most registries have it
)

func tagNames() []string {
	tags := make([]string, manyTags)
	for i := range tags {
		tags[i] = fmt.Sprintf("build-%06d", i)
	}
	return tags
}

// image is one at the registry, under the tag v1, of layers of noise: what can't be
// compressed, and what no program can tell from an archive without reading it.
type image struct {
	repo     string
	layers   []ocispec.Descriptor
	unpacked int64 // bytes of all layers; 0 for noise
}

// image pushes an image, once.
func (b *bench) image(ctx context.Context, repo string, layers int, size int64) (image, error) {
	if i, ok := b.images[repo]; ok {
		return i, nil
	}
	i := image{repo: repo}
	to, err := content.To(b.server.Registry, repo, "", "")
	if err != nil {
		return i, err
	}
	for range layers {
		seed := b.seed()
		layer, err := to.Stream(ctx, ocispec.MediaTypeImageLayer, size, func() io.Reader { return content.Noise(seed, size) })
		if err != nil {
			return i, err
		}
		i.layers = append(i.layers, layer.Descriptor)
	}
	return i, b.finish(ctx, to, i, diffIDs(i.layers))
}

// finish pushes the config and the manifest of an image whose layers are pushed.
func (b *bench) finish(ctx context.Context, to *content.Repo, i image, diffIDs []digest.Digest) error {
	config, manifest := describe(i.layers, diffIDs)
	if _, err := to.Blob(ctx, ocispec.MediaTypeImageConfig, config); err != nil {
		return err
	}
	if _, err := to.Put(ctx, "v1", ocispec.MediaTypeImageManifest, manifest); err != nil {
		return err
	}
	b.images[i.repo] = i
	return nil
}

// diffIDs are those of layers that aren't packed.
func diffIDs(layers []ocispec.Descriptor) (ids []digest.Digest) {
	for _, l := range layers {
		ids = append(ids, l.Digest)
	}
	return ids
}

// archive is a layer of files.
type archive struct {
	mediaType string
	files     iter.Seq[content.TextFile]
}

// tree pushes an image of archives, the lowest first, once.
func (b *bench) tree(ctx context.Context, repo string, archives ...archive) (image, error) {
	if i, ok := b.images[repo]; ok {
		return i, nil
	}
	i := image{repo: repo}
	to, err := content.To(b.server.Registry, repo, "", "")
	if err != nil {
		return i, err
	}
	var ids []digest.Digest
	for _, a := range archives {
		p, err := b.pushArchive(ctx, to, a)
		if err != nil {
			return i, err
		}
		i.layers = append(i.layers, ocispec.Descriptor{MediaType: a.mediaType, Digest: p.Digest, Size: p.Size})
		i.unpacked += p.Unpacked
		ids = append(ids, p.DiffID)
	}
	return i, b.finish(ctx, to, i, ids)
}

// pushArchive writes an archive to the disk, and pushes it.
func (b *bench) pushArchive(ctx context.Context, to *content.Repo, a archive) (content.Packed, error) {
	f, err := os.CreateTemp(b.dir, "archive-")
	if err != nil {
		return content.Packed{}, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	p, err := content.WriteArchive(f, a.mediaType, a.files)
	if err != nil {
		return p, err
	}
	_, err = to.Stream(ctx, a.mediaType, p.Size, func() io.Reader { return io.NewSectionReader(f, 0, p.Size) })
	return p, err
}

// describe gives the config and the manifest of an image of layers.
func describe(layers []ocispec.Descriptor, diffIDs []digest.Digest) (config, manifest []byte) {
	c := ocispec.Image{Created: &time.Time{}, Platform: ocispec.Platform{Architecture: "amd64", OS: "linux"}, RootFS: ocispec.RootFS{Type: "layers", DiffIDs: diffIDs}}
	config = encode(c)
	return config, encode(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: descriptor(ocispec.MediaTypeImageConfig, config), Layers: layers,
	})
}

func descriptor(mediaType string, raw []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
}

func encode(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // the types of the specification always encode
	}
	return raw
}

// layout writes an image of one layer of noise, another one each time, as an OCI image
// layout under the tag v1, and gives the layer.
func (b *bench) layout(dir string, size int64) (ocispec.Descriptor, error) {
	blobs := filepath.Join(dir, "blobs/sha256")
	layer := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Size: size}
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(blobs, 0o755)); err != nil {
		return layer, err
	}
	f, err := os.Create(filepath.Join(dir, "layer"))
	if err != nil {
		return layer, err
	}
	defer f.Close()
	h := digest.SHA256.Digester()
	if _, err := io.Copy(io.MultiWriter(f, h.Hash()), content.Noise(b.seed(), size)); err != nil {
		return layer, err
	}
	layer.Digest = h.Digest()
	config, manifest := describe([]ocispec.Descriptor{layer}, []digest.Digest{layer.Digest})
	top := descriptor(ocispec.MediaTypeImageManifest, manifest)
	entry := top
	entry.Annotations = map[string]string{ocispec.AnnotationRefName: "v1"}
	index := encode(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{entry}})
	return layer, errors.Join(
		os.Rename(f.Name(), filepath.Join(blobs, layer.Digest.Encoded())),
		os.WriteFile(filepath.Join(blobs, digest.FromBytes(config).Encoded()), config, 0o644),
		os.WriteFile(filepath.Join(blobs, top.Digest.Encoded()), manifest, 0o644),
		os.WriteFile(filepath.Join(dir, ocispec.ImageIndexFile), index, 0o644),
		os.WriteFile(filepath.Join(dir, ocispec.ImageLayoutFile), encode(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}), 0o644))
}

// seed is another one each time: no content here is like another.
func (b *bench) seed() uint64 {
	b.seeds++
	return b.seeds
}
