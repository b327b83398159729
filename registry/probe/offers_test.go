package probe_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/probe"
	"github.com/ocifs/ocifs/registry/ref"
)

// reply is one answer of a registry.
type reply struct {
	status int
	header map[string]string
	body   string
}

func coded(c string) string { return `{"errors":[{"code":"` + c + `","message":"no"}]}` }

// Each offering is told from its absence, and from what can't be told; and what is
// asked for can't change anything.
func TestWhatIsOfferedIsFoundOut(t *testing.T) {
	const index = `{"schemaVersion":2,"mediaType":"` + v1.MediaTypeImageIndex + `","manifests":[]}`
	const blob = "some bytes"
	desc := v1.Descriptor{Digest: digest.FromString(blob), Size: int64(len(blob))}
	zeroes := "sha256:" + strings.Repeat("0", 64)
	referrers := func(c *registry.Client, ctx context.Context, r ref.Repository) (bool, error) {
		return probe.OffersReferrers(ctx, c, r)
	}
	part := func(c *registry.Client, ctx context.Context, r ref.Repository) (bool, error) {
		return probe.OffersRange(ctx, c, r, desc)
	}
	deletion := func(c *registry.Client, ctx context.Context, r ref.Repository) (bool, error) {
		return probe.OffersDelete(ctx, c, r)
	}
	mount := func(c *registry.Client, ctx context.Context, r ref.Repository) (bool, error) {
		return probe.OffersMount(ctx, c, r, desc)
	}
	for name, c := range map[string]struct {
		probe   func(*registry.Client, context.Context, ref.Repository) (bool, error)
		asks    string // the request, as far as it is known beforehand
		answers reply
		yes     bool
		err     error
	}{
		"referrers":               {referrers, "GET /v2/a/b/referrers/" + zeroes, reply{200, map[string]string{"Content-Type": v1.MediaTypeImageIndex}, index}, true, nil},
		"no referrers":            {referrers, "GET /v2/a/b/referrers/", reply{404, nil, "404 page not found"}, false, nil},
		"referrers, a web page":   {referrers, "GET /v2/a/b/referrers/", reply{200, nil, "<html>"}, false, nil},
		"referrers, denied":       {referrers, "GET /v2/a/b/referrers/", reply{401, nil, coded("UNAUTHORIZED")}, false, registry.ErrDenied},
		"referrers, no such repo": {referrers, "GET /v2/a/b/referrers/", reply{404, nil, coded("NAME_UNKNOWN")}, false, registry.ErrNotFound},
		"referrers, down":         {referrers, "GET /v2/a/b/referrers/", reply{500, nil, ""}, false, registry.ErrServer},

		"range":                {part, "GET /v2/a/b/blobs/" + desc.Digest.String(), reply{206, map[string]string{"Content-Range": "bytes 0-0/10"}, "0"}, true, nil},
		"no range":             {part, "GET /v2/a/b/blobs/", reply{200, nil, blob}, false, nil},
		"range, another":       {part, "GET /v2/a/b/blobs/", reply{206, map[string]string{"Content-Range": "bytes 5-5/10"}, "5"}, false, nil},
		"range, no such blob":  {part, "GET /v2/a/b/blobs/", reply{404, nil, coded("BLOB_UNKNOWN")}, false, registry.ErrNotFound},
		"delete":               {deletion, "DELETE /v2/a/b/manifests/sha256:", reply{404, nil, coded("MANIFEST_UNKNOWN")}, true, nil},
		"delete, idempotent":   {deletion, "DELETE /v2/a/b/manifests/sha256:", reply{202, nil, ""}, true, nil},
		"no delete":            {deletion, "DELETE /v2/a/b/manifests/sha256:", reply{405, nil, ""}, false, nil},
		"no delete, as a code": {deletion, "DELETE /v2/a/b/manifests/sha256:", reply{400, nil, coded("UNSUPPORTED")}, false, nil},
		"delete, denied":       {deletion, "DELETE /v2/a/b/manifests/sha256:", reply{403, nil, coded("DENIED")}, false, registry.ErrDenied},
		"delete, no such repo": {deletion, "DELETE /v2/a/b/manifests/sha256:", reply{404, nil, coded("NAME_UNKNOWN")}, false, registry.ErrNotFound},

		"mount":         {mount, "POST /v2/a/b/blobs/uploads/?mount=" + desc.Digest.String() + "&from=a/b", reply{201, map[string]string{"Location": "/v2/a/b/blobs/x"}, ""}, true, nil},
		"no mount":      {mount, "POST /v2/a/b/blobs/uploads/?mount=", reply{202, map[string]string{"Location": "/v2/a/b/blobs/uploads/1"}, ""}, false, nil},
		"no upload":     {mount, "POST /v2/a/b/blobs/uploads/?mount=", reply{405, nil, ""}, false, nil},
		"mount, denied": {mount, "POST /v2/a/b/blobs/uploads/?mount=", reply{401, nil, coded("DENIED")}, false, registry.ErrDenied},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var asked []string
			cl, r := probed(t, func(w http.ResponseWriter, req *http.Request) {
				query := ""
				if q := req.URL.Query(); len(q) > 0 {
					query = fmt.Sprintf("?mount=%s&from=%s", q.Get("mount"), q.Get("from"))
				}
				mu.Lock()
				asked = append(asked, req.Method+" "+req.URL.Path+query)
				first := len(asked) == 1
				mu.Unlock()
				if !first {
					w.WriteHeader(map[string]int{http.MethodDelete: http.StatusNoContent, http.MethodGet: http.StatusNotFound}[req.Method])
					return
				}
				if want := map[bool]string{true: "bytes=0-0"}[strings.Contains(name, "range")]; req.Header.Get("Range") != want {
					t.Errorf("Range %q, want %q", req.Header.Get("Range"), want)
				}
				for k, v := range c.answers.header {
					w.Header().Set(k, v)
				}
				w.WriteHeader(c.answers.status)
				_, _ = io.WriteString(w, c.answers.body)
			}, "")
			yes, err := c.probe(cl, t.Context(), r)
			if yes != c.yes || !errors.Is(err, c.err) {
				t.Errorf("got %t, %v; want %t, %v", yes, err, c.yes, c.err)
			}
			cl.Close() // waits for a session to be cancelled
			want := 1
			if strings.HasPrefix(name, "no referrers") || strings.HasSuffix(name, "a web page") {
				want = 2 // the tag schema is asked in place of the API
			}
			if c.answers.status == http.StatusAccepted && c.answers.header != nil {
				want = 2
				if len(asked) != 2 || asked[1] != "DELETE /v2/a/b/blobs/uploads/1" {
					t.Errorf("a session is left: %q", asked)
				}
			}
			if len(asked) != want || !strings.HasPrefix(asked[0], c.asks) {
				t.Errorf("asked %q, want %d, the first %s", asked, want, c.asks)
			}
		})
	}
}

