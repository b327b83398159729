package integration

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// The rootfs of an index is that of its child for --platform, whose equals count. An index without
// such a child has none.
func TestInsideAnIndex(t *testing.T) {
	t.Parallel()
	s := startOlareg(t, registries.Options{})
	app := repo(t, s, testImage)
	child := func(arch, variant string) content.Manifest {
		layer := content.Layer{MediaType: ocispec.MediaTypeImageLayerGzip, Archive: tarOf(t, file("arch", arch+variant))}
		return must(app.Image(t.Context(), "", content.Image{Arch: arch, Layers: []content.Layer{layer}}))(t).For("linux", arch, variant)
	}
	amd, arm := child("amd64", ""), child("arm64", "v8")
	must(app.Index(t.Context(), "both", "", amd, arm))(t)
	must(app.Index(t.Context(), "amd", "", amd))(t)
	m := testMount(t, mounting{flags: []string{"--platform", "linux/arm64"}})
	both := m.at(s, testImage, "tags/both")
	m.holds(both+"/rootfs/arch", []byte("arm64v8"))
	m.links(both+"/rootfs", m.at(s, testImage, "rootfs/sha256", arm.Digest.Encoded()))
	m.holds(both+"/platforms/linux-amd64/rootfs/arch", []byte("amd64"))
	m.probe("ENOENT", "stat", m.at(s, testImage, "tags/amd/rootfs"))
	m.probe("ENOENT", "stat", m.at(s, testImage, "tags/amd/image.tar"))
}

// While a registry is gone, files of images that were seen are shown, also past the tag's time, and
// after a remount. A layer that isn't cached is EHOSTUNREACH.
func TestInsideWhileTheRegistryIsGone(t *testing.T) {
	t.Parallel()
	s := newLayered(t)
	const ttl = time.Second
	cache := filepath.Join(t.TempDir(), "cache")
	o := mounting{cache: cache, flags: []string{"--tag-ttl", ttl.String(), "--list-ttl", ttl.String()}}
	m := testMount(t, o)
	look := "cd %s && ls -lR rootfs/ && find rootfs/ -type f | sort | xargs sha256sum && ls -lR unpacked/00-*/ && sha256sum unpacked/02-*/app/run"
	v1, v2 := m.at(s.Server, testImage, "tags/v1"), m.at(s.Server, testImage, "tags/v2")
	before := m.sh(look, v1)
	m.sh("cat %s/manifest.json %s/config.json", v2, v2)
	if err := s.Gone(); err != nil {
		t.Fatal(err)
	}
	shows := func(when string) {
		t.Helper()
		if got := m.sh(look, v1); got != before {
			t.Errorf("%s is shown\n%s\nwant\n%s", when, got, before)
		}
	}
	shows("with the registry gone")
	time.Sleep(ttl + ttl/2)
	shows("past the tag's time")
	m.probe("EHOSTUNREACH", "read", v2+"/rootfs/app/run") // its top layer was never asked for
	m.unmount()

	m = testMount(t, o)
	v1 = m.at(s.Server, testImage, "tags/v1")
	shows("after a remount")
	m.evictAll()
	m.sh("ls -lR %s/rootfs/ >/dev/null", v1)
	m.probe("EHOSTUNREACH", "read", v1+"/rootfs/app/run")
	if err := s.Back(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); m.probed("read", v1+"/rootfs/app/run") == "EHOSTUNREACH"; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the registry is back, and the file isn't shown")
		}
	}
	shows("when the registry is back")
}

// With --verify=stream a layer's files are still shown only when the layer has matched: what an
// archive says of its names can't be taken back.
func TestInsideStreaming(t *testing.T) {
	t.Parallel()
	w := newWaiting(t, 73, 5*mib, mounting{flags: []string{"--verify=stream"}})
	r := w.run("timeout 1 cat " + filepath.Dir(w.big()) + "/small; timeout 1 head -c 10 " + w.big())
	if r.Code != 124 || r.Stdout != "" {
		t.Errorf("before the layer has come: exit code %d, %q", r.Code, r.Stdout)
	}
	w.s.Heal()
	if got := w.sh("sha256sum <%s", w.big()); !strings.HasPrefix(got, w.sum) {
		t.Errorf("the file has digest %s, want %s", got, w.sum)
	}
	w.evictAll()
	layer := w.image.Layers[0]
	w.s.Fault(registries.Fault{Method: "GET", Path: "/blobs/" + layer.Digest.String(), Corrupt: layer.Size - 100})
	w.probe("EBADMSG", "read", w.big())
	w.probe("EBADMSG", "read", filepath.Dir(w.big())+"/small")
	w.s.Heal()
	w.leavesNothing()
}

// A layer of zeros unpacks to 1 GiB, however small it is. Beyond that, 1000 times its size is the
// limit: EFBIG, and nothing stays.
func TestInsideLayersThatInflate(t *testing.T) {
	t.Parallel()
	zeros := make([]byte, 32*mib)
	packedZeros := zstdOf(t, zeros)
	s := startOlareg(t, registries.Options{})
	push := func(tag string, parts int) (packed int) {
		var header bytes.Buffer
		h := file("zeros", "")
		h.Size = int64(parts * len(zeros))
		if err := tar.NewWriter(&header).WriteHeader(&h.Header); err != nil {
			t.Fatal(err)
		}
		end := make([]byte, 1024)
		sum := sha256.New()
		sum.Write(header.Bytes())
		for range parts {
			sum.Write(zeros)
		}
		sum.Write(end)
		layer := content.Layer{
			MediaType: ocispec.MediaTypeImageLayerZstd,
			Packed:    slices.Concat(zstdOf(t, header.Bytes()), bytes.Repeat(packedZeros, parts), zstdOf(t, end)),
			DiffID:    digest.NewDigest(digest.SHA256, sum),
		}
		must(repo(t, s, testImage).Image(t.Context(), tag, content.Image{Layers: []content.Layer{layer}}))(t)
		return len(layer.Packed)
	}
	m := testMount(t, mounting{plain: true})
	if packed := push("fine", 2); packed*1000 > 2*len(zeros) {
		t.Fatalf("64 MiB of zeros are packed in %d bytes", packed)
	}
	m.sh("cmp -n %d /dev/zero %s", 2*len(zeros), m.at(s, testImage, "tags/fine/rootfs/zeros"))
	push("bomb", 33)
	m.probe("EFBIG", "read", m.at(s, testImage, "tags/bomb/rootfs/zeros"))
	if f := m.lastFailure("EFBIG"); !strings.HasPrefix(f.Cause, "layer 1 of 1 of "+s.Host+"/"+testImage) || f.Hint == "" {
		t.Errorf("errors.jsonl says %+v", f)
	}
	m.leavesNothing()
	if used := diskUsage(t, m.Cache); used > 80*mib {
		t.Errorf("the cache has %d MiB", used/mib)
	}
}
