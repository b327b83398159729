package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// subject is what is referred to in these tests, and signature and bill what does.
var (
	subject   = digest.FromString("the subject")
	signature = v1.Descriptor{MediaType: v1.MediaTypeImageManifest, ArtifactType: "application/vnd.example.signature", Digest: digest.FromString("signature"), Size: 9}
	bill      = v1.Descriptor{MediaType: v1.MediaTypeImageManifest, ArtifactType: "application/vnd.example.bill", Digest: digest.FromString("bill"), Size: 4}
)

// indexOf is an index of descriptors.
func indexOf(ds ...v1.Descriptor) string {
	b, err := json.Marshal(v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: append([]v1.Descriptor{}, ds...)})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// refer checks what refers to d, by digests.
func refer(t *testing.T, c *Client, r ref.Repository, d digest.Digest, want ...v1.Descriptor) {
	t.Helper()
	rs, err := c.Referrers(t.Context(), r, d, "")
	got := rs.Descriptors
	if err != nil || got == nil || !slices.EqualFunc(got, want, func(a, b v1.Descriptor) bool { return a.Digest == b.Digest && a.ArtifactType == b.ArtifactType }) {
		t.Errorf("got %v, %v\nwant %v", got, err, want)
	}
}

// Where there is no referrers API, however that shows, the tag schema stands for it.
// That is believed of the repository for minutes, and then the API is asked again.
//
// Behaviour: list.referrers-api, fail.relearn
func TestWithoutAnAPITheTagIsRead(t *testing.T) {
	ok := func(contentType, body string) registrytest.Quirk {
		return registrytest.Status(http.StatusOK, body, "Content-Type", contentType)
	}
	for name, quirk := range map[string]registrytest.Quirk{
		"404":                 registrytest.Status(http.StatusNotFound, "404 page not found"),
		"404, NOT_FOUND":      registrytest.Refuse(http.StatusNotFound, "NOT_FOUND"),
		"400":                 registrytest.Status(http.StatusBadRequest, ""),
		"400, UNSUPPORTED":    registrytest.Refuse(http.StatusBadRequest, "UNSUPPORTED"),
		"405":                 registrytest.Refuse(http.StatusMethodNotAllowed, "UNSUPPORTED"),
		"406":                 registrytest.Status(http.StatusNotAcceptable, ""),
		"303":                 registrytest.Status(http.StatusSeeOther, "", "Location", "/login"),
		"303 to nowhere":      registrytest.Status(http.StatusSeeOther, ""),
		"HTML":                ok("text/html", "<html>log in</html>"),
		"nothing":             ok(v1.MediaTypeImageIndex, ""),
		"JSON of another":     ok("application/json", `{"tags":[]}`),
		"an image":            ok(v1.MediaTypeImageManifest, `{"mediaType":"`+v1.MediaTypeImageManifest+`","config":{}}`),
		"a list of JSON":      ok(v1.MediaTypeImageIndex, "[]"),
		"an index, by halves": ok(v1.MediaTypeImageIndex, indexOf(signature)[:40]),
	} {
		t.Run(name, func(t *testing.T) {
			s, c, r := reading(t, registrytest.Options{Traits: registrytest.Traits{Referrers: true}})
			tag := fallbackTag(subject)
			s.Manifest(r.Path, tag, v1.MediaTypeImageIndex, []byte(indexOf(signature, bill)))
			api := s.On("GET referrers", quirk)
			for range 2 {
				refer(t, c, r, subject, signature, bill)
			}
			s.Want("GET referrers", "GET manifest "+tag, "GET manifest "+tag)

			s.Forget()
			other := ref.Repository{Host: r.Host, Path: "a/other"}
			refer(t, c, other, subject)
			s.Want("GET referrers", "GET manifest "+tag) // one repository says nothing of another

			api.End()
			s.Forget()
			if until, _ := c.learnt.noReferrers.Peek(r); !minutes(until) {
				t.Errorf("it is believed until %s", until)
			}
			c.learnt.noReferrers.Add(r, time.Now()) // the minutes are over
			refer(t, c, r, subject)                 // which nothing refers to, as the registry knows it
			s.Want("GET referrers")
		})
	}
}

