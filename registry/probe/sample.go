package probe

import (
	"context"
	"net/http"
	"slices"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// Sample finds something of a repository to look at: the tag that is asked for, else
// latest, else the first of the first page, and the smallest blob that isn't empty of
// the image that it points at, or of the first image of an index. The zero descriptor
// says that there is no such blob, "" that there is no tag.
//
// It costs a GET of a page of tags, and of a manifest or two.
func Sample(ctx context.Context, c *registry.Client, r ref.Repository, tag string) (string, v1.Descriptor, error) {
	if tag == "" {
		for page, err := range c.TagPages(ctx, r) {
			if err != nil {
				return "", v1.Descriptor{}, err
			}
			for _, t := range page.Tags {
				if t == "latest" || tag == "" && ref.ValidTag(t) {
					tag = t
				}
			}
			break
		}
		if tag == "" {
			return "", v1.Descriptor{}, nil
		}
	}
	m, err := c.Manifest(ctx, r, tag)
	for deep := 0; err == nil && m.IsIndex() && deep < 4; deep++ {
		k := slices.IndexFunc(m.Manifests, func(d v1.Descriptor) bool { return registry.IsManifestType(d.MediaType) && hasDigest(d) })
		if k < 0 {
			break
		}
		m, err = c.Manifest(ctx, r, m.Manifests[k].Digest.String())
	}
	if err != nil {
		return tag, v1.Descriptor{}, err
	}
	var smallest v1.Descriptor
	for _, b := range m.Blobs() {
		if b.Size > 0 && !registry.IsForeign(b) && hasDigest(b) && (smallest.Size == 0 || b.Size < smallest.Size) {
			smallest = b
		}
	}
	return tag, smallest, nil
}

// hasDigest says whether a descriptor's digest is one that can be asked for.
func hasDigest(d v1.Descriptor) bool {
	_, err := ref.ParseDigest(d.Digest.String())
	return err == nil
}

// acceptManifests are the types of what nearly all tags point at.
const acceptManifests = v1.MediaTypeImageIndex + ", " + v1.MediaTypeImageManifest + ", " +
	"application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"

// RateLimit asks what the limits are, by a HEAD of a manifest, which isn't counted.
// false: the registry tells of none.
func RateLimit(ctx context.Context, c *registry.Client, r ref.Repository, reference string) (registry.RateLimit, bool, error) {
	// By the registry itself: its mirrors count nothing.
	resp, err := c.Do(ctx, r, registry.Request{
		Method: http.MethodHead, Path: r.Path + "/manifests/" + reference, Status: []int{http.StatusOK},
		Header: http.Header{"Accept": {acceptManifests}},
	})
	if err != nil {
		return registry.RateLimit{}, false, err
	}
	resp.Body.Close()
	s, err := c.HostState(r.Host)
	if err != nil || s.Limit == nil {
		return registry.RateLimit{}, false, err
	}
	return *s.Limit, true, nil
}
