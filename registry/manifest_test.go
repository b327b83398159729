package registry

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// reading starts a registry, and gives a client of it and a repository. What goes
// wrong is tried again at once.
func reading(t *testing.T, o registrytest.Options) (*registrytest.Server, *Client, ref.Repository) {
	t.Helper()
	s := registrytest.Start(t, o)
	c := newClient(Options{PlainHTTP: []string{s.Host}, RetryMaxWait: 3 * time.Second},
		bounds{idle: 5 * time.Second, answer: 5 * time.Second, pauses: []time.Duration{1, 1, 1}, chunk: 4})
	t.Cleanup(c.Close)
	return s, c, ref.Repository{Host: s.Host, Path: "a/b"}
}

// anIndex is the least that a manifest can be.
const anIndex = `{"schemaVersion":2,"mediaType":"` + v1.MediaTypeImageIndex + `","manifests":[]}`

// isManifest checks that a manifest came, byte for byte and by its digest, or that the
// error is of a kind.
func isManifest(t *testing.T, m *Manifest, err error, raw string, d digest.Digest, want error) {
	t.Helper()
	switch {
	case want != nil:
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	case err != nil:
		t.Error(err)
	case string(m.Raw) != raw || m.Digest != d:
		t.Errorf("got %s %.200s, want %s", m.Digest, m.Raw, d)
	}
}

// What is known here is asked for, the best first, and as bytes that nobody packs.
//
// Behaviour: manifest.accept
func TestAllKindsOfManifestsAreAccepted(t *testing.T) {
	s, c, r := reading(t, registrytest.Options{})
	d := s.Manifest(r.Path, "v1", v1.MediaTypeImageIndex, []byte(anIndex))
	s.On("HEAD manifest *", registrytest.Without("Docker-Content-Digest")) // leads to a GET
	for _, reference := range []string{"v1", d.String()} {
		if _, err := c.Manifest(t.Context(), r, reference); err != nil {
			t.Error(err)
		}
		if _, err := c.ResolveManifest(t.Context(), r, reference); err != nil {
			t.Error(err)
		}
	}
	const want = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, " +
		"application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json, " +
		"application/vnd.oci.artifact.manifest.v1+json, application/vnd.cncf.oras.artifact.manifest.v1+json, " +
		"application/vnd.docker.distribution.manifest.v1+prettyjws;q=0.5, application/vnd.docker.distribution.manifest.v1+json;q=0.5"
	for _, q := range s.Requests() {
		if got := q.Header["Accept"]; !slices.Equal(got, []string{want}) {
			t.Errorf("%s accepts %q", q, got)
		}
		if got := q.Header["Accept-Encoding"]; !slices.Equal(got, []string{"identity"}) {
			t.Errorf("%s accepts the encoding %q", q, got)
		}
	}
}

// The bytes decide: a digest that was asked for counts, whatever the header says; where
// a tag was asked for the header's counts, where it can be verified.
//
// Behaviour: manifest.digest, names.digests
func TestTheDigestIsOfTheBytesThatCame(t *testing.T) {
	raw := []byte(anIndex)
	short, long := digest.SHA256.FromBytes(raw), digest.SHA512.FromBytes(raw)
	other, otherLong := digest.SHA256.FromString("other"), digest.SHA512.FromString("other")
	hex := short.Encoded()
	for name, test := range map[string]struct {
		reference string
		header    string // "": none
		corrupt   bool
		digest    digest.Digest // that it has then
		want      error
	}{
		"tag, right":                {"v1", short.String(), false, short, nil},
		"tag, none":                 {"v1", "", false, short, nil},
		"tag, sha512":               {"v1", long.String(), false, long, nil},
		"tag, wrong":                {"v1", other.String(), false, "", ErrCorrupt},
		"tag, wrong sha512":         {"v1", otherLong.String(), false, "", ErrCorrupt},
		"tag, another byte":         {"v1", short.String(), true, "", ErrCorrupt},
		"tag, unknown algorithm":    {"v1", "md5:d41d8cd98f00b204e9800998ecf8427e", false, short, nil},
		"tag, sha384":               {"v1", digest.SHA384.FromBytes(raw).String(), false, short, nil},
		"tag, no algorithm":         {"v1", hex, false, short, nil},
		"tag, empty digits":         {"v1", "sha256:", false, "", ErrCorrupt},
		"tag, few digits":           {"v1", "sha256:" + hex[1:], false, "", ErrCorrupt},
		"tag, upper case":           {"v1", "sha256:" + strings.ToUpper(hex), false, "", ErrCorrupt},
		"tag, other's digits":       {"v1", "sha512:" + hex, false, "", ErrCorrupt},
		"digest, right":             {short.String(), short.String(), false, short, nil},
		"digest, none":              {short.String(), "", false, short, nil},
		"digest, contradicted":      {short.String(), other.String(), false, short, nil},
		"digest, malformed header":  {short.String(), "sha256:xyz", false, short, nil},
		"digest, by sha512":         {short.String(), long.String(), false, short, nil},
		"digest, another byte":      {short.String(), short.String(), true, "", ErrCorrupt},
		"sha512, right":             {long.String(), long.String(), false, long, nil},
		"sha512, by sha256":         {long.String(), short.String(), false, long, nil},
		"sha512, another byte":      {long.String(), "", true, "", ErrCorrupt},
		"other's digest, confirmed": {other.String(), other.String(), false, "", ErrCorrupt},
		"other's digest, admitted":  {other.String(), short.String(), false, "", ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			s, c, r := reading(t, registrytest.Options{})
			s.Manifest(r.Path, test.reference, v1.MediaTypeImageIndex, raw)
			s.On("GET manifest", registrytest.Change(func(a *registrytest.Answer) {
				a.Header.Del("Docker-Content-Digest")
				if test.header != "" {
					a.Header.Set("Docker-Content-Digest", test.header)
				}
			}))
			if test.corrupt {
				// The 2 of schemaVersion is a 3 then.
				s.On("GET manifest", registrytest.Corrupt(strings.Index(anIndex, "2")))
			}
			m, err := c.Manifest(t.Context(), r, test.reference)
			isManifest(t, m, err, anIndex, test.digest, test.want)
			if n := s.Count("GET manifest"); n != 1 {
				t.Errorf("it was asked for %d times", n)
			}
		})
	}
}

