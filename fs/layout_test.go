package fs

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/registrytest"
)

const (
	testRepo     = "team/app"
	ociArtifact  = "application/vnd.oci.artifact.manifest.v1+json"
	orasArtifact = "application/vnd.cncf.oras.artifact.manifest.v1+json"
	foreignLayer = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
)

// blobIn puts a blob into the repository of these tests, and describes it.
func blobIn(s *registrytest.Server, mediaType, content string) v1.Descriptor {
	s.Blob(testRepo, []byte(content))
	return v1.Descriptor{MediaType: mediaType, Digest: digest.FromString(content), Size: int64(len(content))}
}

// manifestIn puts a manifest of these fields there, and describes it. tag may be "".
func manifestIn(s *registrytest.Server, tag, mediaType string, fields map[string]any) v1.Descriptor {
	fields["schemaVersion"], fields["mediaType"] = 2, mediaType
	raw, err := json.Marshal(fields)
	if err != nil {
		panic(err) // made of plain values
	}
	return v1.Descriptor{MediaType: mediaType, Digest: s.Manifest(testRepo, tag, mediaType, raw), Size: int64(len(raw))}
}

func imageIn(s *registrytest.Server, tag string, config v1.Descriptor, layers ...v1.Descriptor) v1.Descriptor {
	return manifestIn(s, tag, v1.MediaTypeImageManifest, map[string]any{"config": config, "layers": layers})
}

func indexIn(s *registrytest.Server, tag string, children ...v1.Descriptor) v1.Descriptor {
	return manifestIn(s, tag, v1.MediaTypeImageIndex, map[string]any{"manifests": children})
}

func titled(d v1.Descriptor, title string) v1.Descriptor {
	d.Annotations = map[string]string{v1.AnnotationTitle: title}
	return d
}

// hexes is what blobs/sha256/ lists of these.
func hexes(ds ...v1.Descriptor) string {
	var names []string
	for _, d := range ds {
		names = append(names, d.Digest.Encoded())
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), " ")
}

// isCopied reads all of an image directory as `cp -r` does, and checks that blobs/ is these,
// byte for byte, and that no symlink into it dangles.
func (w *walked) isCopied(path string, ds ...v1.Descriptor) {
	w.t.Helper()
	w.want(path+"/blobs/sha256", hexes(ds...))
	for _, d := range ds {
		got, err := w.shows(path + "/blobs/" + hexPath(d.Digest))
		if err != nil || digest.FromString(got) != d.Digest {
			w.t.Errorf("%s/blobs/%s shows %q, %v", path, hexPath(d.Digest), got, err)
		}
	}
	for _, dir := range []string{"layers", "files"} {
		names, _ := w.shows(path + "/" + dir)
		for name := range strings.FieldsSeq(names) {
			to, err := w.shows(path + "/" + dir + "/" + name)
			if err != nil {
				w.t.Errorf("%s/%s/%s is listed: %v", path, dir, name, err)
				continue
			}
			if _, err := w.shows(path + "/" + strings.TrimPrefix(to, "../")); err != nil {
				w.t.Errorf("%s/%s/%s leads to %s: %v", path, dir, name, to, err)
			}
		}
	}
}

// An artifact manifest is a whole layout: its blobs are its layers. In an index it is a
// manifest, and what it names is there as well.
func TestAnArtifactManifestIsALayout(t *testing.T) {
	for _, mediaType := range []string{ociArtifact, orasArtifact} {
		s := registrytest.Start(t, registrytest.Options{})
		sbom := titled(blobIn(s, "application/json", "an SBOM"), "sbom.json")
		plain := blobIn(s, "text/plain", "no title")
		artifact := manifestIn(s, "v1", mediaType, map[string]any{"artifactType": "a/b", "blobs": []v1.Descriptor{sbom, plain}})
		index := indexIn(s, "index", artifact)
		w := walkAt(t, s, t.TempDir())
		at := testRepo + "/tags/v1"
		w.want(at, "blobs digest files index.json layers manifest.json oci-layout referrers")
		w.want(at+"/layers", "00-"+sbom.Digest.Encoded()[:12]+".json 01-"+plain.Digest.Encoded()[:12]+".txt")
		w.want(at+"/files", "sbom.json")
		w.want(at+"/files/sbom.json", "../blobs/"+hexPath(sbom.Digest))
		w.isCopied(at, artifact, sbom, plain)
		w.isCopied(testRepo+"/tags/index", index, artifact, sbom, plain)
		w.want(testRepo+"/tags/index/platforms", "unknown-"+artifact.Digest.Encoded()[:12])
		if n := s.Count("HEAD blob"); n != 0 {
			t.Errorf("%d blobs were asked for", n)
		}
	}
}

