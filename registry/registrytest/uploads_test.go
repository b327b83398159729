package registrytest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

const uploads = "/v2/a/b/blobs/uploads/"

// begin begins a session, and gives its address.
func begin(t *testing.T, s *Server, c *http.Client) string {
	t.Helper()
	return do(t, s, c, 202, "POST", uploads, "").header.Get("Location")
}

// closing is the address that closes a session with content of that digest.
func closing(at string, d digest.Digest) string { return at + "&digest=" + d.String() }

func TestABlobIsTakenStrictly(t *testing.T) {
	s := Start(t, Options{})
	c := s.Client()
	d := digest.FromString(text)
	t.Run("as a whole", func(t *testing.T) {
		r := do(t, s, c, 201, "PUT", closing(begin(t, s, c), d), text)
		if got := s.ReadBlob(repo, d); string(got) != text || r.header.Get("Docker-Content-Digest") != d.String() {
			t.Errorf("it has %q", got)
		}
		do(t, s, c, 202, "DELETE", "/v2/a/b/blobs/"+d.String(), "")
		do(t, s, c, 404, "DELETE", "/v2/a/b/blobs/"+d.String(), "")
	})
	t.Run("in parts", func(t *testing.T) {
		at := begin(t, s, c)
		do(t, s, c, 202, "PATCH", at, text[:4], "Content-Range", "0-3")
		do(t, s, c, 416, "PATCH", at, text[:4], "Content-Range", "0-3")
		do(t, s, c, 416, "PATCH", at, text[4:], "Content-Range", "4-8")
		do(t, s, c, 416, "PATCH", at, text[4:])
		if r := do(t, s, c, 204, "GET", at, ""); r.header.Get("Range") != "0-3" {
			t.Errorf("Range %q", r.header.Get("Range"))
		}
		do(t, s, c, 416, "PUT", closing(at, d), text[4:], "Content-Range", "5-10")
		do(t, s, c, 201, "PUT", closing(at, d), text[4:], "Content-Range", "4-9")
		do(t, s, c, 404, "PUT", closing(at, d), "")
	})
	t.Run("at once", func(t *testing.T) {
		all := "all of it"
		do(t, s, c, 201, "POST", uploads+"?digest="+digest.FromString(all).String(), all)
		if string(s.ReadBlob(repo, digest.FromString(all))) != all {
			t.Error("it isn't there")
		}
	})
	t.Run("sha512", func(t *testing.T) {
		at := do(t, s, c, 202, "POST", uploads+"?digest-algorithm=sha512", "").header.Get("Location")
		do(t, s, c, 201, "PUT", closing(at, digest.SHA512.FromString(text)), text)
		do(t, s, c, 400, "POST", uploads+"?digest-algorithm=md5", "")
	})
	t.Run("wrong digest", func(t *testing.T) {
		at := begin(t, s, c)
		do(t, s, c, 400, "PUT", closing(at, d), "other")
		do(t, s, c, 204, "DELETE", at, "")
		do(t, s, c, 404, "DELETE", at, "")
	})
	if n := s.Sessions(); n != 0 {
		t.Errorf("%d sessions are open", n)
	}
}

func TestTraitsOfUploads(t *testing.T) {
	s := Start(t, Options{Traits: Traits{Mounts: true, ChunkMin: 6, FrozenRange: true}})
	other := s.Elsewhere(t, Options{})
	c := s.Client()
	d := s.Blob("c/d", []byte(text))
	do(t, s, c, 202, "POST", uploads+"?from=c/e&mount="+d.String(), "")
	do(t, s, c, 201, "POST", uploads+"?from=c/d&mount="+d.String(), "")
	if string(s.ReadBlob(repo, d)) != text {
		t.Error("it isn't mounted")
	}
	r := do(t, s, c, 202, "POST", uploads, "")
	at := r.header.Get("Location")
	if r.header.Get("OCI-Chunk-Min-Length") != "6" {
		t.Errorf("%v", r.header)
	}
	r = do(t, s, c, 201, "PATCH", at, text[:6], "Content-Range", "0-5")
	if r.header.Get("Range") != "0-3" {
		t.Errorf("Range %q", r.header.Get("Range"))
	}
	do(t, s, c, 201, "PATCH", at, text[6:], "Content-Range", "6-9")
	do(t, s, c, 416, "PATCH", at, text[:6], "Content-Range", "10-15") // the one before was the last, or too short
	s.Change(func(tr *Traits) { tr.Sessions = other.URL })
	at = begin(t, s, c)
	if !strings.HasPrefix(at, other.URL) {
		t.Errorf("the session is at %s", at)
	}
	do(t, other, c, 201, "PUT", closing(at, d), text)
}

