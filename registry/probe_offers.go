package registry

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/auth"
	"github.com/ocifs/ocifs/registry/internal/transport"
	"github.com/ocifs/ocifs/registry/ref"
)

// What a registry offers is found out by asking for it in a way that changes nothing.
// Each of the functions below says why its way doesn't. An error says that it can't be
// told, and why: ErrDenied, where this account may not. They are safe for concurrent
// use, as the rest of the Client.

// OffersReferrers says whether a repository has the referrers API (spec, "Listing
// Referrers"), or none, so that the tag schema stands for it. It asks for the
// referrers of a digest that nothing has: reading changes nothing.
func (c *Client) OffersReferrers(ctx context.Context, r ref.Repository) (bool, error) {
	nothing := digest.NewDigestFromEncoded(digest.SHA256, strings.Repeat("0", digest.SHA256.Size()*2))
	_, err := c.referrersAPI(ctx, r, nothing)
	if errors.Is(err, errNoAPI) {
		return false, nil
	}
	return err == nil, err
}

// OffersRange says whether a part of a blob can be read (RFC 9110, section 14). It
// asks for the first byte of desc, which mustn't be empty: reading changes nothing.
func (c *Client) OffersRange(ctx context.Context, r ref.Repository, desc v1.Descriptor) (bool, error) {
	if err := checkDigest(r, desc.Digest); err != nil {
		return false, err
	}
	k := blobCall(http.MethodGet, r, desc.Digest)
	k.header.Set("Range", "bytes=0-0")
	resp, err := c.do(ctx, k, http.StatusOK, http.StatusPartialContent)
	if err != nil {
		return false, err
	}
	transport.Aside(resp)
	start, _, ok := parseContentRange(resp.Header.Get("Content-Range"))
	return resp.StatusCode == http.StatusPartialContent && ok && start == 0, nil
}

// OffersDelete says whether manifests can be deleted (spec, "Deleting Manifests"). It
// asks to delete the manifest of a random digest: no repository has it, as nobody
// can make bytes for a digest, so nothing is deleted.
func (c *Client) OffersDelete(ctx context.Context, r ref.Repository) (bool, error) {
	nothing := digest.FromString(rand.Text())
	err := c.delete(ctx, manifestCall(http.MethodDelete, r, nothing.String()))
	var e *Error
	switch {
	case err == nil: // to some, what isn't there is deleted
		return true, nil
	case errors.Is(err, ErrUnsupported):
		return false, nil
	case errors.As(err, &e) && e.Kind == ErrNotFound && !e.has("NAME_UNKNOWN"):
		return true, nil
	}
	return false, err
}

// OffersMount says whether a blob can be taken over from another repository (spec,
// "Mounting a blob from another repository"). It asks to mount a blob that r has from
// r itself: where that is done, the repository has what it had. Where the registry
// begins an upload instead, it is cancelled with nothing sent; Close waits for that.
func (c *Client) OffersMount(ctx context.Context, r ref.Repository, desc v1.Descriptor) (bool, error) {
	if err := checkDigest(r, desc.Digest); err != nil {
		return false, err
	}
	u := &upload{c: c, r: r, desc: desc, access: auth.Access{Do: auth.Push}, done: &Pushed{}}
	k := u.startCall("mount=" + url.QueryEscape(desc.Digest.String()) + "&from=" + url.QueryEscape(r.Path))
	resp, err := c.do(ctx, k, http.StatusCreated, http.StatusAccepted)
	switch {
	case errors.Is(err, ErrUnsupported):
		return false, nil
	case err != nil:
		return false, err
	case resp.StatusCode == http.StatusCreated:
		transport.Aside(resp)
		return true, nil
	}
	defer func() { u.abandon() }()
	return false, u.begun(resp, k)
}

// Sample finds something of a repository to look at: the tag that is asked for, else
// latest, else the first of the first page, and the smallest blob that isn't empty of
// the image that it points at, or of the first image of an index. The zero descriptor
// says that there is no such blob, "" that there is no tag.
//
// It costs a GET of a page of tags, and of a manifest or two.
func (c *Client) Sample(ctx context.Context, r ref.Repository, tag string) (string, v1.Descriptor, error) {
	if tag == "" {
		for page, err := range c.Tags(ctx, r) {
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
		k := slices.IndexFunc(m.Manifests, func(d v1.Descriptor) bool { return IsManifestType(d.MediaType) && hasDigest(d) })
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
		if b.Size > 0 && !IsForeign(b) && hasDigest(b) && (smallest.Size == 0 || b.Size < smallest.Size) {
			smallest = b
		}
	}
	return tag, smallest, nil
}
