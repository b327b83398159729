package content

import (
	"bytes"
	"context"
	_ "crypto/sha512" // an algorithm that digests may name
	"encoding/json"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/retry"
)

// Docker's media types, beside OCI's in package v1.
const (
	DockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	DockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	DockerConfig   = "application/vnd.docker.container.image.v1+json"
	DockerLayer    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// Repo is a repository to push to. Several goroutines may.
type Repo struct {
	remote *remote.Repository
}

// To gives the repository path of the registry at host, which speaks plain HTTP.
// User and password may be empty.
func To(host, path, user, password string) (*Repo, error) {
	r, err := remote.NewRepository(host + "/" + path)
	if err != nil {
		return nil, fmt.Errorf("naming a repository to push to: %w", err)
	}
	client := &auth.Client{Client: retry.DefaultClient, Cache: auth.NewCache()}
	if user != "" {
		client.Credential = auth.StaticCredential(host, auth.Credential{Username: user, Password: password})
	}
	r.Client, r.PlainHTTP = client, true
	return &Repo{remote: r}, nil
}

// Blob is pushed content that is no manifest.
type Blob struct {
	ocispec.Descriptor
	Bytes []byte // nil for those too big to keep
}

// Manifest is a pushed manifest or index.
type Manifest struct {
	ocispec.Descriptor
	Bytes []byte
	// Config and Layers are an image's or artifact's, Children an index's.
	Config   Blob
	Layers   []Blob
	Children []Manifest
}

// Blob pushes b. The descriptor in the answer has the media type.
func (r *Repo) Blob(ctx context.Context, mediaType string, b []byte) (Blob, error) {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	if err := r.push(ctx, d, bytes.NewReader(b)); err != nil {
		return Blob{}, err
	}
	return Blob{Descriptor: d, Bytes: b}, nil
}

// Stream pushes size bytes that open gives, twice the same: once to know their
// digest, once to send them. For blobs too big for memory.
func (r *Repo) Stream(ctx context.Context, mediaType string, size int64, open func() io.Reader) (Blob, error) {
	dgst, err := digest.FromReader(open())
	if err != nil {
		return Blob{}, fmt.Errorf("hashing a blob to push: %w", err)
	}
	d := ocispec.Descriptor{MediaType: mediaType, Digest: dgst, Size: size}
	return Blob{Descriptor: d}, r.push(ctx, d, open())
}

func (r *Repo) push(ctx context.Context, d ocispec.Descriptor, body io.Reader) error {
	if ok, err := r.remote.Blobs().Exists(ctx, d); err == nil && ok {
		return nil
	}
	if err := r.remote.Blobs().Push(ctx, d, body); err != nil {
		return fmt.Errorf("pushing blob %s: %w", d.Digest, err)
	}
	return nil
}

// Put pushes raw as a manifest under its digest, and under tag where one is
// given. For subjects it keeps the referrers tag where the registry has no API.
func (r *Repo) Put(ctx context.Context, tag, mediaType string, raw []byte) (Manifest, error) {
	return r.put(ctx, tag, ocispec.Descriptor{
		MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw)),
	}, raw)
}

// PutSHA512 is Put by a sha512 digest.
func (r *Repo) PutSHA512(ctx context.Context, mediaType string, raw []byte) (Manifest, error) {
	return r.put(ctx, "", ocispec.Descriptor{
		MediaType: mediaType, Digest: digest.SHA512.FromBytes(raw), Size: int64(len(raw)),
	}, raw)
}

func (r *Repo) put(ctx context.Context, tag string, d ocispec.Descriptor, raw []byte) (Manifest, error) {
	var err error
	if tag == "" {
		err = r.remote.Manifests().Push(ctx, d, bytes.NewReader(raw))
	} else {
		err = r.remote.Manifests().PushReference(ctx, d, bytes.NewReader(raw), tag)
	}
	if err != nil {
		return Manifest{}, fmt.Errorf("pushing manifest %s %s: %w", tag, d.Digest, err)
	}
	return Manifest{Descriptor: d, Bytes: raw}, nil
}

// Tag points a tag at a manifest that is there.
func (r *Repo) Tag(ctx context.Context, m Manifest, tag string) error {
	if err := r.remote.Tag(ctx, m.Descriptor, tag); err != nil {
		return fmt.Errorf("tagging %s as %s: %w", m.Digest, tag, err)
	}
	return nil
}

// Index pushes an index of the children, whose descriptors say their platforms.
// An empty mediaType is OCI's.
func (r *Repo) Index(ctx context.Context, tag, mediaType string, children ...Manifest) (Manifest, error) {
	if mediaType == "" {
		mediaType = ocispec.MediaTypeImageIndex
	}
	ix := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: mediaType, Manifests: []ocispec.Descriptor{}}
	for _, c := range children {
		ix.Manifests = append(ix.Manifests, c.Descriptor)
	}
	m, err := r.Put(ctx, tag, mediaType, encode(ix))
	m.Children = children
	return m, err
}

// For gives the manifest as a child of an index for a platform.
func (m Manifest) For(os, arch, variant string) Manifest {
	m.Platform = &ocispec.Platform{OS: os, Architecture: arch, Variant: variant}
	return m
}

// encode gives JSON as many registries' clients write it: indented.
func encode(v any) []byte {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err) // the types of the specification always encode
	}
	return b
}
