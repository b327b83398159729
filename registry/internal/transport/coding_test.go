package transport

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/ocifs/ocifs/registry/registrytest"
)

// asIs gets an address by Identity and a plan.
func asIs(t *testing.T, method, url string, p Plan) (*http.Response, string) {
	t.Helper()
	wire := &http.Transport{DisableCompression: true}
	t.Cleanup(wire.CloseIdleConnections)
	req, err := http.NewRequestWithContext(WithPlan(t.Context(), p), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&Identity{wire}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp, string(b)
}

// A body that is compressed in spite of identity is given as it was meant, and its length isn't
// told, as that is of the compressed one. Errors are, too; a blob isn't.
//
// Behaviour: transport.coding
func TestACodingIsUndone(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Image("a/b", "v1")
	want := string(s.ReadManifest("a/b", "v1"))
	for _, coding := range []string{"gzip", "x-gzip", "deflate"} {
		for _, length := range []bool{true, false} {
			rule := s.On("GET manifest", registrytest.Encode(coding, length))
			resp, got := asIs(t, "GET", s.URL+"/v2/a/b/manifests/v1", Plan{})
			if got != want || resp.ContentLength != -1 || resp.Header.Get("Content-Encoding") != "" {
				t.Errorf("%s: %q, %d bytes, %v", coding, got, resp.ContentLength, resp.Header)
			}
			resp, got = asIs(t, "GET", s.URL+"/v2/a/b/manifests/none", Plan{Bulk: true})
			if !strings.Contains(got, "MANIFEST_UNKNOWN") || resp.StatusCode != 404 {
				t.Errorf("%s: an error is %q", coding, got)
			}
			if resp, got = asIs(t, "GET", s.URL+"/v2/a/b/manifests/v1", Plan{Bulk: true}); got == want || resp.Header.Get("Content-Encoding") != coding {
				t.Errorf("%s: a blob is decoded", coding)
			}
			rule.End()
		}
	}
	s.On("HEAD manifest", registrytest.With("Content-Encoding", "gzip"))
	if resp, _ := asIs(t, "HEAD", s.URL+"/v2/a/b/manifests/v1", Plan{}); resp.ContentLength != -1 {
		t.Errorf("HEAD tells %d bytes, which are of the compressed body", resp.ContentLength)
	}
}

// A body that hasn't got the coding that is said of it, or one that nobody knows, comes as it is.
//
// Behaviour: transport.coding
func TestACodingThatIsOnlySaidIsLeftAlone(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Image("a/b", "v1")
	want := string(s.ReadManifest("a/b", "v1"))
	for _, coding := range []string{"gzip", "x-gzip", "deflate", "br", "identity", "gzip, gzip"} {
		rule := s.On("GET manifest", registrytest.With("Content-Encoding", coding))
		if _, got := asIs(t, "GET", s.URL+"/v2/a/b/manifests/v1", Plan{}); got != want {
			t.Errorf("%s: %q", coding, got)
		}
		rule.End()
	}
	s.On("GET manifest", registrytest.With("Content-Encoding", "gzip"), registrytest.Body("x"))
	if _, got := asIs(t, "GET", s.URL+"/v2/a/b/manifests/v1", Plan{}); got != "x" {
		t.Errorf("a byte is %q", got)
	}
}

// A compressed body that breaks off is broken, not short.
//
// Behaviour: transport.coding
func TestACodedBodyThatBreaksOffIsBroken(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Image("a/b", "v1")
	for _, n := range []int{3, 20} {
		rule := s.On("GET manifest", registrytest.Truncate(n), registrytest.Encode("gzip", true))
		wire := &http.Transport{DisableCompression: true}
		t.Cleanup(wire.CloseIdleConnections)
		resp, err := (&http.Client{Transport: &Identity{wire}}).Get(s.URL + "/v2/a/b/manifests/v1")
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(resp.Body); err != io.ErrUnexpectedEOF {
			t.Errorf("after %d bytes: %q, %v", n, b, err)
		}
		resp.Body.Close()
		rule.End()
	}
}