// A child of an index whose type is no manifest's is a blob where the registry has it as one,
// else a manifest, else it isn't there. A HEAD tells, once.
func TestAChildOfAnUnknownType(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	cached := blobIn(s, "application/vnd.oci.image.layer.v1.tar+gzip", "a layer of a build cache")
	config := blobIn(s, "application/vnd.buildkit.cacheconfig.v0", "{}")
	strange := manifestIn(s, "", "application/vnd.example.manifest+json", map[string]any{"what": 1})
	gone := v1.Descriptor{MediaType: "application/vnd.example.manifest+json", Digest: digest.FromString("gone"), Size: 4}
	index := indexIn(s, "v1", cached, config, strange, gone)
	w := walkAt(t, s, t.TempDir())
	at := testRepo + "/tags/v1"
	begin := time.Now()
	for range 2 {
		w.want(at+"/platforms", "unknown-"+strange.Digest.Encoded()[:12])
		w.isCopied(at, index, cached, config, strange)
		w.fails(at+"/blobs/"+hexPath(gone.Digest), node.ErrNotExist)
		w.fails(at+"/platforms/unknown-"+gone.Digest.Encoded()[:12], node.ErrNotExist)
		w.fails(at+"/platforms/unknown-"+cached.Digest.Encoded()[:12], node.ErrNotExist)
	}
	if heads := s.Count("HEAD blob"); heads != 4 && time.Since(begin) < (5*time.Second) {
		t.Errorf("%d HEADs of blobs: %q", heads, s.Asked())
	}
	w.want(testRepo+"/manifests/"+hexPath(strange.Digest)+"/digest", strange.Digest.String()+"\n")
}

// A digest of an unknown algorithm is left out everywhere, and the rest of the image is there.
func TestADigestOfAnUnknownAlgorithmIsLeftOut(t *testing.T) {
	unknown := func(d v1.Descriptor) v1.Descriptor {
		d.Digest = digest.Digest("blake3:" + d.Digest.Encoded())
		return d
	}
	s := registrytest.Start(t, registrytest.Options{})
	config, one, two := blobIn(s, v1.MediaTypeImageConfig, "{}"), blobIn(s, v1.MediaTypeImageLayer, "one"), titled(blobIn(s, v1.MediaTypeImageLayer, "two"), "two")
	image := imageIn(s, "v1", config, unknown(one), two, unknown(titled(one, "one")))
	imageIn(s, "config", unknown(config), one)
	index := indexIn(s, "index", image, unknown(image))
	w := walkAt(t, s, t.TempDir())
	at := testRepo + "/tags/v1"
	w.want(at+"/manifest.json", string(s.ReadManifest(testRepo, "v1")))
	w.want(at+"/blobs", "sha256")
	w.want(at+"/layers", "01-"+two.Digest.Encoded()[:12]+".tar")
	w.want(at+"/files", "two")
	w.isCopied(at, image, config, two)
	w.want(testRepo+"/tags/config", "blobs digest index.json layers manifest.json oci-layout referrers rootfs unpacked")
	w.want(testRepo+"/tags/index/platforms", "unknown-"+image.Digest.Encoded()[:12])
	w.isCopied(testRepo+"/tags/index", index, image, config, two)
	if n := s.Count("HEAD blob") + s.Count("GET blob blake3:*"); n != 0 {
		t.Errorf("asked %q", s.Asked())
	}
}

// A layer is a blob, even one that is typed as an index or a manifest. Where a digest is a
// layer here and a child there, it is shown with what it names, and read where it is.
func TestALayerIsABlobWhateverItsType(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	config := blobIn(s, v1.MediaTypeImageManifest, "{}")
	inner := imageIn(s, "", blobIn(s, v1.MediaTypeImageConfig, `{"inner":1}`))
	innerConfig := blobIn(s, v1.MediaTypeImageConfig, `{"inner":1}`)
	index := indexIn(s, "index", inner)
	raw := s.ReadManifest(testRepo, "index")
	asLayer := titled(blobIn(s, v1.MediaTypeImageIndex, string(raw)), "index.json")
	image := imageIn(s, "v1", config, asLayer)
	both := indexIn(s, "both", image, index)

	w := walkAt(t, s, t.TempDir())
	w.want(testRepo+"/tags/v1/config.json", "blobs/"+hexPath(config.Digest))
	w.isCopied(testRepo+"/tags/v1", image, config, asLayer)
	w.isCopied(testRepo+"/tags/both", both, image, config, index, inner, innerConfig)

	s.Remove(testRepo, index.Digest.String()) // it is a layer alone now, and a child that is missing
	s.Blob(testRepo, raw)
	w = walkAt(t, s, t.TempDir())
	w.want(testRepo+"/tags/both/platforms", "unknown-"+image.Digest.Encoded()[:12])
	w.isCopied(testRepo+"/tags/both", both, image, config, asLayer)
	w.isCopied(testRepo+"/tags/v1", image, config, asLayer)
}