// A sample of a repository is its smallest blob that isn't empty, of the tag that was
// asked for, of latest, or of the first.
func TestASampleIsTheSmallestBlob(t *testing.T) {
	sized := func(n int, mediaType string) string {
		return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, mediaType, digest.FromString(fmt.Sprint(n)), n)
	}
	image := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s,%s,%s,%s]}`, v1.MediaTypeImageManifest,
		sized(9, "a/config"), sized(7, "a/b"), sized(0, "a/b"), sized(3, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
		strings.Replace(sized(2, "a/b"), "sha256:", "blake3:", 1)+","+sized(8, "a/b"))
	index := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s,{"mediaType":%q,"digest":%q,"size":%d}]}`,
		v1.MediaTypeImageIndex, sized(4, "a/layer"), v1.MediaTypeImageManifest, digest.FromString(image), len(image))
	empty := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[]}`, v1.MediaTypeImageIndex)
	content := map[string]string{"v1": index, "latest": image, "none": empty, digest.FromString(image).String(): image}
	for name, c := range map[string]struct {
		tags, asked, tag string
		size             int64
	}{
		"latest":       {`["v1","latest"]`, "", "latest", 7},
		"the first":    {`["v1","none"]`, "", "v1", 7},
		"as asked for": {`["latest"]`, "v1", "v1", 7},
		"no blob":      {`["none"]`, "", "none", 0},
		"no tag":       {`null`, "", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			cl, r := probed(t, func(w http.ResponseWriter, req *http.Request) {
				if strings.HasSuffix(req.URL.Path, "/tags/list") {
					_, _ = fmt.Fprintf(w, `{"name":"a/b","tags":%s}`, c.tags)
					return
				}
				_, _ = io.WriteString(w, content[req.URL.Path[strings.LastIndexByte(req.URL.Path, '/')+1:]])
			}, "")
			tag, desc, err := probe.Sample(t.Context(), cl, r, c.asked)
			if err != nil || tag != c.tag || desc.Size != c.size {
				t.Errorf("got %q, %d bytes, %v; want %q, %d", tag, desc.Size, err, c.tag, c.size)
			}
		})
	}
}
