package fs

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// referring has a registry name these referrers of a digest, whatever it holds.
func referring(s *registrytest.Server, to digest.Digest, ds ...v1.Descriptor) {
	index, err := json.Marshal(v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: ds})
	if err != nil {
		panic(err) // made of plain values
	}
	s.On("GET referrers "+to.String(), registrytest.Status(http.StatusOK, string(index), "Content-Type", v1.MediaTypeImageIndex))
}

func referrer(artifactType, content string) v1.Descriptor {
	return v1.Descriptor{MediaType: v1.MediaTypeImageManifest, ArtifactType: artifactType, Digest: digest.FromString(content), Size: int64(len(content))}
}

// The index.json of referrers is as old as the referrer that was made last, at each mount:
// a listing of the same referrers looks the same to rsync.
func TestTheTimeOfReferrersDependsOnThem(t *testing.T) {
	subject := digest.FromString("subject")
	at := "team/app/referrers/" + hexPath(subject)
	made := func(created string) v1.Descriptor {
		d := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.FromString(created), Size: 1, ArtifactType: "application/x"}
		if created != "" {
			d.Annotations = map[string]string{v1.AnnotationCreated: created}
		}
		return d
	}
	for want, ds := range map[time.Time][]v1.Descriptor{
		epoch: {made("")},
		time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC): {made("2026-02-03T04:05:06Z"), made("2025-01-01T00:00:00Z"), made("")},
	} {
		s := registrytest.Start(t, registrytest.Options{})
		referring(s, subject, ds...)
		w := walk(t, s, t.TempDir(), Options{})
		if _, err := w.shows(at); err != nil {
			t.Fatal(err)
		}
		for path, got := range w.times(at, at+"/application_x", at+"/index.json") {
			if path != at+"/index.json" {
				if !got.Equal(epoch) {
					t.Errorf("%s is of %v", path, got)
				}
			} else if !got.Equal(want) {
				t.Errorf("%s is of %v, want %v", path, got, want)
			}
		}
	}
}

// Referrers are shown by their artifact type, each once and sorted; types that no name can
// tell are left out.
func TestReferrersAreShownByTheirType(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	subject := digest.FromString("subject")
	referring(s, subject,
		referrer("text/sbom", "b"), referrer("text/sbom", "a"), referrer("text/sbom", "b"), referrer("", "c"),
		referrer("index.json", "d"), referrer(".hidden", "e"), referrer("a\nb", "f"))
	w := walk(t, s, t.TempDir(), Options{})
	at := "team/app/referrers/" + hexPath(subject)
	name := func(content string) string { return "sha256-" + digest.FromString(content).Encoded() }
	first, second := name("a"), name("b")
	if first > second {
		first, second = second, first
	}
	w.want(at, "index.json text_sbom unknown")
	w.want(at+"/text_sbom", first+" "+second)
	w.want(at+"/unknown", name("c"))
	w.want(at+"/text_sbom/"+name("a"), "../../../../manifests/"+hexPath(digest.FromString("a")))
	for _, missing := range []string{"/text_sbom/" + name("c"), "/text_sbom/sha256", "/none", "/.hidden"} {
		w.fails(at+missing, node.ErrNotExist)
	}
}

// Lists that are still believed are put into shape once, and not for each lookup.
func TestListsAreShapedOnce(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	subject := digest.FromString("subject")
	var tags []string
	var ds []v1.Descriptor
	for i := range 100 {
		tags = append(tags, fmt.Sprint("v", i))
		ds = append(ds, referrer(fmt.Sprint("type/", i), fmt.Sprint(i)))
	}
	s.SetTags("team/app", tags...)
	referring(s, subject, ds...)
	w := walk(t, s, t.TempDir(), Options{ListTTL: time.Hour})
	for _, path := range []string{"team/app/tags", "team/app/referrers/" + hexPath(subject)} {
		var shape *string
		for range 3 {
			e, err := w.to(path)
			if err != nil {
				t.Fatal(err)
			}
			l, err := e.(node.Directory).List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if shape != nil && shape != &l.Names[0] {
				t.Errorf("the names in %s are made anew", path)
			}
			shape = &l.Names[0]
		}
	}
}