// A foreign layer is there where the registry has it, which a HEAD tells once. Where it is
// missing no name leads to it, and the others keep their numbers.
func TestForeignLayers(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	config, own := blobIn(s, v1.MediaTypeImageConfig, "{}"), blobIn(s, v1.MediaTypeImageLayer, "own")
	here := titled(blobIn(s, foreignLayer, "foreign, and here"), "here")
	const nondistributable = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
	gone := titled(v1.Descriptor{MediaType: nondistributable, Digest: digest.FromString("gone"), Size: 4}, "gone")
	away := v1.Descriptor{MediaType: v1.MediaTypeImageLayer, Digest: digest.FromString("away"), Size: 4, URLs: []string{"https://example.com/away"}}
	image := imageIn(s, "v1", config, gone, own, here, away)
	w := walkAt(t, s, t.TempDir())
	at := testRepo + "/tags/v1"
	begin := time.Now()
	s.Forget()
	w.want(at+"/blobs/"+hexPath(own.Digest), "own")
	if n := s.Count("HEAD blob"); n != 0 {
		t.Errorf("for a layer of its own %d blobs were asked for", n)
	}
	names := fmt.Sprintf("01-%.12s.tar 02-%.12s.tar.gz", own.Digest.Encoded(), here.Digest.Encoded())
	for range 2 {
		w.want(at+"/layers", names)
		w.want(at+"/files", "here")
		w.isCopied(at, image, config, own, here)
		for _, d := range []v1.Descriptor{gone, away} {
			w.fails(at+"/blobs/"+hexPath(d.Digest), node.ErrNotExist)
		}
		w.fails(at+"/files/gone", node.ErrNotExist)
		w.fails(at+"/layers/00-"+gone.Digest.Encoded()[:12]+".tar.gz", node.ErrNotExist)
		w.fails(testRepo+"/blobs/"+hexPath(gone.Digest), registry.ErrNotFound)
	}
	if n := s.Count("HEAD blob"); n != 3 && time.Since(begin) < (5*time.Second) {
		t.Errorf("3 foreign layers cost %d HEADs: %q", n, s.Asked())
	}
	s.Blob(testRepo, []byte("gone"))
	w.ages()
	w.want(at+"/files", "gone here")
	w.isCopied(at, image, config, own, here, gone)
}

// The last word of a registry that is out of reach counts, on a foreign layer and on a missing
// child. A name is there for a piece of which the registry never told, and leads to the error.
func TestForeignLayersOutliveTheirRegistry(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	m := oneLayer(t, s, testRepo, "image", "one")
	put := func(tag string, fields any) digest.Digest {
		raw, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		return s.Manifest(testRepo, tag, "application/json", raw)
	}
	gone := v1.Descriptor{MediaType: foreignLayer, Digest: digest.FromString("gone"), Size: 4}
	here := v1.Descriptor{MediaType: foreignLayer, Digest: m.Layers[0].Digest, Size: m.Layers[0].Size}
	put("v1", v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, Config: *m.Config, Layers: []v1.Descriptor{gone, here}})
	missing := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.FromString("missing"), Size: 4, Platform: &v1.Platform{OS: "linux", Architecture: "arm"}}
	child := m.Descriptor()
	child.Platform = &v1.Platform{OS: "linux", Architecture: "amd64"}
	put("index", v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{missing, child}})
	seen := map[string]string{
		testRepo + "/tags/v1/layers":       fmt.Sprintf("01-%.12s.tar.gz", here.Digest.Encoded()),
		testRepo + "/tags/index/platforms": "linux-amd64",
	}
	for _, tag := range []string{"v1", "index"} {
		names, err := walk(t, s, t.TempDir(), Options{}).shows(testRepo + "/tags/" + tag + "/blobs/sha256")
		if err != nil {
			t.Fatal(err)
		}
		seen[testRepo+"/tags/"+tag+"/blobs/sha256"] = names
	}
	dir := t.TempDir()
	t.Run("what was told", func(t *testing.T) {
		w := walk(t, s, dir, Options{})
		for path, want := range seen {
			w.want(path, want)
		}
		s.On("* *", failing)
		w.ages()
		for path, want := range seen {
			w.want(path, want)
		}
	})
	w := walk(t, s, dir, Options{})
	w.want(testRepo+"/tags/v1/layers", fmt.Sprintf("00-%.12s.tar.gz 01-%.12s.tar.gz", gone.Digest.Encoded(), here.Digest.Encoded()))
	w.want(testRepo+"/tags/index/platforms", "linux-amd64 linux-arm")
	w.fails(testRepo+"/tags/v1/blobs/sha256", registry.ErrServer)
	w.fails(testRepo+"/tags/index/blobs/"+hexPath(missing.Digest), registry.ErrServer)
}

