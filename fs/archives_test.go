package fs

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// A name in archives/ is a tag, a digest, or a tag that is bound to a digest. What ends as a bound
// name does, or is spelled as a digest, means the digest.
func TestNamesOfArchives(t *testing.T) {
	d := digest.FromString("x")
	long := digest.SHA512.FromString("x")
	hex := d.Encoded()
	for name, want := range map[string]struct {
		tag    string
		digest digest.Digest
	}{
		"v1.tar":                      {"v1", ""},
		"v1.0.tar":                    {"v1.0", ""},
		"v1.tar.tar":                  {"v1.tar", ""},
		"sha256-" + hex + ".tar":      {"", d},
		"v1.sha256-" + hex + ".tar":   {"v1", d},
		"v1.0.sha256-" + hex + ".tar": {"v1.0", d},
		"sha256-" + hex + ".sha256-" + hex + ".tar": {"sha256-" + hex, d},
		"v1.sha512-" + long.Encoded() + ".tar":      {"v1", long},
		"sha256-" + hex + ".sig.tar":                {"sha256-" + hex + ".sig", ""},
		"sha256-" + hex[1:] + ".tar":                {"sha256-" + hex[1:], ""},
		"v1.md5-" + hex[:32] + ".tar":               {"v1.md5-" + hex[:32], ""},
	} {
		tag, dgst, ok := parseArchiveName(name)
		if tag != want.tag || dgst != want.digest || !ok {
			t.Errorf("%s is %q and %q, %v; want %q and %q", name, tag, dgst, ok, want.tag, want.digest)
		}
		if want.digest == "" {
			continue
		}
		if got := archiveName(want.tag, want.digest); got != name {
			t.Errorf("%q and %q are %s, want %s", want.tag, want.digest, got, name)
		}
	}
	for _, name := range []string{
		"", ".tar", "v1", "v1.tgz", ".git", "-v1.tar", "a b.tar", ".sha256-" + hex + ".tar", "-v1.sha256-" + hex + ".tar",
		strings.Repeat("a", 129) + ".tar", strings.Repeat("a", 129) + ".sha256-" + hex + ".tar",
	} {
		if tag, dgst, ok := parseArchiveName(name); ok {
			t.Errorf("%q is %q and %q", name, tag, dgst)
		}
	}
	fits, tooLong := strings.Repeat("a", 115), strings.Repeat("a", 116)
	if got := archiveName(fits, long); len(got) != maxName || !strings.HasPrefix(got, fits+".") {
		t.Errorf("a name that just fits is %d bytes: %s", len(got), got)
	}
	if got := archiveName(tooLong, long); got != "sha512-"+long.Encoded()+".tar" {
		t.Errorf("a name that would be too long is %s", got)
	}
}

// untar reads an archive: the names in order, and the content by name.
func untar(t *testing.T, archive string) (names []string, content map[string]string) {
	t.Helper()
	content = map[string]string{}
	r := tar.NewReader(strings.NewReader(archive))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return names, content
		}
		b, readErr := io.ReadAll(r)
		if err = errors.Join(err, readErr); err != nil {
			t.Fatal(err)
		}
		names, content[h.Name] = append(names, h.Name), string(b)
	}
}

// holds checks that an archive has these small files and these pieces, in this order, and gives the
// content by name.
func (w *walked) holds(path string, pieces ...v1.Descriptor) map[string]string {
	w.t.Helper()
	archive, err := w.shows(path)
	if err != nil {
		w.t.Fatal(err)
	}
	names, content := untar(w.t, archive)
	want := []string{"oci-layout", "index.json", "manifest.json"}
	for _, d := range pieces {
		want = append(want, "blobs/"+hexPath(d.Digest))
	}
	if !slices.Equal(names, want) {
		w.t.Errorf("%s holds %q, want %q", path, names, want)
	}
	for _, d := range pieces {
		if got := content["blobs/"+hexPath(d.Digest)]; digest.FromString(got) != d.Digest {
			w.t.Errorf("%s has other bytes of %s: %q", path, d.Digest, got)
		}
	}
	return content
}

// dockerListed parses Docker's list in an archive.
func dockerListed(t *testing.T, content map[string]string) (config string, tags any, layers []string) {
	t.Helper()
	var list []map[string]any
	if err := json.Unmarshal([]byte(content["manifest.json"]), &list); err != nil || len(list) != 1 {
		t.Fatalf("manifest.json is %s, %v", content["manifest.json"], err)
	}
	for _, l := range list[0]["Layers"].([]any) {
		layers = append(layers, l.(string))
	}
	return list[0]["Config"].(string), list[0]["RepoTags"], layers
}