// What is no answer is an error, and says nothing of the API: it is asked the next time.
//
// Behaviour: list.referrers-api
func TestAFailureSaysNothingOfTheAPI(t *testing.T) {
	for name, test := range map[string]struct {
		quirk registrytest.Quirk
		want  error
	}{
		"401":          {registrytest.Status(http.StatusUnauthorized, ""), ErrDenied},
		"403":          {registrytest.Refuse(http.StatusForbidden, "DENIED"), ErrDenied},
		"429":          {registrytest.Status(http.StatusTooManyRequests, ""), ErrTooManyRequests},
		"500":          {registrytest.Status(http.StatusInternalServerError, ""), ErrServer},
		"502":          {registrytest.Status(http.StatusBadGateway, "<html>"), ErrServer},
		"503":          {registrytest.Status(http.StatusServiceUnavailable, ""), ErrServer},
		"NAME_UNKNOWN": {registrytest.Refuse(http.StatusNotFound, "NAME_UNKNOWN"), ErrNotFound},
		"breaks off":   {registrytest.Cut(3), ErrServer},
		"too long":     {registrytest.Status(http.StatusTooManyRequests, "", "Retry-After", "3600"), ErrTooManyRequests},
	} {
		t.Run(name, func(t *testing.T) {
			s, c, r := reading(t, registrytest.Options{Traits: registrytest.Traits{Referrers: true}})
			s.Image(r.Path, "v1", []byte(layer))
			s.Manifest(r.Path, fallbackTag(subject), v1.MediaTypeImageIndex, []byte(indexOf(signature)))
			failing := s.On("GET referrers", test.quirk)
			got, err := c.Referrers(t.Context(), r, subject, "")
			if !errors.Is(err, test.want) || got.Descriptors != nil {
				t.Errorf("%v, %v", got, err)
			}
			if n := s.Count("* manifest"); n > 0 {
				t.Errorf("%q", s.Asked())
			}
			if c.learnt.noReferrers.Len() > 0 {
				t.Error("it is remembered as missing")
			}
			failing.End()
			if name == "too long" {
				return // the wait that was asked for is kept to
			}
			s.Forget()
			refer(t, c, r, subject)
			s.Want("GET referrers")
		})
	}
}

// An index is one whatever its type has behind it, and where it names itself. What
// can't be a descriptor is left out of it, and the rest isn't.
//
// Behaviour: list.referrers-type
func TestAnIndexWithParametersIsAnIndex(t *testing.T) {
	plain := strings.Replace(indexOf(signature), `"mediaType":"`+v1.MediaTypeImageIndex+`",`, "", 1)
	odd := `{"mediaType":"` + v1.MediaTypeImageIndex + `","manifests":[null,1,{},{"digest":"x","size":1},{"digest":"` + subject.String() + `","size":-1},` +
		`{"digest":"` + signature.Digest.String() + `","artifactType":"` + signature.ArtifactType + `","size":0}]}`
	for name, test := range map[string]struct {
		contentType, body string
		want              []v1.Descriptor
	}{
		"as it is":          {v1.MediaTypeImageIndex, indexOf(signature), []v1.Descriptor{signature}},
		"a charset":         {v1.MediaTypeImageIndex + "; charset=utf-8", indexOf(signature), []v1.Descriptor{signature}},
		"a charset, no own": {v1.MediaTypeImageIndex + "; charset=utf-8", plain, []v1.Descriptor{signature}},
		"capitals, no own":  {strings.ToUpper(v1.MediaTypeImageIndex) + ";charset=UTF-8", plain, []v1.Descriptor{signature}},
		"JSON, its own":     {"application/json", indexOf(signature), []v1.Descriptor{signature}},
		"empty":             {v1.MediaTypeImageIndex + "; charset=utf-8", indexOf(), nil},
		"null":              {v1.MediaTypeImageIndex, `{"mediaType":"` + v1.MediaTypeImageIndex + `","manifests":null}`, nil},
		"odd descriptors":   {v1.MediaTypeImageIndex, odd, []v1.Descriptor{signature}},
	} {
		t.Run(name, func(t *testing.T) {
			s, c, r := reading(t, registrytest.Options{})
			s.On("GET referrers", registrytest.Status(http.StatusOK, test.body, "Content-Type", test.contentType))
			refer(t, c, r, subject, test.want...)
			s.Want("GET referrers")
		})
	}
}

