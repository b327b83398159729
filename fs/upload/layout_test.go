package upload

import (
	"encoding/json"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/ref"
)

// The name of an image in an index means a tag in all the ways in which tools write
// it.
func TestTagOf(t *testing.T) {
	for name, want := range map[string]string{
		"": "", "v1": "v1", "latest": "latest",
		"ghcr.io/org/app:v1": "v1", "localhost:5000/app:v2": "v2", "localhost:5000/app": "",
		"app:v3": "v3", "org/app": "",
		"ghcr.io/org/app:v1@sha256:abc": "v1", "ghcr.io/org/app@sha256:abc": "", "app@sha256:abc": "",
	} {
		if got, err := tagOf(name); err != nil || got != want {
			t.Errorf("%q means %q, %v; want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"no tag", "-v1", "app:no tag", "a/b:-x"} {
		if got, err := tagOf(name); err == nil {
			t.Errorf("%q means %q", name, got)
		}
	}
}

// FuzzEntries: what an index asks for is always something that can be pushed, each
// thing once.
func FuzzEntries(f *testing.F) {
	i := newImage("x")
	f.Add(indexOf(i.descriptor("v1"), i.descriptor("v1"), i.descriptor("")), true)
	f.Add(indexOf(i.descriptor("a/b:c")), false)
	f.Add([]byte(`{"manifests":[{"digest":"sha256:x","size":-1}]}`), true)
	f.Fuzz(func(t *testing.T, raw []byte, top bool) {
		var index v1.Index
		if json.Unmarshal(raw, &index) != nil {
			return
		}
		kind := oneImage
		if top {
			kind = anyImages
		}
		seen := map[string]bool{}
		for _, e := range eachOnce(readEntries(index.Manifests, kind)) {
			if e.err != nil {
				continue
			}
			_, derr := ref.ParseDigest(e.desc.Digest.String())
			if seen[e.target] || derr != nil || e.tag != "" && !ref.ValidTag(e.tag) || e.tag == "" && e.target != e.desc.Digest.String() {
				t.Fatalf("%q asks for %+v", raw, *e)
			}
			seen[e.target] = true
		}
	})
}
