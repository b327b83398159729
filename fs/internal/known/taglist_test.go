package known

import (
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// A list that isn't the registry's own, as one of a mirror, makes nothing missing.
func TestAListThatIsNotWholeLacksNothing(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	d := s.Image("team/app", "v2", []byte("one"))
	b := begin(t, s, Options{ListTTL: time.Hour, TagTTL: time.Hour})
	r := b.Repository(ref.Repository{Host: s.Host, Path: "team/app"})
	b.lists.Add(r.Repository, TagList{Answer: b.answered(time.Hour)}.with([]string{"v1"}))
	if got, err := r.LookUpTag(t.Context(), "v2"); got.Digest != d || err != nil {
		t.Errorf("a tag that it lacks is %v, %v", got, err)
	}
	if got, err := r.LookUpTag(t.Context(), "v1"); got.Digest != digest.Digest("") || err != nil {
		t.Errorf("a tag that it has is %v, %v", got, err)
	}
}