// A child that the registry lacks is left out until it comes: it is asked for again when its
// denial isn't believed any more, and not before.
func TestASparseIndexFillsUp(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	config := blobIn(s, v1.MediaTypeImageConfig, "{}")
	amd64, arm64 := imageIn(s, "", config), imageIn(s, "", config, blobIn(s, v1.MediaTypeImageLayer, "for arm64"))
	layer := blobIn(s, v1.MediaTypeImageLayer, "for arm64")
	raw := s.ReadManifest(testRepo, arm64.Digest.String())
	amd64.Platform, arm64.Platform = &v1.Platform{OS: "linux", Architecture: "amd64"}, &v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}
	index := indexIn(s, "v1", amd64, arm64)
	s.Remove(testRepo, arm64.Digest.String())
	w := walkAt(t, s, t.TempDir())
	at := testRepo + "/tags/v1"
	begin := time.Now()
	s.Forget()
	w.want(at+"/platforms", "linux-amd64")
	if asked := strings.Join(s.Asked(), ", "); asked != "GET manifest v1, HEAD manifest, HEAD manifest" {
		t.Errorf("platforms/ asked %s", asked) // a GET counts as a pull
	}
	for range 3 {
		w.want(at+"/platforms", "linux-amd64")
		w.fails(at+"/platforms/linux-arm64", node.ErrNotExist)
		w.fails(at+"/platforms/linux-arm64-v8", node.ErrNotExist)
		w.fails(at+"/blobs/"+hexPath(arm64.Digest), node.ErrNotExist)
		w.isCopied(at, index, amd64, config)
	}
	if n := s.Count("GET manifest"); n != 2 && time.Since(begin) < (5*time.Second) {
		t.Errorf("asked %q", s.Asked())
	}
	s.Manifest(testRepo, "", v1.MediaTypeImageManifest, raw)
	w.ages()
	w.want(at+"/platforms", "linux-amd64 linux-arm64-v8")
	w.want(at+"/platforms/linux-arm64", "../../../manifests/"+hexPath(arm64.Digest))
	w.want(at+"/platforms/linux-x86_64", "../../../manifests/"+hexPath(amd64.Digest))
	w.isCopied(at, index, amd64, config, arm64, layer)
}

// A layout of very many layers is listed, and each is found in it.
func TestManyLayers(t *testing.T) {
	var layers []v1.Descriptor
	const maxReachable = 20_000 // of an index, as package known has it
	for k := range maxReachable {
		layers = append(layers, v1.Descriptor{Digest: digest.FromString(fmt.Sprint(k)), Size: 1})
	}
	raw, err := json.Marshal(v1.Manifest{MediaType: v1.MediaTypeImageManifest, Config: layers[0], Layers: layers})
	if err != nil {
		t.Fatal(err)
	}
	s := registrytest.Start(t, registrytest.Options{})
	s.Manifest(testRepo, "v1", v1.MediaTypeImageManifest, raw)
	w := walkAt(t, s, t.TempDir())
	d, err := w.to(testRepo + "/tags/v1/blobs/sha256")
	if err != nil {
		t.Fatal(err)
	}
	l, err := d.(node.Directory).List(t.Context())
	if err != nil || len(l.Names) != maxReachable+1 {
		t.Fatalf("%d blobs are listed, %v", len(l.Names), err)
	}
	for _, name := range l.Names {
		if _, err := d.(node.Directory).Lookup(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
}
