package upload

import (
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// The image of a directory is the entry with its name, else the only one that can be
// an image; whatever else an index.json lists goes by digest.
func TestWhichEntryIsTheImage(t *testing.T) {
	d := func(name string) digest.Digest { return digest.FromString(name) }
	// Manifests by name: what they have for children, and what they refer to.
	children := map[string][]string{"index": {"amd64", "arm64"}, "outer": {"index"}}
	refersTo := map[string]string{"signature": "image", "sbom": "signature"}
	load := func(x v1.Descriptor) (*registry.Manifest, error) {
		m := &registry.Manifest{Digest: x.Digest}
		for name, cs := range children {
			for _, c := range cs {
				if d(name) == x.Digest {
					m.Manifests = append(m.Manifests, v1.Descriptor{Digest: d(c)})
				}
			}
		}
		for name, subject := range refersTo {
			if d(name) == x.Digest {
				m.Subject = &v1.Descriptor{Digest: d(subject)}
			}
		}
		if x.Digest == d("absent") {
			return nil, registry.ErrNotFound
		}
		return m, nil
	}
	for name, c := range map[string]struct {
		dir     string
		entries string // NAME, NAME=REF.NAME, NAME~KIND, NAME@TYPE or NAME=REF.NAME!FULL NAME
		image   string // "" for none
		sure    certainty
		waits   bool
		err     string
	}{
		"the one with the directory's name":        {dir: "v1", entries: "amd64 index=v1 signature", image: "index", sure: sure},
		"the tag of a full name":                   {dir: "v1", entries: "amd64 index=ghcr.io/org/app:v1", image: "index", sure: sure},
		"the only one, of another name":            {dir: "v2", entries: "image=v1", image: "image", sure: likely},
		"the only one, without a name":             {dir: "v2", entries: "image", image: "image"},
		"the one that no other lists":              {dir: "v9", entries: "amd64 arm64 index", image: "index"},
		"the outermost":                            {dir: "v9", entries: "outer index amd64", image: "outer"},
		"the one that refers to nothing":           {dir: "v9", entries: "image signature sbom", image: "image"},
		"beside cosign's":                          {dir: "v9", entries: "image~dev.cosignproject.cosign/image other~dev.cosignproject.cosign/sigs more~dev.cosignproject.cosign/atts", image: "image"},
		"beside an attestation":                    {dir: "v9", entries: "image other@attestation-manifest", image: "image"},
		"beside a fallback tag":                    {dir: "v9", entries: "index=" + ref.DigestName(d("image")) + " image=v1", image: "image", sure: likely},
		"only a fallback tag":                      {dir: "v9", entries: "index=" + ref.DigestName(d("image")), sure: likely},
		"two without a name":                       {dir: "v9", entries: "amd64 arm64", err: "both"},
		"two of other names":                       {dir: "v9", entries: "amd64=a arm64=b", sure: likely, err: "both"},
		"twice the same":                           {dir: "v9", entries: "image=a image=b", image: "image", sure: likely},
		"the last of one name":                     {dir: "v1", entries: "amd64=v1 arm64=v1", image: "arm64", sure: sure},
		"the last of one full name":                {dir: "v1", entries: "amd64=v1!org/app:v1 arm64=v1!org/app:v1", image: "arm64", sure: sure},
		"one name, two images":                     {dir: "v1", entries: "amd64=v1!org/a:v1 arm64=v1!org/b:v1", sure: sure, err: "both"},
		"one tag, two full names":                  {dir: "v1", entries: "amd64=org/a:v1 arm64=org/b:v1", sure: sure, err: "both"},
		"a signature that had a tag":               {dir: "v2", entries: "signature=sig", image: "signature", sure: likely},
		"a signature that had none":                {dir: "v2", entries: "signature", err: "refers to another"},
		"a manifest that is yet to come":           {dir: "v9", entries: "amd64 absent", waits: true},
		"by its own digest":                        {dir: ref.DigestName(d("signature")), entries: "signature=latest", image: "signature", sure: sure},
		"an index under the name of a fallback":    {dir: ref.DigestName(d("image")), entries: "index=latest", image: "index", sure: likely},
		"a fallback tag in a directory of its own": {dir: ref.DigestName(d("image")), entries: "index=" + ref.DigestName(d("image")), sure: sure},
		"nothing": {dir: "v1", sure: likely},
	} {
		t.Run(name, func(t *testing.T) {
			var ds []v1.Descriptor
			for field := range strings.FieldsSeq(c.entries) {
				x := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Size: 1, Annotations: map[string]string{}}
				field, kind, _ := strings.Cut(field, "~")
				field, reference, _ := strings.Cut(field, "@")
				field, full, _ := strings.Cut(field, "!")
				field, ref, _ := strings.Cut(field, "=")
				for k, v := range map[string]string{annotationKind: kind, AnnotationImageName: full, v1.AnnotationRefName: ref, registry.AnnotationReferenceType: reference} {
					if v != "" {
						x.Annotations[k] = v
					}
				}
				if x.Digest = d(field); children[field] != nil {
					x.MediaType = v1.MediaTypeImageIndex
				}
				ds = append(ds, x)
			}
			got, err := chooseImage(readEntries(ds, oneImage), c.dir, load)
			switch {
			case c.err != "" && (!errors.Is(err, ErrAmbiguous) || !strings.Contains(err.Error(), c.err)):
				t.Fatalf("%+v, %v; want an error that says %q", got, err, c.err)
			case c.err == "" && err != nil:
				t.Fatal(err)
			case (got.tagged != nil) != (c.image != "") || got.sure != c.sure || (len(got.missing) > 0) != c.waits:
				t.Fatalf("%+v, want %q", got, c.image)
			case got.tagged != nil && got.tagged.desc.Digest != d(c.image):
				t.Fatalf("%s is tagged", got.tagged.desc.Digest)
			case got.tagged != nil && c.dir == ref.DigestName(d(c.image)) && got.tagged.tag != "":
				t.Fatalf("it gets the tag %s", got.tagged.tag)
			}
		})
	}
}
