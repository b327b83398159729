package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/hosts"
	"github.com/ocifs/ocifs/registry/internal/transport"
	"github.com/ocifs/ocifs/registry/ref"
)

// Resolved is what a HEAD tells of a manifest or a blob. Size is -1 where that
// is unknown.
type Resolved struct {
	v1.Descriptor
	// Manifest is set where a GET was needed, so that nobody sends another.
	Manifest *Manifest
}

// manifestWhat is what errors call a manifest.
const manifestWhat = "manifest"

func manifestCall(method string, r ref.Repository, reference string) call {
	return call{
		method: method, repo: r, path: r.Path + "/manifests/" + reference,
		header: http.Header{"Accept": {acceptManifests}},
		what:   manifestWhat, name: named(r, reference),
	}
}

func named(r ref.Repository, object string) string {
	return ref.Reference{Repository: r, Object: object}.String()
}

// Manifest gets a manifest by its tag or its digest, which reference is one of, as
// ref.Reference.Object: one GET (spec, "Pulling manifests"). There is no default for "".
// Its bytes match the digest asked for or the one that came with them. ErrNotFound,
// ErrCorrupt, and what any request may end with.
func (c *Client) Manifest(ctx context.Context, r ref.Repository, reference string) (*Manifest, error) {
	want, err := checkReference("GET manifest", r, reference)
	if err != nil {
		return nil, err
	}
	need := hosts.Pull
	if want == "" {
		need = hosts.Resolve
		if c.pullsElsewhere(r.Host) {
			return c.resolveAndGet(ctx, r, reference)
		}
	}
	k := manifestCall(http.MethodGet, r, reference)
	es, err := c.able(r.Host, need)
	if err != nil {
		return nil, k.failed(ctx, err, "")
	}
	return try(ctx, c, k, es, anything, func(ctx context.Context, k call) (*Manifest, error) { return c.manifest(ctx, k, want) })
}

// pullsElsewhere says whether there is a mirror that has content and can't tell what
// tags point at.
func (c *Client) pullsElsewhere(host string) bool {
	es, err := c.able(host, hosts.Pull)
	return err == nil && es[0].mirror && es[0].Can&hosts.Resolve == 0
}

// resolveAndGet asks who can tell what a tag points at, and then those who have that.
func (c *Client) resolveAndGet(ctx context.Context, r ref.Repository, tag string) (*Manifest, error) {
	is, err := c.ResolveManifest(ctx, r, tag)
	if err != nil || is.Manifest != nil {
		return is.Manifest, err
	}
	return c.Manifest(ctx, r, is.Digest.String())
}

func (c *Client) manifest(ctx context.Context, k call, want digest.Digest) (*Manifest, error) {
	for attempt := 0; ; attempt++ {
		m, err := c.getManifest(ctx, k, want)
		if !errors.Is(err, errBroken) || errors.Is(err, ErrTimeout) || attempt >= c.retries(2) {
			return m, err
		}
		c.retried(k, err)
	}
}

// errBroken is of a body that broke off.
var errBroken = errors.New("the answer broke off")

func (c *Client) getManifest(ctx context.Context, k call, want digest.Digest) (*Manifest, error) {
	resp, err := c.do(ctx, k, http.StatusOK)
	if err != nil {
		return nil, err
	}
	raw, err := readAll(resp, MaxManifest)
	if err != nil {
		return nil, k.body(ctx, err)
	}
	if want == "" {
		// The digest that came along is what there is to compare with.
		named := resp.Header.Get("Docker-Content-Digest")
		if algo, _, _ := strings.Cut(named, ":"); ref.ValidAlgorithm(algo) {
			if want, err = ref.ParseDigest(named); err != nil {
				return nil, &Error{Op: k.op(), Name: k.name, At: k.server(), Kind: ErrCorrupt, Err: err}
			}
		}
	}
	m, err := ParseManifest(raw, resp.Header.Get("Content-Type"), want)
	if err != nil {
		return nil, &Error{Op: k.op(), Name: k.name, At: k.server(), Kind: ErrCorrupt, Err: err}
	}
	m.etag = resp.Header.Get("ETag")
	return m, nil
}

// body makes an *Error of what went wrong within an answer.
func (k call) body(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s %s: %w", k.op(), k.name, ctx.Err())
	}
	if errors.Is(err, ErrCorrupt) {
		return &Error{Op: k.op(), Name: k.name, At: k.server(), Kind: ErrCorrupt, Err: err}
	}
	if errors.Is(err, ErrTooLarge) {
		return k.tooLarge(err)
	}
	return &Error{Op: k.op(), Name: k.name, At: k.server(), Kind: kindOfFailure(err), Err: fmt.Errorf("%w: %w", errBroken, err)}
}

// readAll reads a body of at most limit bytes.
func readAll(resp *http.Response, limit int64) ([]byte, error) {
	b, err := transport.Read(resp, limit+1, answerWhole)
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, corrupt("the answer is larger than the %d MiB that are read", limit>>20)
	}
	return b, nil
}

// ResolveManifest tells what a tag or a digest stands for: one HEAD, and a GET
// where the registry has no HEAD, leaves the digest out, or leads HEAD to an address
// that is good for GET alone.
func (c *Client) ResolveManifest(ctx context.Context, r ref.Repository, reference string) (Resolved, error) {
	want, err := checkReference("HEAD manifest", r, reference)
	if err != nil {
		return Resolved{}, err
	}
	need := hosts.Pull
	if want == "" {
		need = hosts.Resolve
	}
	k := manifestCall(http.MethodHead, r, reference)
	es, err := c.able(r.Host, need)
	if err != nil {
		return Resolved{}, k.failed(ctx, err, "")
	}
	return try(ctx, c, k, es, anything, func(ctx context.Context, k call) (Resolved, error) { return c.resolveManifest(ctx, k, want) })
}

func (c *Client) resolveManifest(ctx context.Context, k call, want digest.Digest) (Resolved, error) {
	resp, err := c.head(ctx, k, http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusBadRequest)
	if err != nil {
		return Resolved{}, err
	}
	resp.Body.Close()
	d, derr := ref.ParseDigest(resp.Header.Get("Docker-Content-Digest"))
	if derr != nil && want != "" && resp.Header.Get("Docker-Content-Digest") == "" {
		d, derr = want, nil
	}
	if resp.StatusCode == http.StatusOK && derr == nil && (want == "" || d == want) {
		return Resolved{
			Descriptor: v1.Descriptor{MediaType: bareType(resp.Header.Get("Content-Type")), Digest: d, Size: resp.ContentLength},
		}, nil
	}
	k.method = http.MethodGet
	m, err := c.manifest(ctx, k, want)
	if err != nil {
		return Resolved{}, err
	}
	return Resolved{m.Descriptor(), m}, nil
}
