package registry

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/internal/transport"
	"github.com/ocifs/ocifs/registry/ref"
)

// Referrers lists what refers to d: by the API, all pages, or by the tag schema
// where the registry has none (spec, "Listing Referrers" and "Referrers Tag
// Schema"). The sizes in the descriptors are the registry's word alone.
func (c *Client) Referrers(ctx context.Context, r ref.Repository, d digest.Digest) ([]v1.Descriptor, error) {
	if err := checkDigest(r, d); err != nil {
		return nil, err
	}
	ds, err := c.referrersAPI(ctx, r, d)
	if !errors.Is(err, errNoAPI) {
		return ds, err
	}
	return c.referrersTag(ctx, r, d)
}

// errNoAPI is of a registry without the referrers API.
var errNoAPI = errors.New("no referrers API")

func (c *Client) referrersAPI(ctx context.Context, r ref.Repository, d digest.Digest) ([]v1.Descriptor, error) {
	k := call{
		method: http.MethodGet, repo: r, path: r.Path + "/referrers/" + d.String(),
		header: http.Header{"Accept": {v1.MediaTypeImageIndex}},
		what:   "referrers", name: named(r, d.String()), mirrored: true, referrers: true,
		plan: transport.Plan{Here: true},
	}
	all := []v1.Descriptor{}
	first := true
	for p, err := range c.pages(ctx, k, nil) {
		var e *Error
		if first && err != nil && ctx.Err() == nil && !c.learnt.hasReferrers(r) {
			return nil, errNoAPI // only mirrors were asked, and the registry may have the tag
		}
		if first && errors.As(err, &e) {
			switch e.Status {
			case http.StatusNotFound, http.StatusBadRequest, http.StatusNotAcceptable, http.StatusMethodNotAllowed, http.StatusSeeOther:
				if e.has("NAME_UNKNOWN") { // the API is there, the repository isn't
					return nil, err
				}
				c.learnt.lacksReferrers(r)
				return nil, errNoAPI
			}
		}
		if err != nil {
			return nil, err
		}
		ds, ok := parseIndex(p.body, p.header.Get("Content-Type"))
		if !ok && first {
			c.learnt.lacksReferrers(r)
			return nil, errNoAPI
		}
		if !ok {
			return nil, k.nonsense("a page is no index")
		}
		all = append(all, ds...)
		first = false
	}
	return all, nil
}

// isIndex says whether a page of referrers is one.
func isIndex(p page) bool {
	_, ok := parseIndex(p.body, p.header.Get("Content-Type"))
	return ok
}

// parseIndex reads an index and leaves out descriptors that can't be valid.
func parseIndex(b []byte, contentType string) ([]v1.Descriptor, bool) {
	var index struct {
		MediaType string            `json:"mediaType"`
		Manifests []json.RawMessage `json:"manifests"`
	}
	if json.Unmarshal(b, &index) != nil {
		return nil, false
	}
	isIndex := index.MediaType == v1.MediaTypeImageIndex || index.MediaType == "" && bareType(contentType) == v1.MediaTypeImageIndex
	if !isIndex {
		return nil, false
	}
	ds := []v1.Descriptor{}
	for _, raw := range index.Manifests {
		var d v1.Descriptor
		if json.Unmarshal(raw, &d) == nil && d.Size >= 0 && hasDigest(d) {
			ds = append(ds, d)
		}
	}
	return ds, true
}

// referrersTag reads the tag that stands for the API. No tag is no referrers.
func (c *Client) referrersTag(ctx context.Context, r ref.Repository, d digest.Digest) ([]v1.Descriptor, error) {
	k := manifestCall(http.MethodGet, r, fallbackTag(d))
	es, err := c.listing(r.Host)
	if err != nil {
		return nil, k.failed(ctx, err, "")
	}
	m, err := try(ctx, c, k, es, OutOfReach, func(ctx context.Context, k call) (*Manifest, error) { return c.manifest(ctx, k, "") })
	var e *Error
	if errors.As(err, &e) && e.Kind == ErrNotFound && !e.has("NAME_UNKNOWN") {
		return []v1.Descriptor{}, nil
	}
	if err != nil {
		return nil, err
	}
	if m.MediaType != v1.MediaTypeImageIndex || d.Algorithm().FromBytes(m.Raw) == d {
		// Someone's image, or the subject itself, as GitLab gives it.
		return []v1.Descriptor{}, nil
	}
	return slices.DeleteFunc(slices.Clone(m.Manifests), func(d v1.Descriptor) bool { return !hasDigest(d) }), nil
}

// fallbackTag is the tag of the tag schema: at most 32 characters of the
// algorithm and 64 of the digits.
func fallbackTag(d digest.Digest) string {
	algo, hex := d.Algorithm().String(), d.Encoded()
	return algo[:min(len(algo), 32)] + "-" + hex[:min(len(hex), 64)]
}
