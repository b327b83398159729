package integration

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	containerd "github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// The tools that read an image as one file read image.tar: as Docker's archive and as OCI's, of OCI
// and of Docker images, by tag and by digest, and of an index.
func TestReadersOfArchives(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	app := repo(t, s, testImage)
	docker := content.Sample("docker")
	docker.Docker = true
	images := map[string]content.Manifest{
		"v1":     must(app.Image(t.Context(), "v1", content.Sample("v1")))(t),
		"docker": must(app.Image(t.Context(), "docker", docker))(t),
		"gzip":   must(app.Image(t.Context(), "gzip", content.Small("gzip")))(t),
	}
	multi := must(app.MultiPlatform(t.Context(), "multi"))(t)
	target := startOlareg(t, registries.Options{})
	m := testMount(t, mounting{flags: []string{"--platform", "linux/arm/v7"}})

	for tag, image := range images {
		for name, dir := range map[string]string{tag: m.at(s, testImage, "tags", tag), tag + " by digest": m.at(s, testImage, "manifests/sha256", image.Digest.Encoded())} {
			t.Run(name, func(t *testing.T) {
				m := m.forTest(t)
				archive := dir + "/image.tar"
				listed := m.sh("tar tf %s", archive)
				want := "oci-layout\nindex.json\nmanifest.json\n"
				for _, b := range append([]content.Blob{{Descriptor: image.Descriptor}, image.Config}, image.Layers...) {
					want += "blobs/sha256/" + b.Digest.Encoded() + "\n"
				}
				if listed != want {
					t.Errorf("tar lists %s, want %s", listed, want)
				}
				m.isConfigOf(image.Config.Bytes, "docker-archive:"+archive)
				m.sh("skopeo --insecure-policy copy --preserve-digests --dest-tls-verify=false oci-archive:%s docker://%s/copied/oci:%s", archive, target.Host, tag)
				if got := m.sh("crane digest --insecure %s/copied/oci:%s", target.Host, tag); strings.TrimSpace(got) != image.Digest.String() {
					t.Errorf("skopeo copies oci-archive: as %s, want %s", got, image.Digest)
				}
				m.sh("skopeo --insecure-policy copy --dest-tls-verify=false docker-archive:%s docker://%s/copied/docker:%s", archive, target.Host, tag)
				if tag != "v1" && tag != "docker" { // crane takes each layer for one of gzip
					m.sh("crane push --insecure %s %s/copied/crane:%s", archive, target.Host, tag)
					m.sh("crane validate --insecure --remote %s/copied/crane:%s", target.Host, tag)
				}
			})
		}
	}

	t.Run("index", func(t *testing.T) {
		m := m.forTest(t)
		archive := m.at(s, testImage, "tags/multi/image.tar")
		child := multi.Children[2] // for arm/v7
		m.isConfigOf(child.Config.Bytes, "docker-archive:"+archive)
		m.sh("skopeo --insecure-policy copy --all --dest-tls-verify=false oci-archive:%s docker://%s/copied/all:v1", archive, target.Host)
		if got := m.sh("crane digest --insecure %s/copied/all:v1", target.Host); strings.TrimSpace(got) != multi.Digest.String() {
			t.Errorf("the copy of the index has digest %s, want %s", got, multi.Digest)
		}
		var config struct{ Platform string }
		if err := json.Unmarshal([]byte(m.sh("cat $M/.ocifs/config.json")), &config); err != nil || config.Platform != "linux/arm/v7" {
			t.Errorf("config.json has the platform %q, %v", config.Platform, err)
		}
	})
}

// isConfigOf checks that skopeo finds a config in an archive.
func (m *mounted) isConfigOf(config []byte, image string) {
	m.t.Helper()
	var got, want ocispec.Image
	if err := json.Unmarshal([]byte(m.sh("skopeo --insecure-policy inspect --config %s", image)), &got); err != nil {
		m.t.Fatal(err)
	}
	if err := json.Unmarshal(config, &want); err != nil {
		m.t.Fatal(err)
	}
	if got.Architecture != want.Architecture || fmt.Sprint(got.RootFS) != fmt.Sprint(want.RootFS) {
		m.t.Errorf("the config of %s is %+v, want %+v", image, got, want)
	}
}

