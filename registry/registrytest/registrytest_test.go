package registrytest

import (
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestMain(m *testing.M) { os.Exit(NoLeaks(m)) }

const repo = "a/b"

// reply is an answer as a client has it.
type reply struct {
	status int
	header http.Header
	length int64
	body   string
	err    error // of the body
	proto  int
}

// ask asks by a client; headers are names and values in turns. What keeps the answer
// away is fatal, unless it is what is given back.
func ask(t *testing.T, c *http.Client, method, url, body string, header ...string) (reply, error) {
	t.Helper()
	var sends io.Reader
	if body != "" {
		sends = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, sends)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, resp.ContentLength, string(b), err, resp.ProtoMajor}, nil
}

// do asks, and wants an answer of that status.
func do(t *testing.T, s *Server, c *http.Client, want int, method, path, body string, header ...string) reply {
	t.Helper()
	if strings.HasPrefix(path, "/") {
		path = s.URL + path
	}
	r, err := ask(t, c, method, path, body, header...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	if r.status != want {
		t.Fatalf("%s %s: %d %s, want %d", method, path, r.status, r.body, want)
	}
	return r
}

func TestWhatIsHeldIsRead(t *testing.T) {
	for name, o := range map[string]Options{"plain": {}, "TLS": {TLS: true}, "TLS, HTTP/1": {HTTP1: true}, "client certificate": {TLS: true, ClientCert: true}, "another base": {Base: "/mirror"}} {
		t.Run(name, func(t *testing.T) {
			s := Start(t, o)
			c := s.Client()
			d := s.Image(repo, "v1", []byte("layer"))
			base := s.opts.Base
			do(t, s, c, 200, "GET", base+"/", "")
			m := do(t, s, c, 200, "GET", base+"/a/b/manifests/v1", "")
			if digest.FromString(m.body) != d || m.header.Get("Docker-Content-Digest") != d.String() || m.header.Get("Content-Type") != v1.MediaTypeImageManifest {
				t.Errorf("%+v", m)
			}
			if want := map[bool]int{true: 2, false: 1}[o.TLS]; m.proto != want {
				t.Errorf("HTTP/%d", m.proto)
			}
			h := do(t, s, c, 200, "HEAD", base+"/a/b/manifests/"+d.String(), "")
			if h.length != int64(len(m.body)) || h.body != "" {
				t.Errorf("%+v", h)
			}
			l := digest.FromString("layer").String()
			if r := do(t, s, c, 206, "GET", base+"/a/b/blobs/"+l, "", "Range", "bytes=1-3"); r.body != "aye" || r.header.Get("Content-Range") != "bytes 1-3/5" {
				t.Errorf("%+v", r)
			}
			do(t, s, c, 404, "GET", base+"/a/c/blobs/"+l, "")
			do(t, s, c, 404, "GET", "/elsewhere", "")
			s.Want("GET ping", "GET manifest v1", "HEAD manifest", "GET blob bytes=1-3", "GET blob", "GET other")
			if q := s.Requests()[3]; q.Repository != repo || q.Reference != l || q.Status != 206 || q.Sent != 3 || q.Header.Get("Range") != "bytes=1-3" {
				t.Errorf("%+v", q)
			}
			if s.Count("GET blob") != 2 || s.Count("* manifest v1") != 1 || s.Count("HEAD manifest sha256:*") != 1 || s.Count("* *") != 6 {
				t.Error("miscounted")
			}
			s.Forget()
			s.Want()
		})
	}
}

func TestAServerThatIsGoneRefuses(t *testing.T) {
	s := Start(t, Options{})
	c := s.Client()
	do(t, s, c, 200, "GET", "/v2/", "")
	if s.Connections() != 1 {
		t.Errorf("%d connections", s.Connections())
	}
	s.Gone()
	if _, err := ask(t, c, "GET", s.URL+"/v2/", ""); err == nil {
		t.Error("it answered")
	}
	s.Back()
	do(t, s, c, 200, "GET", "/v2/", "")
}

func TestAnUntrustedClientIsRefused(t *testing.T) {
	s := Start(t, Options{TLS: true, ClientCert: true})
	other := Start(t, Options{TLS: true})
	if _, err := ask(t, other.Client(), "GET", s.URL+"/v2/", ""); err == nil {
		t.Error("a client that doesn't trust the server got an answer")
	}
	c := s.Client()
	c.Transport.(*http.Transport).TLSClientConfig.Certificates = nil
	if _, err := ask(t, c, "GET", s.URL+"/v2/", ""); err == nil {
		t.Error("a client without a certificate got an answer")
	}
}