// docker sends a blob so; most registries take it, and the specification doesn't ask
// for it.
func TestAStreamIsTakenWhereThatIsSaid(t *testing.T) {
	s := Start(t, Options{})
	c := s.Client()
	patch := func(want int, at string) {
		t.Helper()
		req, err := http.NewRequest("PATCH", s.URL+at, io.NopCloser(strings.NewReader(text))) // of which no length is known
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("status %d, want %d", resp.StatusCode, want)
		}
	}
	patch(416, begin(t, s, c))
	s.Change(func(tr *Traits) { tr.Streamed = true })
	at := begin(t, s, c)
	patch(202, at)
	do(t, s, c, 416, "PATCH", at, text)
	do(t, s, c, 201, "PUT", closing(at, digest.FromString(text)), "")
}

func TestAnUploadMisbehavesAsTold(t *testing.T) {
	s := Start(t, Options{})
	c := s.Client()
	has := func(at, want string) {
		t.Helper()
		if r := do(t, s, c, 204, "GET", at, ""); r.header.Get("Range") != want {
			t.Errorf("it has %s, want %s", r.header.Get("Range"), want)
		}
	}
	s.Nth(1, "PATCH upload", Take(3))
	at := begin(t, s, c)
	if _, err := ask(t, c, "PATCH", s.URL+at, text, "Content-Range", "0-9"); err == nil {
		t.Error("it answered")
	}
	has(at, "0-2")
	s.Nth(1, "PATCH upload", TakeOnly(2))
	do(t, s, c, 202, "PATCH", at, text[3:], "Content-Range", "3-9")
	has(at, "0-4")
	s.Nth(1, "PATCH upload", SpoilSession())
	do(t, s, c, 202, "PATCH", at, text[5:], "Content-Range", "5-9")
	do(t, s, c, 400, "PUT", closing(at, digest.FromString(text)), "")
	s.Nth(1, "PUT upload", Lost())
	at = begin(t, s, c)
	if _, err := ask(t, c, "PUT", s.URL+closing(at, digest.FromString(text)), text); err == nil {
		t.Error("it answered")
	}
	if string(s.ReadBlob(repo, digest.FromString(text))) != text {
		t.Error("it isn't done")
	}
	for _, q := range s.Requests() {
		if q.Method == "PATCH" && q.Header.Get("Content-Range") == "0-9" && q.Read != 3 {
			t.Errorf("%d bytes were read", q.Read)
		}
	}
}

