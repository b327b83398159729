package registry

import (
	"fmt"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/registrytest"
)

// Two writers begin the list of what refers to a subject at the same time: the one that comes
// second is told by If-None-Match, reads what the first wrote, and adds to it.
//
// Behaviour: push.subject-first
func TestTwoWritersBeginAListOfReferrers(t *testing.T) {
	s, c := newFixture(t)
	subject := descriptor("subject")
	tag := fallbackTag(subject.Digest)
	theirs := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"%s","manifests":[{"mediaType":"x/y","digest":"%s","size":1}]}`, v1.MediaTypeImageIndex, digest.FromString("theirs"))
	s.Nth(1, "PUT manifest "+tag, registrytest.Look(func(x *registrytest.Exchange) {
		if got := x.Header.Get("If-None-Match"); got != "*" {
			t.Errorf("If-None-Match: %q", got)
		}
		s.tag(tag, theirs)
	}))
	if err := c.PushManifest(t.Context(), s.repo, image(t, s, map[string]any{"subject": subject})); err != nil {
		t.Fatal(err)
	}
	if got := referrers(t, s, tag); len(got) != 2 {
		t.Errorf("it lists %+v", got)
	}
	s.want(c, "PUT manifest", "GET manifest "+tag, "PUT manifest "+tag, "GET manifest "+tag, "PUT manifest "+tag)
}

// A weak ETag is no If-Match: it would match nothing, and the list would never be written.
//
// Behaviour: push.subject-first
func TestAWeakETagIsNoCondition(t *testing.T) {
	s, c := newFixture(t)
	s.Change(func(tr *registrytest.Traits) { tr.WeakETags = true })
	subject := descriptor("subject")
	tag := fallbackTag(subject.Digest)
	for i := range 2 {
		m := image(t, s, map[string]any{"subject": subject, "annotations": map[string]string{"n": fmt.Sprint(i)}})
		if err := c.PushManifest(t.Context(), s.repo, m); err != nil {
			t.Fatal(err)
		}
	}
	if got := referrers(t, s, tag); len(got) != 2 || s.Count("PUT manifest "+tag) != 2 {
		t.Errorf("it lists %+v, asked %q", got, s.Asked())
	}
}

// A registry that refuses conditions, or takes none for true, is asked without one.
//
// Behaviour: push.subject-first
func TestAListOfReferrersIsWrittenWithoutConditions(t *testing.T) {
	for _, status := range []int{400, 412, 501} {
		s, c := newFixture(t)
		s.Change(func(tr *registrytest.Traits) { tr.ETags, tr.Conditions = true, status })
		subject := descriptor("subject")
		tag := fallbackTag(subject.Digest)
		if err := c.PushManifest(t.Context(), s.repo, image(t, s, map[string]any{"subject": subject})); err != nil {
			t.Fatalf("%d: %v", status, err)
		}
		if got := referrers(t, s, tag); len(got) != 1 {
			t.Errorf("%d: it lists %+v", status, got)
		}
	}
}