// All pages are got, by their Links, and who wants all referrers asks no registry to leave something
// out.
//
// Behaviour: list.referrers-pages
func TestReferrersComeInPages(t *testing.T) {
	for _, noFilter := range []bool{false, true} {
		s, c, r := reading(t, registrytest.Options{Traits: registrytest.Traits{Referrers: true, Page: 2, NoFilter: noFilter}})
		of := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: s.Image(r.Path, "v1", []byte(layer)), Size: 1}
		var want []v1.Descriptor
		for i := range 5 {
			d := v1.Descriptor{ArtifactType: fmt.Sprintf("application/vnd.example.%d", i%2)}
			raw, err := json.Marshal(v1.Manifest{MediaType: v1.MediaTypeImageManifest, ArtifactType: d.ArtifactType, Subject: &of,
				Config: v1.DescriptorEmptyJSON, Annotations: map[string]string{"n": fmt.Sprint(i)}})
			if err != nil {
				t.Fatal(err)
			}
			d.Digest = s.Manifest(r.Path, "", v1.MediaTypeImageManifest, raw)
			want = append(want, d)
		}
		refer(t, c, r, of.Digest, want...)
		s.Want("GET referrers", "GET referrers", "GET referrers")
		for _, q := range s.Requests() {
			if strings.Contains(q.Query, "artifactType") || strings.Contains(q.Query, "n=") {
				t.Errorf("%s?%s", q, q.Query)
			}
		}
	}
}

// A list of which a later page can't be had is no list, and neither is the tag's.
//
// Behaviour: list.referrers-pages
func TestReferrersAreAllOrNone(t *testing.T) {
	for name, test := range map[string]struct {
		second registrytest.Quirk
		link   string
	}{
		"404":          {registrytest.Status(http.StatusNotFound, ""), `<?1>; rel="next"`},
		"400":          {registrytest.Status(http.StatusBadRequest, ""), `<?1>; rel="next"`},
		"500":          {registrytest.Status(http.StatusInternalServerError, ""), `<?1>; rel="next"`},
		"303":          {registrytest.Status(http.StatusSeeOther, "", "Location", "/login"), `<?1>; rel="next"`},
		"no index":     {registrytest.Status(http.StatusOK, "{}"), `<?1>; rel="next"`},
		"a circle":     {registrytest.Status(http.StatusOK, ""), `<>; rel="next"`},
		"another host": {registrytest.Status(http.StatusOK, ""), `<http://registry.example/x>; rel="next"`},
		"no end":       {registrytest.Status(http.StatusOK, indexOf(bill), "Content-Type", v1.MediaTypeImageIndex, "Link", `<?1>; rel="next"`), `<?1>; rel="next"`},
	} {
		t.Run(name, func(t *testing.T) {
			s, c, r := reading(t, registrytest.Options{})
			s.Manifest(r.Path, fallbackTag(subject), v1.MediaTypeImageIndex, []byte(indexOf(bill)))
			s.On("GET referrers", test.second)
			s.First(1, "GET referrers", registrytest.Status(http.StatusOK, indexOf(signature), "Content-Type", v1.MediaTypeImageIndex, "Link", test.link))
			if got, err := c.Referrers(t.Context(), r, subject, ""); !errors.Is(err, ErrServer) || got.Descriptors != nil {
				t.Errorf("%v, %v", got, err)
			}
			if n := s.Count("* manifest"); n > 0 {
				t.Errorf("%q", s.Asked())
			}
		})
	}
}