// What a manifest says of itself is believed, and what the answer says where it is the
// type of a manifest; where the two contradict each other that is an error.
//
// Behaviour: manifest.type
func TestWhatAManifestIs(t *testing.T) {
	const docker = "application/vnd.docker.distribution.manifest.v2+json"
	const list = "application/vnd.docker.distribution.manifest.list.v2+json"
	d := digest.FromString("x")
	of := func(mediaType, fields string) string {
		if mediaType != "" {
			mediaType = `"mediaType":"` + mediaType + `",`
		}
		return `{` + mediaType + strings.ReplaceAll(fields, "@", `{"digest":"`+d.String()+`","size":1}`) + `}`
	}
	const image, index = `"config":@,"layers":[@]`, `"manifests":[@]`
	for name, test := range map[string]struct {
		contentType string
		raw         string
		want        string // "": ErrCorrupt
	}{
		"as it is":                         {v1.MediaTypeImageManifest, of(v1.MediaTypeImageManifest, image), v1.MediaTypeImageManifest},
		"a charset":                        {v1.MediaTypeImageIndex + "; charset=utf-8", of(v1.MediaTypeImageIndex, index), v1.MediaTypeImageIndex},
		"odd parameters":                   {v1.MediaTypeImageIndex + `;Charset="UTF-8" ; q=1`, of(v1.MediaTypeImageIndex, index), v1.MediaTypeImageIndex},
		"malformed parameters":             {v1.MediaTypeImageIndex + "; ; charset", of(v1.MediaTypeImageIndex, index), v1.MediaTypeImageIndex},
		"malformed, and contradicted":      {v1.MediaTypeImageManifest + "; ; charset", of(v1.MediaTypeImageIndex, index), ""},
		"capitals":                         {strings.ToUpper(v1.MediaTypeImageIndex), of(v1.MediaTypeImageIndex, index), v1.MediaTypeImageIndex},
		"octet-stream":                     {"application/octet-stream", of(docker, image), docker},
		"octet-stream, an index":           {"application/octet-stream", of(list, index), list},
		"text":                             {"text/plain; charset=utf-8", of(v1.MediaTypeImageManifest, image), v1.MediaTypeImageManifest},
		"JSON":                             {"application/json", of(v1.MediaTypeImageIndex, index), v1.MediaTypeImageIndex},
		"none":                             {"", of(v1.MediaTypeImageIndex, index), v1.MediaTypeImageIndex},
		"none, and no own":                 {"", of("", index), v1.MediaTypeImageIndex},
		"no own":                           {v1.MediaTypeImageManifest, of("", image), v1.MediaTypeImageManifest},
		"no own, octet-stream":             {"application/octet-stream", of("", image), v1.MediaTypeImageManifest},
		"index called image":               {v1.MediaTypeImageManifest, of(v1.MediaTypeImageIndex, index), ""},
		"index called image, no own":       {v1.MediaTypeImageManifest, of("", index), ""},
		"image called index, no own":       {v1.MediaTypeImageIndex, of("", image), ""},
		"OCI's called Docker's":            {docker, of(v1.MediaTypeImageManifest, image), ""},
		"Docker's called OCI's":            {v1.MediaTypeImageIndex, of(list, index), ""},
		"calls itself what it isn't":       {"", of(v1.MediaTypeImageManifest, index), ""},
		"calls itself schema 1":            {"", of("application/vnd.docker.distribution.manifest.v1+json", image), ""},
		"both":                             {"", of(v1.MediaTypeImageIndex, image+","+index), ""},
		"both, and one is empty":           {"", of(v1.MediaTypeImageManifest, image+`,"manifests":[]`), ""},
		"its type is no string":            {"", `{"mediaType":1,"manifests":[]}`, ""},
		"of a kind that nobody knows":      {"application/vnd.example+json", of("application/vnd.example+json", `"what":1`), "application/vnd.example+json"},
		"unknown, called an index":         {v1.MediaTypeImageIndex, of("application/vnd.example+json", index), ""},
		"a page of a proxy":                {"text/html", "<html>", ""},
		"a page that is called a manifest": {v1.MediaTypeImageManifest, "<html>", ""},
		"nothing":                          {v1.MediaTypeImageManifest, "", ""},
		"null":                             {v1.MediaTypeImageManifest, "null", ""},
		"an error with 200":                {"application/json", registrytest.Error("DENIED"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, c, r := reading(t, registrytest.Options{})
			made := s.Manifest(r.Path, "v1", test.contentType, []byte(test.raw))
			if test.contentType == "" {
				s.On("GET manifest", registrytest.Change(func(a *registrytest.Answer) {
					a.Header["Content-Type"] = nil // so that none is guessed
				}))
			}
			for _, reference := range []string{"v1", made.String()} {
				m, err := c.Manifest(t.Context(), r, reference)
				if test.want == "" {
					isManifest(t, m, err, "", "", ErrCorrupt)
					continue
				}
				isManifest(t, m, err, test.raw, made, nil)
				if err == nil && m.MediaType != test.want {
					t.Errorf("it is %s", m.MediaType)
				}
			}
		})
	}
}

