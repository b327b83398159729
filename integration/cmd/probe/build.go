package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// build copies an image from one layout to another in the way in which buildctl's
// `type=oci,tar=false` writes: each blob as ingest/<hash>/data, synced, renamed, and
// its new directory synced; index.json under a lock file, read, written over, and
// cut to its length at last.
func build(from, to, tag string) error {
	blobs, err := filepath.Glob(filepath.Join(from, "blobs/*/*"))
	if err != nil {
		return err
	}
	for i, blob := range blobs {
		if err := ingest(blob, from, to, fmt.Sprintf("%064x", i)); err != nil {
			return err
		}
	}
	raw, err := os.ReadFile(filepath.Join(from, ocispec.ImageIndexFile))
	if err != nil {
		return err
	}
	var source ocispec.Index
	if err := json.Unmarshal(raw, &source); err != nil {
		return err
	}
	image := source.Manifests[0]
	image.Annotations = map[string]string{ocispec.AnnotationRefName: tag}
	return addToIndex(to, image)
}

func ingest(blob, from, to, hash string) error {
	rel, err := filepath.Rel(from, blob)
	if err != nil {
		return err
	}
	target := filepath.Join(to, rel)
	if _, err := os.Stat(target); err == nil {
		return nil // it is there
	}
	b, err := os.ReadFile(blob)
	if err != nil {
		return err
	}
	dir := filepath.Join(to, "ingest", hash)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, side := range []string{"ref", "startedat", "updatedat", "total"} {
		if err := os.WriteFile(filepath.Join(dir, side), []byte(hash), 0o666); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(filepath.Join(dir, "data"), os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return err
	}
	for len(b) > 0 {
		n, err := f.Write(b[:min(len(b), 32<<10)])
		if err != nil {
			return err
		}
		b = b[n:]
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(dir, "data"), target); err != nil {
		return err
	}
	if err := os.Chmod(target, 0o444); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(target))
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

func addToIndex(to string, image ocispec.Descriptor) error {
	lock, err := os.OpenFile(filepath.Join(to, "index.json.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(lock.Name())
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(to, ocispec.ImageIndexFile), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	var index ocispec.Index
	if err := json.NewDecoder(f).Decode(&index); err != nil {
		return err
	}
	index.SchemaVersion, index.Manifests = 2, append(index.Manifests, image)
	b, err := json.Marshal(index)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		return err
	}
	return f.Truncate(int64(len(b))) // its close is where it is pushed, and nobody looks
}