// A tag is a list of referrers where it is an index, and not the subject's own. No tag
// is no referrers; what can't be read is an error.
//
// Behaviour: list.referrers-tag, list.referrers-self
func TestWhatTheTagHolds(t *testing.T) {
	own := indexOf(signature) // a subject that is itself an index
	image := `{"mediaType":"` + v1.MediaTypeImageManifest + `","config":{"digest":"` + bill.Digest.String() + `","size":1}}`
	for name, test := range map[string]struct {
		subject digest.Digest
		raw     string // "": there is no such tag
		quirk   registrytest.Quirk
		want    []v1.Descriptor
		err     error
	}{
		"an index":               {subject: subject, raw: indexOf(signature, bill), want: []v1.Descriptor{signature, bill}},
		"an unknown algorithm":   {subject: subject, raw: indexOf(v1.Descriptor{Digest: digest.Digest("blake3:" + bill.Digest.Encoded())}, bill), want: []v1.Descriptor{bill}},
		"an empty index":         {subject: subject, raw: indexOf()},
		"no tag":                 {subject: subject},
		"an image":               {subject: subject, raw: image},
		"a list of Docker's":     {subject: subject, raw: strings.Replace(indexOf(bill), v1.MediaTypeImageIndex, dockerList, 1)},
		"the subject":            {subject: digest.FromString(own), raw: own},
		"the subject, an image":  {subject: digest.FromString(image), raw: image},
		"the subject, by sha512": {subject: digest.SHA512.FromString(own), raw: own},
		"a list, by sha512":      {subject: digest.SHA512.FromString("x"), raw: indexOf(bill), want: []v1.Descriptor{bill}},
		"another digest":         {subject: subject, raw: indexOf(bill), quirk: registrytest.With("Docker-Content-Digest", subject.String()), err: ErrCorrupt},
		"500":                    {subject: subject, raw: indexOf(bill), quirk: registrytest.Status(http.StatusInternalServerError, ""), err: ErrServer},
		"403":                    {subject: subject, raw: indexOf(bill), quirk: registrytest.Status(http.StatusForbidden, ""), err: ErrDenied},
		"404, and no repository": {subject: subject, quirk: registrytest.Refuse(http.StatusNotFound, "NAME_UNKNOWN"), err: ErrNotFound},
		"404, and nothing said":  {subject: subject, quirk: registrytest.Status(http.StatusNotFound, "")},
		"octet-stream":           {subject: subject, raw: indexOf(bill), quirk: registrytest.With("Content-Type", "application/octet-stream"), want: []v1.Descriptor{bill}},
	} {
		t.Run(name, func(t *testing.T) {
			s, c, r := reading(t, registrytest.Options{})
			// "at most 64 characters of the encoded section"
			tag := test.subject.Algorithm().String() + "-" + test.subject.Encoded()[:64]
			if test.raw != "" {
				mediaType := v1.MediaTypeImageIndex
				if !strings.Contains(test.raw, mediaType) {
					mediaType = "application/json"
				}
				s.Manifest(r.Path, tag, mediaType, []byte(test.raw))
			}
			if test.quirk != nil {
				s.On("GET manifest", test.quirk)
			}
			if test.err == nil {
				refer(t, c, r, test.subject, test.want...)
			} else if got, err := c.Referrers(t.Context(), r, test.subject, ""); !errors.Is(err, test.err) || got.Descriptors != nil {
				t.Errorf("%v, %v", got, err)
			}
			for _, q := range s.Requests()[1:] {
				if q.Reference != tag {
					t.Errorf("asked for %s", q.Reference)
				}
			}
		})
	}
}

