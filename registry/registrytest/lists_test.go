package registrytest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// pages follows Links, and gives what a field of each page has.
func pages[T any](t *testing.T, s *Server, c *http.Client, path, field string) (all [][]T) {
	t.Helper()
	for path != "" && len(all) < 20 {
		r := do(t, s, c, 200, "GET", path, "")
		fields := map[string]json.RawMessage{}
		if err := json.Unmarshal([]byte(r.body), &fields); err != nil {
			t.Fatal(err)
		}
		var page []T
		if err := json.Unmarshal(fields[field], &page); err != nil {
			t.Fatal(err)
		}
		all = append(all, page)
		link := r.header.Get("Link")
		path = strings.TrimSuffix(strings.TrimPrefix(link, "<"), `>; rel="next"`)
		if link != "" && path == link {
			t.Fatalf("Link %s", link)
		}
	}
	return all
}

func TestListsComeInPages(t *testing.T) {
	s := Start(t, Options{})
	c := s.Client()
	do(t, s, c, 404, "GET", "/v2/a/b/tags/list", "")
	d := s.Image(repo, "c")
	for _, tag := range []string{"b", "a"} {
		s.Manifest(repo, tag, v1.MediaTypeImageManifest, s.ReadManifest(repo, d.String()))
	}
	s.Blob("x", nil)
	s.Blob("y/z", nil)
	for path, want := range map[string][][]string{
		"/v2/a/b/tags/list":            {{"a", "b", "c"}},
		"/v2/a/b/tags/list?n=2":        {{"a", "b"}, {"c"}},
		"/v2/a/b/tags/list?n=0":        {{}},
		"/v2/a/b/tags/list?n=3":        {{"a", "b", "c"}},
		"/v2/a/b/tags/list?last=a":     {{"b", "c"}},
		"/v2/a/b/tags/list?n=1&last=b": {{"c"}},
	} {
		if got := pages[string](t, s, c, path, "tags"); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	s.Change(func(tr *Traits) { tr.Page = 1 })
	if got, want := pages[string](t, s, c, "/v2/_catalog?n=9", "repositories"), [][]string{{"a/b"}, {"x"}, {"y/z"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	s.On("GET tags", EndlessPages())
	seen := map[string]bool{}
	for path := "/v2/a/b/tags/list"; len(seen) < 5; {
		link := do(t, s, c, 200, "GET", path, "").header.Get("Link")
		if seen[link] || !strings.HasPrefix(link, "<?last=") {
			t.Fatalf("Link %s", link)
		}
		seen[link] = true
		query, _, _ := strings.Cut(link[1:], ">")
		path = "/v2/a/b/tags/list" + query
	}
}

// Lists that were set are answered in pages as others are, and change nothing of what is
// held.
func TestListsNameWhatWasSet(t *testing.T) {
	s := Start(t, Options{})
	c := s.Client()
	s.Image(repo, "v1")
	const catalog, tags, others = "/v2/_catalog", "/v2/a/b/tags/list", "/v2/x/tags/list"
	list := func(path, field string, want ...[]string) {
		t.Helper()
		if got := pages[string](t, s, c, path, field); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	s.SetCatalog("y", "a/b/c")
	list(catalog+"?n=1", "repositories", []string{"a/b/c"}, []string{"y"})
	s.SetCatalog()
	list(catalog, "repositories", []string{})

	s.SetTags(repo, "v3", "v2")
	list(tags+"?n=1", "tags", []string{"v2"}, []string{"v3"})
	s.SetTags(repo)
	list(tags, "tags", []string{})
	do(t, s, c, 200, "GET", "/v2/a/b/manifests/v1", "")
	do(t, s, c, 404, "GET", "/v2/a/b/manifests/v2", "")

	do(t, s, c, 404, "GET", others, "")
	s.SetTags("x")
	list(others, "tags", []string{})
}

// The catalog names a repository whose tags were set, although it holds nothing.
func TestARepositoryWhoseTagsWereSetIsThere(t *testing.T) {
	s := Start(t, Options{})
	s.SetTags("x", "v1")
	if got, want := pages[string](t, s, s.Client(), "/v2/_catalog", "repositories"), [][]string{{"x"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestARepositoryIsRemovedWithAllItHolds(t *testing.T) {
	s := Start(t, Options{})
	c := s.Client()
	d := s.Image(repo, "v1", []byte(text))
	s.SetTags(repo, "v1")
	s.Blob("x", nil)
	s.RemoveAll(repo)
	for _, path := range []string{"tags/list", "manifests/v1", "manifests/" + d.String(), "blobs/" + digest.FromString(text).String()} {
		do(t, s, c, 404, "GET", "/v2/a/b/"+path, "")
	}
	if got, want := pages[string](t, s, c, "/v2/_catalog", "repositories"), [][]string{{"x"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	s.Image(repo, "v2")
	do(t, s, c, 200, "GET", "/v2/a/b/tags/list", "")
}

func TestReferrersAreListed(t *testing.T) {
	s := Start(t, Options{})
	c := s.Client()
	subject := s.Image(repo, "v1")
	config := s.Blob(repo, []byte(text))
	path := "/v2/a/b/referrers/" + subject.String()
	do(t, s, c, 404, "GET", path, "")
	s.Change(func(tr *Traits) { tr.Referrers = true })
	var made []digest.Digest
	for i, of := range []string{"sbom", "", "sbom"} {
		m := manifestOf(config, fmt.Sprintf(`,"artifactType":"%s","annotations":{"n":"%d"},"subject":{"mediaType":"x","digest":"%s","size":1}`, of, i, subject))
		r := do(t, s, c, 201, "PUT", "/v2/a/b/manifests/"+digest.FromString(m).String(), m, "Content-Type", v1.MediaTypeImageManifest)
		if r.header.Get("OCI-Subject") != subject.String() {
			t.Errorf("%v", r.header)
		}
		made = append(made, digest.FromString(m))
	}
	all := pages[v1.Descriptor](t, s, c, path, "manifests")
	if len(all) != 1 || len(all[0]) != 3 || all[0][0].Digest != made[0] || all[0][0].ArtifactType != "sbom" || all[0][1].ArtifactType != "x/y" ||
		all[0][2].Annotations["n"] != "2" || all[0][0].MediaType != v1.MediaTypeImageManifest {
		t.Errorf("%+v", all)
	}
	r := do(t, s, c, 200, "GET", path+"?artifactType=sbom", "")
	if r.header.Get("OCI-Filters-Applied") != "artifactType" || strings.Contains(r.body, made[1].String()) || r.header.Get("Content-Type") != v1.MediaTypeImageIndex {
		t.Errorf("%+v", r)
	}
	s.Change(func(tr *Traits) { tr.NoFilter, tr.Page = true, 2 })
	if r := do(t, s, c, 200, "GET", path+"?artifactType=sbom", ""); r.header.Get("OCI-Filters-Applied") != "" {
		t.Errorf("%+v", r)
	}
	if all := pages[v1.Descriptor](t, s, c, path+"?artifactType=sbom", "manifests"); len(all) != 2 || len(all[0]) != 2 || len(all[1]) != 1 {
		t.Errorf("%+v", all)
	}
	s.Remove(repo, made[0].String())
	if all := pages[v1.Descriptor](t, s, c, path, "manifests"); len(all) != 1 || all[0][0].Digest != made[1] {
		t.Errorf("%+v", all)
	}
}

func TestAnIndexIsOfWhatIsThere(t *testing.T) {
	s := Start(t, Options{})
	one, two := s.Image(repo, "", []byte("1")), s.Image(repo, "", []byte("2"))
	s.Index(repo, "all", one, two)
	var x v1.Index
	if err := json.Unmarshal(s.ReadManifest(repo, "all"), &x); err != nil || len(x.Manifests) != 2 || x.Manifests[1].Digest != two {
		t.Errorf("%+v, %v", x, err)
	}
	s.Remove(repo, "all")
	s.Remove(repo, one.String())
	if tags, manifests, blobs := s.Held(repo); len(tags) != 0 || len(manifests) != 2 || len(blobs) != 3 {
		t.Errorf("%v, %v, %v", tags, manifests, blobs)
	}
}
