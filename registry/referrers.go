package registry

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/internal/transport"
	"github.com/ocifs/ocifs/registry/ref"
)

// Referrers are the manifests whose subject a digest is, as a registry lists them.
type Referrers struct {
	// Descriptors are the referrers, of all pages, in the registry's order. Those that can't
	// be valid are left out. Their sizes are the registry's word alone.
	Descriptors []v1.Descriptor
	// Annotations are those of the index; where there are several pages, the first that has a
	// key counts.
	Annotations map[string]string
	// Pages are the bytes of the index, page by page as they came, before anything was left
	// out or filtered; nil: the tag schema answered, and there is no tag.
	Pages [][]byte
	// API says that the referrers API answered; false: the tag schema did, as the registry has
	// no such API.
	API bool
}

// Referrers lists what refers to d: by the API, all pages, or by the tag schema where the
// registry has none (spec, "Listing Referrers" and "Referrers Tag Schema"). With an
// artifactType only referrers of that type are listed, "" lists all. The registry is asked to
// filter, and what comes is filtered here whatever it says that it applied. A referrer whose
// descriptor names no type is of none.
//
// Nothing that refers to d is no error, nor is a d that the repository doesn't have.
// ErrNotFound: there is no such repository, where the registry tells that.
func (c *Client) Referrers(ctx context.Context, r ref.Repository, d digest.Digest, artifactType string) (Referrers, error) {
	if err := checkDigest("GET referrers", r, d); err != nil {
		return Referrers{}, err
	}
	rs, err := c.referrersAPI(ctx, r, d, artifactType)
	if !errors.Is(err, errNoAPI) {
		return rs, err
	}
	return c.referrersTag(ctx, r, d, artifactType)
}

// errNoAPI is of a registry without the referrers API.
var errNoAPI = errors.New("no referrers API")

func (c *Client) referrersAPI(ctx context.Context, r ref.Repository, d digest.Digest, artifactType string) (Referrers, error) {
	k := call{
		method: http.MethodGet, repo: r, path: r.Path + "/referrers/" + d.String(),
		header: http.Header{"Accept": {v1.MediaTypeImageIndex}},
		what:   "referrers", name: named(r, d.String()), mirrored: true, referrers: true,
		plan: transport.Plan{Here: true},
	}
	if artifactType != "" {
		k.query = "artifactType=" + url.QueryEscape(artifactType)
	}
	rs := Referrers{Descriptors: []v1.Descriptor{}, API: true}
	for p, err := range c.pages(ctx, k, nil) {
		var e *Error
		first := len(rs.Pages) == 0
		if first && err != nil && ctx.Err() == nil && !c.learnt.hasReferrers(r) {
			return Referrers{}, errNoAPI // only mirrors were asked, and the registry may have the tag
		}
		if first && errors.As(err, &e) {
			switch e.Status {
			case http.StatusNotFound, http.StatusBadRequest, http.StatusNotAcceptable, http.StatusMethodNotAllowed, http.StatusSeeOther:
				if e.has("NAME_UNKNOWN") { // the API is there, the repository isn't
					return Referrers{}, err
				}
				c.learnt.lacksReferrers(r)
				return Referrers{}, errNoAPI
			}
		}
		if err != nil {
			return Referrers{}, err
		}
		index, ok := parseIndex(p.body, p.header.Get("Content-Type"))
		if !ok && first {
			c.learnt.lacksReferrers(r)
			return Referrers{}, errNoAPI
		}
		if !ok {
			return Referrers{}, k.nonsense("a page is no index")
		}
		rs.add(p.body, index.of(artifactType))
	}
	return rs, nil
}

// isIndex says whether a page of referrers is one.
func isIndex(p page) bool {
	_, ok := parseIndex(p.body, p.header.Get("Content-Type"))
	return ok
}

// add adds a page.
func (rs *Referrers) add(raw []byte, index referrersIndex) {
	rs.Pages = append(rs.Pages, raw)
	rs.Descriptors = append(rs.Descriptors, index.descriptors...)
	for k, v := range index.annotations {
		if rs.Annotations == nil {
			rs.Annotations = map[string]string{}
		}
		if _, known := rs.Annotations[k]; !known {
			rs.Annotations[k] = v
		}
	}
}

// referrersIndex is a page of referrers.
type referrersIndex struct {
	descriptors []v1.Descriptor // never nil
	annotations map[string]string
}

// of leaves out the referrers of another artifact type, if one is given.
func (i referrersIndex) of(artifactType string) referrersIndex {
	if artifactType != "" {
		i.descriptors = slices.DeleteFunc(i.descriptors, func(d v1.Descriptor) bool { return d.ArtifactType != artifactType })
	}
	return i
}

// parseIndex reads an index, and leaves out descriptors that can't be valid and annotations
// that are none.
func parseIndex(b []byte, contentType string) (referrersIndex, bool) {
	var index struct {
		MediaType   string            `json:"mediaType"`
		Manifests   []json.RawMessage `json:"manifests"`
		Annotations json.RawMessage   `json:"annotations"`
	}
	if json.Unmarshal(b, &index) != nil {
		return referrersIndex{}, false
	}
	isIndex := index.MediaType == v1.MediaTypeImageIndex || index.MediaType == "" && bareType(contentType) == v1.MediaTypeImageIndex
	if !isIndex {
		return referrersIndex{}, false
	}
	parsed := referrersIndex{descriptors: []v1.Descriptor{}}
	if json.Unmarshal(index.Annotations, &parsed.annotations) != nil {
		parsed.annotations = nil
	}
	for _, raw := range index.Manifests {
		var d v1.Descriptor
		if json.Unmarshal(raw, &d) == nil && d.Size >= 0 && hasDigest(d) {
			parsed.descriptors = append(parsed.descriptors, d)
		}
	}
	return parsed, true
}

// referrersTag reads the tag that stands for the API. No tag is no referrers.
func (c *Client) referrersTag(ctx context.Context, r ref.Repository, d digest.Digest, artifactType string) (Referrers, error) {
	none := Referrers{Descriptors: []v1.Descriptor{}}
	k := manifestCall(http.MethodGet, r, fallbackTag(d))
	es, err := c.listing(r.Host)
	if err != nil {
		return Referrers{}, k.failed(ctx, err, "")
	}
	m, err := try(ctx, c, k, es, OutOfReach, func(ctx context.Context, k call) (*Manifest, error) { return c.manifest(ctx, k, "") })
	var e *Error
	if errors.As(err, &e) && e.Kind == ErrNotFound && !e.has("NAME_UNKNOWN") {
		return none, nil
	}
	if err != nil {
		return Referrers{}, err
	}
	if m.MediaType != v1.MediaTypeImageIndex || d.Algorithm().FromBytes(m.Raw) == d {
		// Someone's image, or the subject itself, as GitLab gives it.
		return none, nil
	}
	index := referrersIndex{slices.DeleteFunc(slices.Clone(m.Manifests), func(d v1.Descriptor) bool { return !hasDigest(d) }), m.Annotations}
	none.add(m.Raw, index.of(artifactType))
	return none, nil
}

// fallbackTag is the tag of the tag schema: at most 32 characters of the
// algorithm and 64 of the digits.
func fallbackTag(d digest.Digest) string {
	algo, hex := d.Algorithm().String(), d.Encoded()
	return algo[:min(len(algo), 32)] + "-" + hex[:min(len(hex), 64)]
}
