package registry

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/registrytest"
)

// manifest makes a manifest of fields.
func manifest(t *testing.T, fields map[string]any) *Manifest {
	t.Helper()
	fields["schemaVersion"] = 2
	if fields["mediaType"] == nil {
		fields["mediaType"] = v1.MediaTypeImageManifest
	}
	raw, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	m, err := ParseManifest(raw, "", "")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func descriptor(content string) v1.Descriptor {
	return v1.Descriptor{MediaType: "text/plain", Digest: digest.FromString(content), Size: int64(len(content))}
}

// image is a manifest whose config is the store's.
func image(t *testing.T, s *fixture, fields map[string]any) *Manifest {
	t.Helper()
	s.Blob(s.repo.Path, []byte(blob))
	fields["config"], fields["layers"] = descriptor(blob), []v1.Descriptor{}
	return manifest(t, fields)
}

// Behaviour: push.manifest, push.tags
func TestAManifestIsPushedByItsDigestOrTags(t *testing.T) {
	for name, c := range map[string]struct {
		tags   []string
		ociTag bool
		want   []string
	}{
		"by digest":                {nil, false, []string{"PUT manifest"}},
		"one tag":                  {[]string{"v1"}, true, []string{"PUT manifest v1"}},
		"several, at once":         {[]string{"v1", "v2", "v3"}, true, []string{"PUT manifest"}},
		"several, not confirmed":   {[]string{"v1", "v2", "v3"}, false, []string{"PUT manifest", "PUT manifest v1", "PUT manifest v2", "PUT manifest v3"}},
		"more than can be at once": {strings.Split("a,b,c,d,e,f,g,h,i,j,k,l", ","), true, []string{"PUT manifest", "PUT manifest"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, cl := newFixture(t)
			s.Change(func(tr *registrytest.Traits) { tr.OCITag = c.ociTag })
			m := image(t, s, map[string]any{})
			if err := cl.PushManifest(context.Background(), s.repo, m, c.tags...); err != nil {
				t.Fatal(err)
			}
			for _, tag := range append(c.tags, m.Digest.String()) {
				if s.at(tag) != string(m.Raw) {
					t.Errorf("%s is missing", tag)
				}
			}
			s.want(cl, c.want...)
		})
	}
}

// What a host doesn't confirm isn't asked of it again.
//
// Behaviour: push.tags
func TestTagsGoOneByOneWhereTheyAreNotConfirmed(t *testing.T) {
	s, c := newFixture(t)
	m := image(t, s, map[string]any{})
	for range 2 {
		if err := c.PushManifest(context.Background(), s.repo, m, "v1", "v2"); err != nil {
			t.Fatal(err)
		}
	}
	s.want(c, "PUT manifest", "PUT manifest v1", "PUT manifest v2", "PUT manifest v1", "PUT manifest v2")
}

func TestTagsGoOneByOneWhereTheirNumberIsRefused(t *testing.T) {
	s, c := newFixture(t)
	m := image(t, s, map[string]any{})
	s.On("PUT manifest sha256:*", registrytest.Status(400, ""))
	if err := c.PushManifest(context.Background(), s.repo, m, "v1", "v2"); err != nil {
		t.Fatal(err)
	}
	s.want(c, "PUT manifest", "PUT manifest v1", "PUT manifest v2")
}

func TestAManifestIsSentAgainWhereItsAnswerFailed(t *testing.T) {
	for name, script := range map[string]registrytest.Quirk{
		"5xx": registrytest.Status(502, ""), "reset": registrytest.Reset(), "wait": registrytest.Status(429, "", "Retry-After", "0"), "what it names comes later": registrytest.Refuse(404, "MANIFEST_BLOB_UNKNOWN"),
	} {
		t.Run(name, func(t *testing.T) {
			s, c := newFixture(t)
			m := image(t, s, map[string]any{})
			s.Nth(1, "PUT manifest v1", script)
			if err := c.PushManifest(context.Background(), s.repo, m, "v1"); err != nil || s.at("v1") != string(m.Raw) {
				t.Error(err)
			}
			s.want(c, "PUT manifest v1", "PUT manifest v1")
		})
	}
}

// Behaviour: push.manifest
func TestARefusedManifestSaysWhy(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		code   string
		want   error
	}{
		"a blob is missing":       {400, "BLOB_UNKNOWN", ErrBlobUnknown},
		"a blob is missing, 404":  {404, "MANIFEST_BLOB_UNKNOWN", ErrBlobUnknown},
		"a child is missing":      {404, "MANIFEST_UNKNOWN", ErrBlobUnknown},
		"which is also not found": {400, "MANIFEST_BLOB_UNKNOWN", ErrNotFound},
		"no repository":           {404, "NAME_UNKNOWN", ErrNotFound},
		"invalid":                 {400, "MANIFEST_INVALID", ErrCorrupt},
		"too large":               {413, "", ErrTooLarge},
		"denied":                  {403, "DENIED", ErrDenied},
		"no room":                 {507, "", ErrServer},
	} {
		t.Run(name, func(t *testing.T) {
			s, cl := newFixture(t)
			m := image(t, s, map[string]any{})
			s.On("PUT manifest sha256:*", registrytest.Status(c.status, registrytest.Error(c.code)))
			if err := cl.PushManifest(context.Background(), s.repo, m); !errors.Is(err, c.want) {
				t.Error(err)
			}
		})
	}
}

