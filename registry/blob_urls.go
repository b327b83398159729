package registry

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry/hosts"
	"github.com/ocifs/ocifs/registry/ref"
)

// maxURLs bounds the URLs of one descriptor that are asked: whoever writes a manifest mustn't
// direct this client at any number of servers. The number is this client's own; the image
// specification has no bound.
const maxURLs = 8

// urlEndpoints makes an endpoint of each URL of a descriptor that may be asked (image-spec,
// "Descriptors"), in order. refused says why the others aren't; nil: all are.
func (c *Client) urlEndpoints(urls []string) (es []*endpoint, refused error) {
	refuse := func(err error) {
		if refused != nil {
			err = fmt.Errorf("%w; %w", refused, err)
		}
		refused = err
	}
	for k, raw := range urls {
		if k == maxURLs {
			refuse(fmt.Errorf("the descriptor has %d URLs, and those after the first %d aren't asked", len(urls), maxURLs))
			break
		}
		e, err := c.urlEndpoint(raw)
		if err != nil {
			refuse(err)
			continue
		}
		es = append(es, e)
	}
	return es, refused
}

// urlEndpoint makes the endpoint of one URL. It has one blob and no API. A URL by http is asked
// where a credential may go by http, though none does: to hosts that somebody named for that, and
// to this machine. A user and a password in a URL are left out.
func (c *Client) urlEndpoint(raw string) (*endpoint, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("the descriptor's URL %q isn't asked: it is no https address", plain(redacted(raw)))
	case u.Scheme == "http" && !c.auth.PlainOK(u.Host):
		return nil, fmt.Errorf("the descriptor's URL at http://%s isn't asked: it isn't encrypted", plain(u.Host))
	}
	u.User, u.Fragment = nil, ""
	u.RawQuery = strings.ReplaceAll(u.RawQuery, " ", "%20")
	return &endpoint{
		Endpoint: hosts.Endpoint{Base: u}, registry: u.Host, mirror: true, descriptorURL: raw,
		health: new(health), // its own: a manifest mustn't have a server taken for one that is down
	}, nil
}

// redacted leaves out what may be a secret in an address: its query, and its user.
func redacted(address string) string {
	address, _, _ = strings.Cut(address, "?")
	if i := strings.LastIndexByte(address, '@'); i >= 0 {
		address = "…" + address[i:]
	}
	return address
}

// wrongLast gives the URLs of a blob's descriptor, with the one last that had the blob wrong.
func (c *Client) wrongLast(r ref.Repository, d digest.Digest, urls []string) []string {
	last, wrong := c.learnt.urlOf(r, d)
	k := slices.Index(urls, last)
	if !wrong || k < 0 {
		return urls
	}
	return append(slices.Delete(slices.Clone(urls), k, k+1), last)
}

// withURL gives the endpoints to ask for a blob. The URL that had the blob a moment ago comes
// before them: the parts of a blob cost one question to a registry that lacks it.
func (c *Client) withURL(es []*endpoint, r ref.Repository, d digest.Digest, urls []string) []*endpoint {
	last, wrong := c.learnt.urlOf(r, d)
	if wrong || !slices.Contains(urls, last) {
		return es
	}
	e, err := c.urlEndpoint(last)
	if err != nil {
		return es // somebody changed the configuration
	}
	return append([]*endpoint{e}, es...)
}