// The size that a list gives of a referrer is never that of its bytes.
//
// Behaviour: list.referrers-self
func TestASizeInReferrersIsNotBelieved(t *testing.T) {
	s, c, r := reading(t, registrytest.Options{})
	d := s.Manifest(r.Path, "", v1.MediaTypeImageIndex, []byte(anIndex))
	for _, size := range []int64{0, 1, 1 << 50} {
		s.On("GET referrers", registrytest.Status(http.StatusOK, indexOf(v1.Descriptor{MediaType: v1.MediaTypeImageIndex, Digest: d, Size: size}), "Content-Type", v1.MediaTypeImageIndex))
		rs, err := c.Referrers(t.Context(), r, subject, "")
		got := rs.Descriptors
		if err != nil || len(got) != 1 {
			t.Fatalf("%v, %v", got, err)
		}
		m, err := c.Manifest(t.Context(), r, got[0].Digest.String())
		isManifest(t, m, err, anIndex, d, nil)
		if err == nil && m.Descriptor().Size != int64(len(anIndex)) {
			t.Errorf("%d bytes", m.Descriptor().Size)
		}
	}
}

// Whoever wants one artifact type gets that alone, whether the registry filters or not, and the
// index as it came beside it: with what was left out, and its annotations. A registry that says
// that it filtered isn't believed.
//
// Behaviour: list.referrers-filter
func TestReferrersOfOneTypeComeAlone(t *testing.T) {
	for name, test := range map[string]struct {
		traits registrytest.Traits
		api    bool
		whole  bool // the index as it came has the others
		says   bool // the registry says that it filtered, whether it did or not
	}{
		"the registry filters": {registrytest.Traits{Referrers: true}, true, false, false},
		"it doesn't":           {registrytest.Traits{Referrers: true, NoFilter: true}, true, true, false},
		"it only says so":      {registrytest.Traits{Referrers: true, NoFilter: true}, true, true, true},
		"the tag schema":       {registrytest.Traits{}, false, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, c := newFixture(t)
			s.Change(func(tr *registrytest.Traits) { *tr = test.traits; tr.Sparse = true })
			if test.says {
				s.On("GET referrers", registrytest.With("OCI-Filters-Applied", "artifactType"))
			}
			subject := descriptor("subject")
			for _, kind := range []string{"a/sbom", "a/signature"} {
				if err := c.PushManifest(t.Context(), s.repo, image(t, s, map[string]any{"subject": subject, "artifactType": kind})); err != nil {
					t.Fatal(err)
				}
			}
			rs, err := c.Referrers(t.Context(), s.repo, subject.Digest, "a/sbom")
			if err != nil || rs.API != test.api || len(rs.Descriptors) != 1 || rs.Descriptors[0].ArtifactType != "a/sbom" {
				t.Fatalf("%+v, %v", rs, err)
			}
			if len(rs.Pages) != 1 || strings.Contains(string(rs.Pages[0]), "a/signature") != test.whole {
				t.Errorf("it came as %q", rs.Pages)
			}
			all, err := c.Referrers(t.Context(), s.repo, subject.Digest, "")
			if err != nil || len(all.Descriptors) != 2 {
				t.Errorf("all: %+v, %v", all, err)
			}
		})
	}
	s, c := newFixture(t)
	s.On("GET referrers", registrytest.Status(200, `{"mediaType":"`+v1.MediaTypeImageIndex+`","manifests":[],"annotations":{"a":"b"}}`, "Content-Type", v1.MediaTypeImageIndex))
	if rs, err := c.Referrers(t.Context(), s.repo, digest.FromString("x"), ""); err != nil || rs.Annotations["a"] != "b" {
		t.Errorf("%+v, %v", rs, err)
	}
}