// What was pushed a moment ago may not be known everywhere yet: a manifest that names it
// is sent again a few times.
//
// Behaviour: push.manifest
func TestPiecesThatAreNotKnownYetAreWaitedFor(t *testing.T) {
	s, c := newFixture(t)
	s.Change(func(tr *registrytest.Traits) { tr.Late = 2 })
	if _, err := push(c, s, "a piece", Push{Absent: true}); err != nil {
		t.Fatal(err)
	}
	m := manifest(t, map[string]any{"config": descriptor("a piece"), "layers": []v1.Descriptor{}})
	if err := c.PushManifest(context.Background(), s.repo, m, "late"); err != nil {
		t.Fatal(err)
	}
	if n := s.Count("PUT manifest late"); n != 3 {
		t.Errorf("it was sent %d times, want 3", n)
	}
}

func TestAnotherDigestInTheAnswerIsCorrupt(t *testing.T) {
	for told, want := range map[string]error{digest.FromString("other").String(): ErrCorrupt, digest.SHA512.FromString("").String(): nil, "": nil} {
		s, c := newFixture(t)
		m := image(t, s, map[string]any{})
		s.Nth(1, "PUT manifest v1", registrytest.Status(201, "", "Docker-Content-Digest", told))
		if err := c.PushManifest(context.Background(), s.repo, m, "v1"); !errors.Is(err, want) {
			t.Errorf("%q: %v", told, err)
		}
	}
}

// Behaviour: push.immutable
func TestATagThatCannotBeMoved(t *testing.T) {
	says := `{"errors":[{"code":"TAG_INVALID","message":"The image tag 'v1' already exists and cannot be overwritten because the tag is immutable."}]}`
	for name, c := range map[string]struct {
		status int
		body   string
		same   bool
		want   error
	}{
		"points at it":                 {409, "", true, nil},
		"points at it, as it says":     {400, says, true, nil},
		"points at it, denied":         {403, "", true, nil},
		"points elsewhere":             {409, "", false, ErrExists},
		"points elsewhere, 412":        {412, "", false, ErrExists},
		"points elsewhere, as it says": {400, says, false, ErrExists},
		"denied":                       {403, registrytest.Error("DENIED"), false, ErrDenied},
		"not offered":                  {405, "", false, ErrUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			s, cl := newFixture(t)
			m := image(t, s, map[string]any{})
			s.tag("v1", string(image(t, s, map[string]any{"annotations": map[string]string{"a": "b"}}).Raw))
			if c.same {
				s.tag("v1", string(m.Raw))
			}
			s.On("PUT manifest v1", registrytest.Status(c.status, c.body))
			if err := cl.PushManifest(context.Background(), s.repo, m, "v1"); !errors.Is(err, c.want) {
				t.Error(err)
			}
			s.want(cl, "PUT manifest v1", "HEAD manifest v1")
		})
	}
}

func TestAnInvalidTagIsNotSent(t *testing.T) {
	s, c := newFixture(t)
	if err := c.PushManifest(context.Background(), s.repo, image(t, s, map[string]any{}), "v1", "-x"); err == nil {
		t.Error("no error")
	}
	if err := c.DeleteTag(context.Background(), s.repo, digest.FromString("").String()); err == nil {
		t.Error("a digest was taken for a tag")
	}
	s.want(c)
}

// referrers reads what the tag schema lists.
func referrers(t *testing.T, s *fixture, tag string) []v1.Descriptor {
	t.Helper()
	index, ok := parseIndex([]byte(s.at(tag)), v1.MediaTypeImageIndex)
	if !ok {
		t.Fatalf("%q is no index", s.at(tag))
	}
	return index.descriptors
}

// Behaviour: push.subject
func TestTheListOfReferrersIsKeptUp(t *testing.T) {
	s, c := newFixture(t)
	subject := descriptor("subject")
	tag := "sha256-" + subject.Digest.Encoded()
	first := image(t, s, map[string]any{"subject": subject, "artifactType": "a/b", "annotations": map[string]string{"k": "v"}})
	second := image(t, s, map[string]any{"subject": subject})
	for _, m := range []*Manifest{first, second, first} {
		if err := c.PushManifest(context.Background(), s.repo, m); err != nil {
			t.Fatal(err)
		}
	}
	got := referrers(t, s, tag)
	if len(got) != 2 || got[0].Digest != first.Digest || got[0].ArtifactType != "a/b" || got[0].Annotations["k"] != "v" || got[0].Size != int64(len(first.Raw)) ||
		got[0].MediaType != v1.MediaTypeImageManifest || got[1].ArtifactType != "text/plain" {
		t.Errorf("it lists %+v", got)
	}
	// The third time there was nothing to change.
	s.want(c, "PUT manifest", "GET manifest "+tag, "PUT manifest "+tag, "PUT manifest", "GET manifest "+tag, "PUT manifest "+tag, "PUT manifest", "GET manifest "+tag)

	// And a registry that does it itself is left alone.
	s.Change(func(tr *registrytest.Traits) { tr.Referrers = true })
	s.Forget()
	if err := c.PushManifest(context.Background(), s.repo, first); err != nil {
		t.Fatal(err)
	}
	s.want(c, "PUT manifest")
}

