package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/mount"
)

// pushes measures how an image of one layer gets from a layout on the disk to the
// registry. Each is another image in a repository of its own: some programs remember
// where a layer is, and have the registry copy it.
func (b *bench) pushes(ctx context.Context, rounds int) (err error) {
	layout := filepath.Join(b.dir, "layout")
	o, err := b.options()
	if err != nil {
		return err
	}
	m, err := mount.Start(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Unmount()) }()
	ways := []struct{ what, script string }{
		{"cp -r into upload/", "cp -r %[1]s " + filepath.Join(o.Dir, strings.ReplaceAll(b.host, ":", "_")) + "/push/cp%[3]d/upload/v1"},
		{"crane push", "crane push --insecure %[1]s %[2]s/push/crane%[3]d:v1"},
		{"skopeo copy", "skopeo --insecure-policy copy -q --dest-tls-verify=false oci:%[1]s:v1 docker://%[2]s/push/skopeo%[3]d:v1"},
		{"oras cp", "oras cp --from-oci-layout %[1]s:v1 --to-plain-http %[2]s/push/oras%[3]d:v1"},
	}
	rows := make([]row, len(ways))
	for round := range rounds {
		for i, w := range ways {
			if err := os.RemoveAll(layout); err != nil {
				return err
			}
			if err := writeLayout(layout, uint64(100+round*len(ways)+i), b.size); err != nil {
				return err
			}
			r, err := mount.Run(ctx, mount.Env(o.Home, b.tools), fmt.Sprintf(w.script, layout, b.host, round))
			if err == nil && r.Code != 0 {
				err = fmt.Errorf("%s: exit code %d: %s", w.what, r.Code, r.Stderr)
			}
			if err != nil {
				return err
			}
			rows[i].what, rows[i].took = w.what, append(rows[i].took, r.Took)
		}
	}
	fmt.Printf("an image of one layer of %d MiB is pushed from a layout on the disk\n\n", b.size>>20)
	b.table(rows)
	peak, err := mount.PeakMemory(m.PID())
	if err != nil {
		return err
	}
	best := min(median(rows[1].took), median(rows[2].took), median(rows[3].took))
	fmt.Printf("\ncp against the best of the others:  %.2f\n", float64(best)/float64(median(rows[0].took)))
	fmt.Printf("memory of the daemon at its peak:   %d MiB\n", peak>>20)
	return nil
}

// writeLayout makes an OCI image layout of one image with one layer of noise.
func writeLayout(dir string, seed uint64, size int64) error {
	blobs := filepath.Join(dir, "blobs/sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, "layer"))
	if err != nil {
		return err
	}
	defer f.Close()
	h := digest.SHA256.Digester()
	if _, err := io.Copy(io.MultiWriter(f, h.Hash()), content.Noise(seed, size)); err != nil {
		return err
	}
	layer := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: h.Digest(), Size: size}
	if err := f.Sync(); err != nil { // so that its way to the disk isn't measured
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(blobs, layer.Digest.Encoded())); err != nil {
		return err
	}
	add := func(mediaType string, v any) (ocispec.Descriptor, error) {
		raw, err := json.Marshal(v)
		d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
		return d, errors.Join(err, os.WriteFile(filepath.Join(blobs, d.Digest.Encoded()), raw, 0o644))
	}
	config, err := add(ocispec.MediaTypeImageConfig, ocispec.Image{
		Created: &time.Time{}, Platform: ocispec.Platform{Architecture: "amd64", OS: "linux"},
		RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{layer.Digest}},
	})
	if err != nil {
		return err
	}
	manifest, err := add(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: config, Layers: []ocispec.Descriptor{layer},
	})
	if err != nil {
		return err
	}
	manifest.Annotations = map[string]string{ocispec.AnnotationRefName: "v1"}
	index, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{manifest}})
	return errors.Join(err,
		os.WriteFile(filepath.Join(dir, "index.json"), index, 0o644),
		os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644))
}
