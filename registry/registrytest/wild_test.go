package registrytest

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// A part beyond the limit is refused with 413 or another status, and leaves the session as it was.
func TestAPartThatIsTooLargeIsRefused(t *testing.T) {
	s := Start(t, Options{Traits: Traits{PartMax: 6}})
	c := s.Client()
	at := begin(t, s, c)
	do(t, s, c, 413, "PATCH", at, text, "Content-Range", "0-9")
	s.Change(func(tr *Traits) { tr.TooLarge = 416 })
	if r := do(t, s, c, 416, "PATCH", at, text, "Content-Range", "0-9"); !strings.Contains(r.body, "too large") {
		t.Error(r.body)
	}
	do(t, s, c, 202, "PATCH", at, text[:6], "Content-Range", "0-5")
	do(t, s, c, 202, "PATCH", at, text[6:], "Content-Range", "6-9")
	do(t, s, c, 201, "PUT", closing(at, digest.FromString(text)), "")
}

// An address that was signed for GET is 403 for HEAD.
func TestAPresignedAddressIsForGetAlone(t *testing.T) {
	s := Start(t, Options{})
	cdn := s.Elsewhere(t, Options{})
	path := blobAt(s)
	s.On("* blob", PresignGet(cdn))
	c := s.Client()
	at := do(t, s, c, 307, "HEAD", path, "").header.Get("Location")
	do(t, cdn, c, 403, "HEAD", at, "")
	do(t, cdn, c, 200, "GET", at, "")
}

// If-None-Match: * lets nobody overwrite, a weak ETag is never matched, and a registry without
// conditions refuses them.
func TestConditionsOfAPut(t *testing.T) {
	s := Start(t, Options{Traits: Traits{WeakETags: true}})
	c := s.Client()
	m := manifestOf(s.Blob(repo, []byte(text)), "")
	const path = "/v2/a/b/manifests/v1"
	put := func(want int, header ...string) {
		t.Helper()
		do(t, s, c, want, "PUT", path, m, append(header, "Content-Type", v1.MediaTypeImageManifest)...)
	}
	put(201, "If-None-Match", "*")
	put(412, "If-None-Match", "*")
	etag := do(t, s, c, 200, "GET", path, "").header.Get("ETag")
	if !strings.HasPrefix(etag, `W/"`) {
		t.Errorf("ETag %q", etag)
	}
	put(412, "If-Match", etag)
	s.Change(func(tr *Traits) { tr.Conditions = 501 })
	put(501, "If-None-Match", "*")
	put(501, "If-Match", etag)
	put(201)
}

// A stream of HTTP/2 is reset before headers, and its connection goes on.
func TestAStreamIsResetBeforeHeaders(t *testing.T) {
	s := Start(t, Options{TLS: true})
	path := blobAt(s)
	s.First(1, "GET blob", ResetStream())
	c := s.Client()
	if _, err := ask(t, c, "GET", s.URL+path, ""); err == nil || !strings.Contains(err.Error(), "INTERNAL_ERROR") {
		t.Errorf("%v", err)
	}
	do(t, s, c, 200, "GET", path, "")
}