// What others wrote into the list stays, unknown fields too.
//
// Behaviour: push.subject
func TestTheListOfReferrersKeepsWhatItHas(t *testing.T) {
	s, c := newFixture(t)
	subject := descriptor("subject")
	tag := "sha256-" + subject.Digest.Encoded()
	m := image(t, s, map[string]any{"subject": subject})
	other := `{"mediaType":"x/y","digest":"` + digest.FromString("o").String() + `","size":1,"unknown":{"a":1}}`
	s.tag(tag, `{"schemaVersion":2,"mediaType":"`+v1.MediaTypeImageIndex+`","manifests":[`+other+`,{"digest":"`+m.Digest.String()+`","size":7},{"digest":"`+m.Digest.String()+`","size":8}],"more":[1]}`)
	if err := c.PushManifest(context.Background(), s.repo, m); err != nil {
		t.Fatal(err)
	}
	if got := s.at(tag); !strings.Contains(got, other) || !strings.Contains(got, `"more":[1]`) || strings.Count(got, m.Digest.String()) != 1 {
		t.Errorf("it is %s", got)
	}
}

// Whoever else writes the list at the same time is noticed.
//
// Behaviour: push.subject
func TestTheListOfReferrersIsReadAgainWhereItChanged(t *testing.T) {
	s, c := newFixture(t)
	s.Change(func(tr *registrytest.Traits) { tr.ETags = true })
	subject := descriptor("subject")
	tag := "sha256-" + subject.Digest.Encoded()
	entry := func(name string) string {
		return `{"mediaType":"x/y","digest":"` + digest.FromString(name).String() + `","size":1}`
	}
	index := func(entries ...string) string {
		return `{"schemaVersion":2,"mediaType":"` + v1.MediaTypeImageIndex + `","manifests":[` + strings.Join(entries, ",") + `]}`
	}
	s.tag(tag, index(entry("a")))
	s.Nth(1, "PUT manifest "+tag, registrytest.Look(func(*registrytest.Exchange) { s.tag(tag, index(entry("a"), entry("b"))) }))
	m := image(t, s, map[string]any{"subject": subject})
	if err := c.PushManifest(context.Background(), s.repo, m); err != nil {
		t.Fatal(err)
	}
	if got := referrers(t, s, tag); len(got) != 3 {
		t.Errorf("it lists %+v", got)
	}
	s.want(c, "PUT manifest", "GET manifest "+tag, "PUT manifest "+tag, "GET manifest "+tag, "PUT manifest "+tag)
}

func TestCallersDoNotLoseEachOthersReferrers(t *testing.T) {
	s, c := newFixture(t)
	subject := descriptor("subject")
	var ms []*Manifest
	for i := range 8 {
		ms = append(ms, image(t, s, map[string]any{"subject": subject, "annotations": map[string]string{"n": strings.Repeat("x", i)}}))
	}
	var wg sync.WaitGroup
	for _, m := range ms {
		wg.Go(func() {
			if err := c.PushManifest(context.Background(), s.repo, m); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := referrers(t, s, "sha256-"+subject.Digest.Encoded()); len(got) != len(ms) || len(c.turns) != 0 {
		t.Errorf("%d are listed, %d turns are left", len(got), len(c.turns))
	}
}

// A tag that holds something else isn't overwritten.
//
// Behaviour: push.subject
func TestAForeignListOfReferrersIsLeftAlone(t *testing.T) {
	s, c := newFixture(t)
	first := image(t, s, map[string]any{})
	for name, c2 := range map[string]struct {
		subject v1.Descriptor
		holds   string
	}{
		"an image":           {descriptor("subject"), string(first.Raw)},
		"a list of Docker's": {descriptor("subject"), `{"schemaVersion":2,"mediaType":"` + dockerList + `","manifests":[]}`},
		"the subject itself": {v1.Descriptor{MediaType: v1.MediaTypeImageIndex, Digest: digest.FromString(`{"manifests":[]}`), Size: 16}, `{"manifests":[]}`},
	} {
		t.Run(name, func(t *testing.T) {
			tag := "sha256-" + c2.subject.Digest.Encoded()
			s.tag(tag, c2.holds)
			m := image(t, s, map[string]any{"subject": c2.subject})
			if err := c.PushManifest(context.Background(), s.repo, m); !errors.Is(err, ErrExists) {
				t.Error(err)
			}
			if s.at(tag) != c2.holds || s.at(m.Digest.String()) != string(m.Raw) {
				t.Errorf("it holds %s", s.at(tag))
			}
		})
	}
}
