package registry

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry/registrytest"
)

// Behaviour: delete.tag, delete.in-use
func TestDeleting(t *testing.T) {
	s, c := newFixture(t)
	ctx := context.Background()
	m := image(t, s, map[string]any{})
	if err := c.PushManifest(ctx, s.repo, m, "v1"); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		c.DeleteTag(ctx, s.repo, "v1"), c.DeleteManifest(ctx, s.repo, m.Digest), c.DeleteBlob(ctx, s.repo, digest.FromString(blob)),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	if tags, manifests, blobs := s.Held(s.repo.Path); len(tags)+len(manifests)+len(blobs) != 0 {
		t.Errorf("left: %v, %v, %v", tags, manifests, blobs)
	}
	for _, err := range []error{
		c.DeleteTag(ctx, s.repo, "v1"), c.DeleteManifest(ctx, s.repo, m.Digest), c.DeleteBlob(ctx, s.repo, digest.FromString(blob)),
	} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("once more: %v", err)
		}
	}
}

// Every status of success is one, whatever has no body.
//
// Behaviour: delete.in-use
func TestADeletionSucceedsInSeveralWays(t *testing.T) {
	for _, status := range []int{200, 202, 204} {
		s, c := newFixture(t)
		s.On("DELETE *", registrytest.Status(status, ""))
		if err := c.DeleteTag(context.Background(), s.repo, "v1"); err != nil {
			t.Errorf("%d: %v", status, err)
		}
		if err := c.DeleteBlob(context.Background(), s.repo, digest.FromString(blob)); err != nil {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// Behaviour: delete.tag, delete.in-use
func TestARefusedDeletionSaysWhy(t *testing.T) {
	for name, c := range map[string]struct {
		status   int
		code     string
		tag, man error
	}{
		"400":             {400, "", ErrUnsupported, ErrServer},
		"405":             {405, "", ErrUnsupported, ErrUnsupported},
		"501":             {501, "", ErrUnsupported, ErrUnsupported},
		"unsupported":     {400, "UNSUPPORTED", ErrUnsupported, ErrUnsupported},
		"in use":          {409, "", ErrInUse, ErrInUse},
		"tagged, GCR":     {400, "GOOGLE_MANIFEST_DANGLING_TAG", ErrInUse, ErrInUse},
		"has parent, GCR": {400, "GOOGLE_MANIFEST_DANGLING_PARENT_IMAGE", ErrInUse, ErrInUse},
		"indexed, ECR":    {400, "ImageReferencedByManifestListException", ErrInUse, ErrInUse},
		"denied":          {403, "DENIED", ErrDenied, ErrDenied},
	} {
		t.Run(name, func(t *testing.T) {
			s, cl := newFixture(t)
			m := image(t, s, map[string]any{})
			s.On("DELETE manifest v1", registrytest.Status(c.status, registrytest.Error(c.code)))
			s.On("DELETE manifest sha256:*", registrytest.Status(c.status, registrytest.Error(c.code)))
			if err := cl.DeleteTag(context.Background(), s.repo, "v1"); !errors.Is(err, c.tag) {
				t.Error(err)
			}
			if err := cl.DeleteManifest(context.Background(), s.repo, m.Digest, m); !errors.Is(err, c.man) {
				t.Error(err)
			}
			s.want(cl, "DELETE manifest v1", "DELETE manifest") // and never the digest in place of the tag
		})
	}
}

func TestADeletionWhoseAnswerWasLostIsDone(t *testing.T) {
	s, c := newFixture(t)
	m := image(t, s, map[string]any{})
	s.tag("v1", string(m.Raw))
	s.Nth(1, "DELETE manifest v1", registrytest.Lost())
	if err := c.DeleteTag(context.Background(), s.repo, "v1"); err != nil {
		t.Error(err)
	}
	s.want(c, "DELETE manifest v1", "DELETE manifest v1")
}

// Behaviour: delete.referrer
func TestADeletedReferrerLeavesTheList(t *testing.T) {
	for name, api := range map[string]bool{"tag schema": false, "API": true} {
		t.Run(name, func(t *testing.T) {
			s, c := newFixture(t)
			s.Change(func(tr *registrytest.Traits) { tr.Referrers = api })
			subject := descriptor("subject")
			tag := "sha256-" + subject.Digest.Encoded()
			m := image(t, s, map[string]any{"subject": subject})
			if err := c.PushManifest(context.Background(), s.repo, m); err != nil {
				t.Fatal(err)
			}
			if err := c.DeleteManifest(context.Background(), s.repo, m.Digest); err != nil {
				t.Fatal(err)
			}
			if got := s.at(tag); (got != "") == api || !api && (len(referrers(t, s, tag)) != 0 || !strings.Contains(got, `"manifests":[]`)) {
				t.Errorf("the tag: %q", got)
			}
			if got := s.requests(c); api && slices.Contains(got, "GET manifest "+tag) {
				t.Errorf("asked %q", got)
			}
		})
	}
}