func manifestOf(config digest.Digest, more string) string {
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"x/y","digest":"%s","size":10},"layers":[]%s}`, v1.MediaTypeImageManifest, config, more)
}

func TestAManifestIsTakenStrictly(t *testing.T) {
	s := Start(t, Options{})
	c := s.Client()
	d := s.Blob(repo, []byte(text))
	whole, lacking := manifestOf(d, ""), manifestOf(digest.FromString("other"), "")
	index := func(of string) string {
		return fmt.Sprintf(`{"manifests":[{"mediaType":"%s","digest":"%s","size":1}]}`, v1.MediaTypeImageManifest, digest.FromString(of))
	}
	for name, p := range map[string]struct {
		reference, contentType, body string
		status                       int
	}{
		"by tag":                {"v1", v1.MediaTypeImageManifest, whole, 201},
		"by digest":             {digest.FromString(whole).String(), v1.MediaTypeImageManifest, whole, 201},
		"by sha512":             {digest.SHA512.FromString(whole).String(), v1.MediaTypeImageManifest, whole, 201},
		"by another digest":     {d.String(), v1.MediaTypeImageManifest, whole, 400},
		"by no tag":             {"-x", v1.MediaTypeImageManifest, whole, 400},
		"of another type":       {"v1", v1.MediaTypeImageIndex, whole, 400},
		"without a type":        {"v1", "", whole, 400},
		"without a blob":        {"v1", v1.MediaTypeImageManifest, lacking, 404},
		"an index without":      {"v1", v1.MediaTypeImageIndex, index(lacking), 404},
		"no JSON":               {"v1", v1.MediaTypeImageManifest, "{", 400},
		"neither one nor other": {"v1", v1.MediaTypeImageManifest, "{}", 400},
	} {
		t.Run(name, func(t *testing.T) {
			do(t, s, c, p.status, "PUT", "/v2/a/b/manifests/"+p.reference, p.body, "Content-Type", p.contentType)
		})
	}
	do(t, s, c, 201, "PUT", "/v2/a/b/manifests/i", index(whole), "Content-Type", v1.MediaTypeImageIndex)
	s.Change(func(tr *Traits) { tr.Sparse = true })
	do(t, s, c, 201, "PUT", "/v2/a/b/manifests/i", index(lacking), "Content-Type", v1.MediaTypeImageIndex)
	if string(s.ReadManifest(repo, "v1")) != whole || string(s.ReadManifest(repo, "i")) != index(lacking) {
		t.Error("the tags point elsewhere")
	}
}

func TestTagsAndETags(t *testing.T) {
	s := Start(t, Options{})
	c := s.Client()
	m := manifestOf(s.Blob(repo, []byte(text)), "")
	path := "/v2/a/b/manifests/" + digest.FromString(m).String()
	put := func(want int, path string, header ...string) reply {
		t.Helper()
		return do(t, s, c, want, "PUT", path, m, append(header, "Content-Type", v1.MediaTypeImageManifest)...)
	}
	if r := put(201, path+"?tag=v1"); r.header["Oci-Tag"] != nil || s.ReadManifest(repo, "v1") != nil {
		t.Errorf("%v", r.header)
	}
	s.Change(func(tr *Traits) { tr.OCITag, tr.ETags = true, true })
	if r := put(201, path+"?tag=v1&tag=v2"); !slices.Equal(r.header["Oci-Tag"], []string{"v1", "v2"}) {
		t.Errorf("%v", r.header)
	}
	etag := do(t, s, c, 200, "GET", "/v2/a/b/manifests/v2", "").header.Get("ETag")
	put(412, "/v2/a/b/manifests/v3", "If-Match", etag)
	put(201, "/v2/a/b/manifests/v2", "If-Match", etag)
	do(t, s, c, 202, "DELETE", "/v2/a/b/manifests/v1", "")
	if tags, manifests, _ := s.Held(repo); !slices.Equal(tags, []string{"v2"}) || len(manifests) != 1 {
		t.Errorf("left: %v, %v", tags, manifests)
	}
	s.Change(func(tr *Traits) { tr.Keep = true })
	do(t, s, c, 405, "DELETE", path, "")
	s.Change(func(tr *Traits) { tr.Keep = false })
	do(t, s, c, 202, "DELETE", path, "") // and its tag
	do(t, s, c, 404, "DELETE", path, "")
	do(t, s, c, 404, "GET", "/v2/a/b/manifests/v2", "")
}

// What was pushed is unknown for a while.
func TestWhatIsPushedIsKnownLate(t *testing.T) {
	s := Start(t, Options{Traits: Traits{Late: 2}})
	c := s.Client()
	d := digest.FromString(text)
	do(t, s, c, 201, "PUT", closing(begin(t, s, c), d), text)
	do(t, s, c, 404, "HEAD", "/v2/a/b/blobs/"+d.String(), "")
	put := func(want int) {
		t.Helper()
		do(t, s, c, want, "PUT", "/v2/a/b/manifests/v1", manifestOf(d, ""), "Content-Type", v1.MediaTypeImageManifest)
	}
	put(404)
	put(201)
	for _, want := range []int{404, 404, 200} {
		do(t, s, c, want, "GET", "/v2/a/b/manifests/v1", "")
	}
}

// A session's query that is lost fails the test.
func TestASessionsQueryMustComeBack(t *testing.T) {
	var failed noted
	s := Start(t, Options{})
	s.t = &failed
	c := &http.Client{}
	defer c.CloseIdleConnections()
	r, err := ask(t, c, "POST", s.URL+uploads, "")
	if err != nil {
		t.Fatal(err)
	}
	at, _, _ := strings.Cut(r.header.Get("Location"), "?")
	if r, err = ask(t, c, "PUT", s.URL+at+"?digest="+digest.FromString(text).String(), text); err != nil || r.status != 400 {
		t.Error(errors.Join(err, fmt.Errorf("status %d", r.status)))
	}
	if len(failed.errors) != 1 {
		t.Errorf("it says %q", failed.errors)
	}
}

// noted is a test whose errors are kept.
type noted struct {
	testing.TB
	errors []string
}

func (n *noted) Helper()                      {}
func (n *noted) Errorf(f string, args ...any) { n.errors = append(n.errors, fmt.Sprintf(f, args...)) }