// What is loaded into podman has its full name, and its image's files.
func TestAnArchiveIsLoaded(t *testing.T) {
	t.Parallel()
	s := startOlareg(t, registries.Options{})
	image := must(repo(t, s, testImage).Image(t.Context(), "v1", content.Sample("v1")))(t)
	must(repo(t, s, testImage).MultiPlatform(t.Context(), "multi"))(t)
	m := testMount(t, mounting{})
	storage := t.TempDir()
	podman := fmt.Sprintf("podman --root %s/root --runroot %s/run --storage-driver vfs", storage, storage)
	m.sh("%s load -i %s", podman, m.at(s, testImage, "tags/v1/image.tar"))
	m.sh("%s load <%s", podman, m.at(s, testImage, "archives/multi.tar"))
	m.sh("%s load -i %s", podman, m.at(s, testImage, "archives/sha256-"+image.Digest.Encoded()+".tar"))
	for tag, file := range map[string]string{"v1": "etc/version", "multi": "text"} {
		name := s.Host + "/" + testImage + ":" + tag
		got := m.sh("at=$(%s image mount %s) && cat $at/%s && %s image unmount %s >/dev/null", podman, name, file, podman, name)
		if want := map[string]string{"v1": "v1\n", "multi": "for " + runtime.GOARCH}[tag]; got != want {
			t.Errorf("%s in %s is %q, want %q", file, name, got, want)
		}
	}
}

// containerd's importer, which docker load, ctr and kind use, takes in an archive with its name, its
// index, and every blob of it.
func TestContainerdImportsAnArchive(t *testing.T) {
	t.Parallel()
	s := startOlareg(t, registries.Options{})
	image := must(repo(t, s, testImage).Image(t.Context(), "v1", content.Sample("v1")))(t)
	multi := must(repo(t, s, testImage).MultiPlatform(t.Context(), "multi"))(t)
	m := testMount(t, mounting{})
	for name, want := range map[string]struct {
		content.Manifest
		named string // the full name; "": none
	}{
		"v1":                               {image, s.Host + "/" + testImage + ":v1"},
		"multi":                            {multi, s.Host + "/" + testImage + ":multi"},
		"sha256-" + image.Digest.Encoded(): {image, ""},
	} {
		store := must(local.NewStore(t.TempDir()))(t)
		tar := m.sh("cat %s", m.at(s, testImage, "archives", name+".tar"))
		top := must(archive.ImportIndex(t.Context(), store, strings.NewReader(tar)))(t)
		var index ocispec.Index
		raw := must(containerd.ReadBlob(t.Context(), store, top))(t)
		if err := json.Unmarshal(raw, &index); err != nil || len(index.Manifests) != 1 {
			t.Fatalf("%s: the index is %s, %v", name, raw, err)
		}
		got := index.Manifests[0]
		if got.Digest != want.Digest || got.Annotations[images.AnnotationImageName] != want.named || (want.named == "") != (got.Annotations[ocispec.AnnotationRefName] == "") {
			t.Errorf("%s: imported is %+v, want %s as %q", name, got, want.Digest, want.named)
		}
		for d, desc := range want.Digests() {
			if info, err := store.Info(t.Context(), d); err != nil || info.Size != desc.Size {
				t.Errorf("%s: %s is imported with %d bytes, %v; want %d", name, d, info.Size, err, desc.Size)
			}
		}
	}
}

// The same digest gives the same bytes at each registry's mount, as many as stat says. Each blob
// is downloaded once for it, and only the blobs that are read.
func TestAnArchiveIsReadInPlace(t *testing.T) {
	t.Parallel()
	onEvery(t, registries.Options{}, func(t *testing.T, s *registries.Server) {
		app := repo(t, s, testImage)
		var large content.Image
		for _, text := range []string{"one", "two", "three"} {
			large.Layers = append(large.Layers, content.Layer{MediaType: ocispec.MediaTypeImageLayer, Files: []content.File{{Name: text, Text: strings.Repeat(text, 50_000)}}})
		}
		image := must(app.Image(t.Context(), "v1", large))(t)
		index := must(app.MultiPlatform(t.Context(), "multi"))(t)
		m := testMount(t, mounting{})
		link := m.at(s, testImage, "tags/v1/image.tar")
		archive := m.at(s, testImage, "archives/v1.sha256-"+image.Digest.Encoded()+".tar")
		m.links(link, archive)
		m.lists(m.at(s, testImage, "archives"))
		var size int64
		costs(t, s, "the size of an archive", counts{}, func() { _, size, _, _ = m.stat(archive) })
		costs(t, s, "names that no archive has", counts{}, func() {
			for _, name := range []string{".git", "v1", "-v1.tar", "v1.tar.gz"} {
				m.probe("ENOENT", "stat", m.at(s, testImage, "archives", name))
			}
		})

		layer := image.Layers[1]
		s.Forget()
		// In records of 10 KiB, as usual, it would read the beginning of each layer.
		listed := m.sh("tar -b 1 -tRf %s blobs/sha256/%s", archive, layer.Digest.Encoded())
		for _, l := range image.Layers {
			if n := requestsFor(s, l.Digest); n != 0 {
				t.Errorf("a list requested %s %d times", l.Digest, n)
			}
		}
		block, _, _ := strings.Cut(strings.TrimPrefix(listed, "block "), ":")
		offset := (must(strconv.Atoi(block))(t) + 1) * 512
		costs(t, s, "a layer of an archive", counts{"GET blob": 1}, func() {
			got := m.sh("dd if=%s bs=512 skip=%d count=%d status=none | sha256sum", archive, offset/512, layer.Size/512) // it is a tar
			if !strings.HasPrefix(got, layer.Digest.Encoded()) {
				t.Errorf("at %d stands %s", offset, got)
			}
		})
		sum := m.sh("sha256sum <%s", archive)
		if got := strings.TrimSpace(m.sh("wc -c <%s", link)); got != strconv.FormatInt(size, 10) {
			t.Errorf("it has %s bytes, where stat says %d", got, size)
		}

		other := testMount(t, mounting{})
		fresh := strings.Replace(archive, m.Dir, other.Dir, 1)
		s.Forget()
		other.sh("dd if=%s bs=1 skip=%d count=100 status=none | cmp -n 100 - %s", fresh, offset, m.at(s, testImage, "blobs/sha256", layer.Digest.Encoded()))
		for _, b := range append([]content.Blob{image.Config}, image.Layers...) {
			want := 0
			if b.Digest == layer.Digest {
				want = 1
			}
			if n := requestsFor(s, b.Digest); n != want {
				t.Errorf("a read of %s requested %s %d times", layer.Digest, b.Digest, n)
			}
		}
		if got := other.sh("sha256sum <%s", fresh); got != sum {
			t.Errorf("two mounts show %s and %s", sum, got)
		}
		for _, b := range append([]content.Blob{image.Config}, image.Layers...) {
			if n := requestsFor(s, b.Digest); n != 1 {
				t.Errorf("%s was requested %d times for the whole", b.Digest, n)
			}
		}

		costs(t, s, "the archive of an index", counts{"GET manifest": 1 + len(index.Children)}, func() {
			other.sh("stat -L %s", other.at(s, testImage, "tags/multi/image.tar"))
		})
	})
}

