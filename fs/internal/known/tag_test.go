package known

import (
	"errors"
	"testing"
	"time"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// A tag that is remembered on disk alone doesn't bring a manifest back that was deleted since.
func TestADeletedManifestStaysDeleted(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	d := s.Image("team/app", "v1", []byte("one"))
	b := begin(t, s, Options{ListTTL: time.Hour, TagTTL: time.Hour})
	r := b.Repository(ref.Repository{Host: s.Host, Path: "team/app"})
	if got, err := r.LookUpTag(t.Context(), "v1"); got.Digest != d || err != nil {
		t.Fatalf("the tag is %v, %v", got, err)
	}
	b.tags.remove(r.tagKey("v1")) // for want of room
	if _, err := r.DeleteManifest(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if got, err := r.LookUpTag(t.Context(), "v1"); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("after the deletion the tag is %v, %v", got, err)
	}
	if r.HasManifest(d) {
		t.Error("the repository has the manifest")
	}
}

// A list of tags that was on its way while this mount pushed a tag doesn't take its place.
func TestAListOfBeforeAPushIsNotKept(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Image("team/app", "v1", []byte("one"))
	b := begin(t, s, Options{ListTTL: time.Hour, TagTTL: time.Hour})
	r := b.Repository(ref.Repository{Host: s.Host, Path: "team/app"})
	release := make(chan struct{})
	held := s.On("GET tags", registrytest.Hold(release))
	listed := make(chan error)
	go func() {
		_, err := r.Tags(t.Context())
		listed <- err
	}()
	for s.Count("GET tags") == 0 {
		time.Sleep(time.Millisecond)
	}
	m, err := registry.ParseManifest(s.ReadManifest("team/app", "v1"), "", "")
	if err != nil {
		t.Fatal(err)
	}
	r.PushedManifest(m, "pushed")
	close(release)
	if err := <-listed; err != nil {
		t.Fatal(err)
	}
	held.End()
	if l := r.knownTags(); l.Names != nil && !l.has("pushed") {
		t.Errorf("the list is %q", l.Names)
	}
	if got, err := r.LookUpTag(t.Context(), "pushed"); got.Digest != m.Digest || err != nil {
		t.Errorf("the tag is %v, %v", got, err)
	}
}