// HEAD is believed where it tells a digest that can be right. Where it isn't offered,
// or leaves that out, the bytes are got, and tell it; they are given along, so that
// nobody gets them again.
//
// Behaviour: manifest.head
func TestHeadIsMadeUpFor(t *testing.T) {
	raw := []byte(anIndex)
	d, long := digest.FromBytes(raw), digest.SHA512.FromBytes(raw)
	const head, get, headDigest, getDigest = "HEAD manifest v1", "GET manifest v1", "HEAD manifest", "GET manifest"
	digestIs := func(v string) registrytest.Quirk { return registrytest.With("Docker-Content-Digest", v) }
	for name, test := range map[string]struct {
		reference string
		quirk     registrytest.Quirk // of HEAD
		asked     []string
		digest    digest.Digest
		size      int64
		mediaType string
	}{
		"as it is":                    {"v1", registrytest.With("X", "y"), []string{head}, d, int64(len(raw)), v1.MediaTypeImageIndex},
		"405":                         {"v1", registrytest.Status(405, ""), []string{head, get}, d, int64(len(raw)), v1.MediaTypeImageIndex},
		"400":                         {"v1", registrytest.Status(400, ""), []string{head, get}, d, int64(len(raw)), v1.MediaTypeImageIndex},
		"501":                         {"v1", registrytest.Status(501, ""), []string{head, get}, d, int64(len(raw)), v1.MediaTypeImageIndex},
		"405, by digest":              {d.String(), registrytest.Status(405, ""), []string{headDigest, getDigest}, d, int64(len(raw)), v1.MediaTypeImageIndex},
		"no digest":                   {"v1", registrytest.Without("Docker-Content-Digest"), []string{head, get}, d, int64(len(raw)), v1.MediaTypeImageIndex},
		"no digest, by digest":        {d.String(), registrytest.Without("Docker-Content-Digest"), []string{headDigest}, d, int64(len(raw)), v1.MediaTypeImageIndex},
		"malformed digest":            {"v1", digestIs("sha256:xyz"), []string{head, get}, d, int64(len(raw)), v1.MediaTypeImageIndex},
		"malformed digest, by digest": {d.String(), digestIs("sha256:xyz"), []string{headDigest, getDigest}, d, int64(len(raw)), v1.MediaTypeImageIndex},
		"unknown algorithm":           {"v1", digestIs("md5:d41d8cd98f00b204e9800998ecf8427e"), []string{head, get}, d, int64(len(raw)), v1.MediaTypeImageIndex},
		"sha512":                      {"v1", digestIs(long.String()), []string{head}, long, int64(len(raw)), v1.MediaTypeImageIndex},
		"sha512, by sha256":           {d.String(), digestIs(long.String()), []string{headDigest, getDigest}, d, int64(len(raw)), v1.MediaTypeImageIndex},
		"another's, by digest":        {d.String(), digestIs(digest.FromString("x").String()), []string{headDigest, getDigest}, d, int64(len(raw)), v1.MediaTypeImageIndex},
		"no type":                     {"v1", registrytest.Change(func(a *registrytest.Answer) { a.Header["Content-Type"] = nil }), []string{head}, d, int64(len(raw)), ""},
		"no length":                   {"v1", registrytest.Length(-1), []string{head}, d, -1, v1.MediaTypeImageIndex},
		"a length of 0":               {"v1", registrytest.Length(0), []string{head}, d, 0, v1.MediaTypeImageIndex},
		"a length that lies":          {"v1", registrytest.Length(1 << 40), []string{head}, d, 1 << 40, v1.MediaTypeImageIndex},
	} {
		t.Run(name, func(t *testing.T) {
			s, c, r := reading(t, registrytest.Options{})
			s.Manifest(r.Path, "v1", v1.MediaTypeImageIndex, raw)
			s.On("HEAD manifest", test.quirk)
			is, err := c.ResolveManifest(t.Context(), r, test.reference)
			if err != nil {
				t.Fatal(err)
			}
			if is.Digest != test.digest || is.Size != test.size || is.MediaType != test.mediaType {
				t.Errorf("%+v", is)
			}
			if got := len(test.asked) == 2; got != (is.Manifest != nil) || got && string(is.Manifest.Raw) != anIndex {
				t.Errorf("it comes with %v", is.Manifest)
			}
			s.Want(test.asked...)
			// What HEAD said of the size is nothing to the bytes.
			m, err := c.Manifest(t.Context(), r, "v1")
			isManifest(t, m, err, anIndex, d, nil)
			if err == nil && m.Descriptor().Size != int64(len(raw)) {
				t.Errorf("%d bytes", m.Descriptor().Size)
			}
		})
	}
}