// requestsFor counts the requests for a blob.
func requestsFor(s *registries.Server, d digest.Digest) (n int) {
	for _, r := range s.Requests() {
		if strings.HasSuffix(r.Path, "/blobs/"+d.String()) {
			n++
		}
	}
	return n
}

// A tag that is pushed to, or deleted, is another archive at once. One that is open stays.
func TestAnArchiveFollowsItsTag(t *testing.T) {
	t.Parallel()
	s := startOlareg(t, registries.Options{})
	app := repo(t, s, testImage)
	must(app.Image(t.Context(), "v1", content.Small("one")))(t)
	two := must(app.Image(t.Context(), "v2", content.Small("two")))(t)
	m := testMount(t, mounting{flags: []string{"--allow-delete", "--tag-ttl", "1h"}})
	archive := m.at(s, testImage, "archives/v1.tar")
	holds := func(want content.Manifest) {
		t.Helper()
		if got := m.sh("tar xOf %s index.json | jq -r '.manifests[0].digest'", archive); strings.TrimSpace(got) != want.Digest.String() {
			t.Errorf("%s holds %s, want %s", archive, got, want.Digest)
		}
	}
	before := m.sh("sha256sum <%s", archive)
	after := m.sh("exec 3<%s; cp %s %s; sha256sum <&3", archive, m.at(s, testImage, "tags/v2/manifest.json"), m.at(s, testImage, "upload/manifests/v1"))
	if before != after {
		t.Errorf("an open archive changed from %s to %s", before, after)
	}
	holds(two)
	byDigest := m.at(s, testImage, "archives/sha256-"+two.Digest.Encoded()+".tar")
	kept := filepath.Join(t.TempDir(), "manifest.json")
	m.probe("ok", "stat", byDigest)
	m.sh("cp %s %s && rmdir %s", m.at(s, testImage, "tags/v2/manifest.json"), kept, m.at(s, testImage, "tags/v1"))
	m.probe("ENOENT", "stat", archive)
	m.sh("rmdir %s", m.at(s, testImage, "manifests/sha256", two.Digest.Encoded()))
	m.probe("ENOENT", "stat", byDigest)
	m.sh("cp %s %s", kept, m.at(s, testImage, "upload/manifests/v1"))
	m.probe("ok", "stat", byDigest)
	holds(two)
}

// A read that waits for a blob of an archive is interrupted, and stalls no other.
func TestAReadOfAnArchiveIsInterrupted(t *testing.T) {
	t.Parallel()
	s := startOlareg(t, registries.Options{})
	image := must(repo(t, s, testImage).Image(t.Context(), "v1", content.Sample("v1")))(t)
	m := testMount(t, mounting{})
	archive := m.at(s, testImage, "tags/v1/image.tar")
	m.sh("head -c 1024 %s", archive)
	s.Fault(registries.Fault{Path: "/blobs/" + image.Layers[0].Digest.String(), Hold: true})
	defer s.Heal()
	p := m.start("exec cat " + archive + " >/dev/null")
	p.waits()
	m.answersAtOnce("head -c 1024 "+archive, "ls "+filepath.Dir(archive))
	p.isEnded(syscall.SIGINT)
}