// An archive has the layout and Docker's list, each blob once, and its name in both. By digest it
// has no name. image.tar leads to the archive of the digest that its directory is bound to.
func TestAnImageIsOneFile(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	config, one, two := blobIn(s, v1.MediaTypeImageConfig, "{}"), blobIn(s, v1.MediaTypeImageLayerGzip, "one"), blobIn(s, v1.MediaTypeImageLayer, "two")
	image := imageIn(s, "v1", config, one, two, one)
	w := walkAt(t, s, t.TempDir())
	at := testRepo + "/archives/"
	bound := "v1.sha256-" + image.Digest.Encoded() + ".tar"
	byDigest := "sha256-" + image.Digest.Encoded() + ".tar"
	w.want(testRepo+"/tags/v1/image.tar", "../../archives/"+bound)
	w.want(testRepo+"/manifests/"+hexPath(image.Digest)+"/image.tar", "../../../archives/"+byDigest)
	w.want(at, "")
	if n := s.Count("* blob"); n != 0 {
		t.Errorf("%d requests for blobs before anything was read: %q", n, s.Asked())
	}

	name := s.Host + "/" + testRepo + ":v1"
	blob := func(d v1.Descriptor) string { return "blobs/" + hexPath(d.Digest) }
	for file, tagged := range map[string]bool{"v1.tar": true, bound: true, byDigest: false} {
		content := w.holds(at+file, image, config, one, two)
		gotConfig, tags, layers := dockerListed(t, content)
		if gotConfig != blob(config) || !slices.Equal(layers, []string{blob(one), blob(two), blob(one)}) {
			t.Errorf("%s: Docker's list has %s and %q", file, gotConfig, layers)
		}
		var index v1.Index
		if err := json.Unmarshal([]byte(content["index.json"]), &index); err != nil || len(index.Manifests) != 1 {
			t.Fatalf("%s: index.json is %s, %v", file, content["index.json"], err)
		}
		desc := index.Manifests[0]
		if desc.Digest != image.Digest || desc.Size != image.Size || desc.MediaType != image.MediaType {
			t.Errorf("%s: index.json names %+v", file, desc)
		}
		if !tagged {
			if tags != nil || len(desc.Annotations) > 0 {
				t.Errorf("%s has the names %v and %v", file, tags, desc.Annotations)
			}
			continue
		}
		if got := tags.([]any); len(got) != 1 || got[0] != name || desc.Annotations["io.containerd.image.name"] != name || desc.Annotations[v1.AnnotationRefName] != "v1" {
			t.Errorf("%s has the names %v and %v, want %s", file, tags, desc.Annotations, name)
		}
	}
	for _, b := range []v1.Descriptor{config, one, two} {
		if n := s.Count("GET blob " + b.Digest.String()); n != 1 {
			t.Errorf("%s was requested %d times", b.Digest, n)
		}
	}

	again := walkAt(t, s, t.TempDir())
	first, _ := w.shows(at + bound)
	if second, err := again.shows(at + bound); second != first || err != nil {
		t.Errorf("another mount shows other bytes, %v", err)
	}
}

// Names that no archive has cost nothing.
func TestNamesThatNoArchiveHas(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	w := walkAt(t, s, t.TempDir())
	for _, name := range []string{".git", "v1", "v1.tgz", "-.tar", ".tar", "image.tar.gz"} {
		w.fails(testRepo+"/archives/"+name, node.ErrNotExist)
	}
	if asked := s.Asked(); len(asked) > 0 {
		t.Errorf("asked %q", asked)
	}
	w.fails(testRepo+"/archives/v1.tar", registry.ErrNotFound)
	w.fails(testRepo+"/archives/sha256-"+digest.FromString("x").Encoded()+".tar", registry.ErrNotFound)
}