// A refusal is one, and so is a GET in place of a HEAD whose bytes aren't those of the
// digest: neither becomes an answer.
//
// Behaviour: manifest.head, manifest.digest
func TestARefusedHeadIsNoGet(t *testing.T) {
	d := digest.FromString(anIndex)
	for _, test := range []struct {
		status int
		want   error
		gets   int
	}{
		{404, ErrNotFound, 0}, {401, ErrDenied, 0}, {403, ErrDenied, 0}, {429, ErrTooManyRequests, 0}, {500, ErrServer, 0}, {405, ErrCorrupt, 1},
	} {
		s, c, r := reading(t, registrytest.Options{})
		s.Manifest(r.Path, d.String(), v1.MediaTypeImageIndex, []byte(anIndex))
		s.On("HEAD manifest", registrytest.Status(test.status, ""))
		s.On("GET manifest", registrytest.Corrupt(strings.Index(anIndex, "2")))
		if is, err := c.ResolveManifest(t.Context(), r, d.String()); !errors.Is(err, test.want) {
			t.Errorf("%d: %+v, %v", test.status, is, err)
		}
		if n := s.Count("GET manifest"); n != test.gets {
			t.Errorf("%d: %d times GET", test.status, n)
		}
	}
}

// A manifest that breaks off is got again, a few times, and never shown in part.
//
// Behaviour: manifest.digest
func TestAManifestThatBreaksOffIsGotAgain(t *testing.T) {
	s, c, r := reading(t, registrytest.Options{})
	d := s.Manifest(r.Path, "v1", v1.MediaTypeImageIndex, []byte(anIndex))
	s.First(2, "GET manifest", registrytest.Cut(20))
	m, err := c.Manifest(t.Context(), r, "v1")
	isManifest(t, m, err, anIndex, d, nil)
	s.Want("GET manifest v1", "GET manifest v1", "GET manifest v1")
	s.Forget()
	s.On("GET manifest", registrytest.Cut(20))
	m, err = c.Manifest(t.Context(), r, "v1")
	isManifest(t, m, err, "", "", ErrServer)
	s.Want("GET manifest v1", "GET manifest v1", "GET manifest v1")
}

// An error names its kind once.
func TestAnErrorNamesItsKindOnce(t *testing.T) {
	s, c := newFixture(t)
	s.Image(s.repo.Path, "v1", []byte(layer))
	s.On("GET manifest", registrytest.Body("{"))
	_, err := c.Manifest(t.Context(), s.repo, "v1")
	if !errors.Is(err, ErrCorrupt) || strings.Count(err.Error(), ErrCorrupt.Error()) != 1 {
		t.Error(err)
	}
}