// The archive of an index has everything that is reachable from it. Docker's list has the image for
// the platform of the mount; an index without one has no archive.
func TestAnIndexIsOneFile(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	forPlatform := func(arch string) (manifest, config, layer v1.Descriptor) {
		config, layer = blobIn(s, v1.MediaTypeImageConfig, `{"architecture":"`+arch+`"}`), blobIn(s, v1.MediaTypeImageLayer, "layer for "+arch)
		manifest = imageIn(s, "", config, layer)
		manifest.Platform = &v1.Platform{OS: "linux", Architecture: arch}
		return manifest, config, layer
	}
	amd64, amd64Config, amd64Layer := forPlatform("amd64")
	arm64, arm64Config, arm64Layer := forPlatform("arm64")
	gone := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.FromString("gone"), Size: 4, Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}}
	index := indexIn(s, "v1", amd64, arm64, gone)
	at := testRepo + "/archives/v1.tar"
	for platform, want := range map[string]struct{ config, layer v1.Descriptor }{
		"linux/amd64": {amd64Config, amd64Layer}, "linux/aarch64/v8": {arm64Config, arm64Layer},
	} {
		p, err := ParsePlatform(platform)
		if err != nil {
			t.Fatal(err)
		}
		w := walk(t, s, t.TempDir(), Options{Platform: p})
		w.want(testRepo+"/tags/v1", "blobs digest image.tar index.json manifest.json oci-layout platforms referrers rootfs")
		content := w.holds(at, index, amd64, arm64, amd64Config, amd64Layer, arm64Config, arm64Layer)
		config, _, layers := dockerListed(t, content)
		if config != "blobs/"+hexPath(want.config.Digest) || !slices.Equal(layers, []string{"blobs/" + hexPath(want.layer.Digest)}) {
			t.Errorf("for %s Docker's list has %s and %q", platform, config, layers)
		}
	}
	w := walk(t, s, t.TempDir(), Options{Platform: v1.Platform{OS: "linux", Architecture: "ppc64le"}})
	w.want(testRepo+"/tags/v1", "blobs digest index.json manifest.json oci-layout platforms referrers")
	w.fails(at, node.ErrNotExist)
	w.fails(testRepo+"/tags/v1/image.tar", node.ErrNotExist)

	// What the index names is believed until the registry denies it.
	w = walk(t, s, t.TempDir(), Options{Platform: *gone.Platform})
	w.want(testRepo+"/tags/v1", "blobs digest image.tar index.json manifest.json oci-layout platforms referrers rootfs")
	w.fails(at, node.ErrNotExist)
	w.want(testRepo+"/tags/v1", "blobs digest index.json manifest.json oci-layout platforms referrers")
}

// Docker's list needs a config. What has none has no archive.
func TestWhatHasNoArchive(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	config, layer := blobIn(s, v1.MediaTypeImageConfig, "{}"), blobIn(s, v1.MediaTypeImageLayer, "one")
	manifestIn(s, "artifact", ociArtifact, map[string]any{"artifactType": "a/b", "blobs": []v1.Descriptor{layer}})
	config.Digest = digest.Digest("blake3:" + config.Digest.Encoded())
	imageIn(s, "unknown", config, layer)
	indexIn(s, "empty")
	s.Manifest(testRepo, "old", "application/vnd.docker.distribution.manifest.v1+json", []byte(`{"schemaVersion":1,"name":"a","tag":"b","fsLayers":[],"history":[]}`))
	w := walkAt(t, s, t.TempDir())
	for _, tag := range []string{"artifact", "unknown", "empty", "old"} {
		w.fails(testRepo+"/archives/"+tag+".tar", node.ErrNotExist)
		w.fails(testRepo+"/tags/"+tag+"/image.tar", node.ErrNotExist)
		if names, err := w.shows(testRepo + "/tags/" + tag); err != nil || strings.Contains(names, imageTarName) {
			t.Errorf("%s has %s, %v", tag, names, err)
		}
	}
}

// Sizes that are together larger than a file can be are those of a malformed manifest.
func TestAnArchiveHasABound(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	huge := func(content string) v1.Descriptor {
		return v1.Descriptor{MediaType: v1.MediaTypeImageLayer, Digest: digest.FromString(content), Size: 1 << 62}
	}
	imageIn(s, "v1", blobIn(s, v1.MediaTypeImageConfig, "{}"), huge("one"), huge("two"))
	w := walkAt(t, s, t.TempDir())
	w.fails(testRepo+"/archives/v1.tar", registry.ErrCorrupt)
	w.want(testRepo+"/tags/v1", "blobs config.json digest image.tar index.json layers manifest.json oci-layout referrers rootfs unpacked")
}
