package fs

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// failing is a failure that no client tries to wait for.
var failing = registrytest.Status(http.StatusInsufficientStorage, "")

// What was seen is shown while its registry fails, and told once; what wasn't seen is
// the errno of the cause, and never missing. Afterwards the registry is believed.
//
// Behaviour: fail.stale
func TestWhatIsKnownOutlivesItsRegistry(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	m := oneLayer(t, s, "team/app", "v1", "one")
	s.SetTags("team/app", "v1", "v2")
	s.SetCatalog("team/app", "team/app/sub", "other")
	referrer := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, ArtifactType: "a/b", Digest: digest.FromString("referrer"), Size: 3}
	referring(s, m.Digest, referrer)
	loose := s.Blob("team/app", []byte("loose"))

	w := walk(t, s, t.TempDir(), Options{})
	image := "blobs config.json digest image.tar index.json layers manifest.json oci-layout referrers rootfs unpacked"
	seen := map[string]string{
		"":         "other team",
		"team":     "app",
		"team/app": "archives blobs manifests referrers rootfs sub tags unpacked upload",
		"team/app/tags/v1/layers/00-" + m.Layers[0].Digest.Encoded()[:12] + ".tar": "../blobs/" + hexPath(m.Layers[0].Digest),
		"team/app/tags":                                    "v1 v2",
		"team/app/tags/v1":                                 image,
		"team/app/tags/v1/manifest.json":                   string(m.Raw),
		"team/app/manifests/" + hexPath(m.Digest):          image,
		"team/app/blobs/" + hexPath(m.Layers[0].Digest):    "one",
		"team/app/blobs/" + hexPath(loose):                 "loose",
		"team/app/referrers/" + hexPath(m.Digest):          "a_b index.json",
		"team/app/referrers/" + hexPath(m.Digest) + "/a_b": "sha256-" + referrer.Digest.Encoded(),
	}
	paths := slices.Sorted(maps.Keys(seen))
	for _, path := range paths {
		w.want(path, seen[path])
	}
	if told := w.told(); len(told) > 0 {
		t.Fatalf("told while all is well: %v", told)
	}

	out := s.On("* *", failing)
	w.ages()
	for range 3 {
		for _, path := range paths {
			w.want(path, seen[path])
		}
	}
	w.want("team/app/blobs/"+hexPath(m.Digest), string(m.Raw)) // which is shown there as well
	told := w.told()
	for _, path := range []string{
		"", "/team/app", "/team/app/tags", "/team/app/tags/v1", "/team/app/referrers/" + hexPath(m.Digest),
	} {
		if told[path] != 1 {
			t.Errorf("of %s it is told %d times that it is shown as it was, want once: %v", path, told[path], told)
		}
	}
	for _, d := range []string{"/manifests/" + hexPath(m.Digest), "/blobs/" + hexPath(loose)} {
		if told["/team/app"+d] == 0 {
			t.Errorf("of %s it isn't told that it is shown as it was: %v", d, told)
		}
	}
	none := hexPath(digest.FromString("none"))
	for _, path := range []string{
		"team/app/tags/v3", "team/app/manifests/" + none, "team/app/blobs/" + none, "team/app/referrers/" + none,
		"team/none", "team/none/tags", "team/app/tags/v2/manifest.json",
	} {
		w.fails(path, registry.ErrServer)
	}
	w.ages()
	if _, err := w.to("team/app/tags/v2"); err != nil {
		t.Errorf("a tag that a listing named: %v", err)
	}

	out.End()
	w.ages()
	moved := oneLayer(t, s, "team/app", "v1", "two")
	s.SetTags("team/app", "v1")
	s.SetCatalog("other")
	referring(s, m.Digest)
	s.Remove("team/app", loose.String())
	w.want("team/app/tags/v1/manifest.json", string(moved.Raw))
	w.want("team/app/tags", "v1")
	w.want("team/app/referrers/"+hexPath(m.Digest), "index.json")
	w.fails("team/app/blobs/"+hexPath(loose), registry.ErrNotFound)
}

// After a restart a tag that was read is shown whole with its registry gone; what the
// registry would have to confirm is the errno of the cause.
//
// Behaviour: fail.stale
func TestATagOutlivesAMountAndItsRegistry(t *testing.T) {
	s, dir := registrytest.Start(t, registrytest.Options{}), t.TempDir()
	m := oneLayer(t, s, "team/app", "v1", "one")
	t.Run("before", func(t *testing.T) {
		w := walk(t, s, dir, Options{})
		for _, d := range append(m.Blobs(), m.Descriptor()) {
			if _, err := w.shows("team/app/tags/v1/blobs/" + hexPath(d.Digest)); err != nil {
				t.Error(err)
			}
		}
	})
	s.Gone()
	w := walk(t, s, dir, Options{})
	for _, path := range []string{"", "team/app", "team/app/tags", "team/app/manifests/" + hexPath(m.Digest), "team/app/blobs/" + hexPath(m.Layers[0].Digest), "team/app/referrers/" + hexPath(m.Digest)} {
		_, err := w.shows(path)
		if got := w.kernel.Judge(t.Context(), err).Errno; got != syscall.EHOSTUNREACH {
			t.Errorf("%s: %v, %v", path, got, err)
		}
	}
	w.want("team/app/tags/v1", "blobs config.json digest image.tar index.json layers manifest.json oci-layout referrers rootfs unpacked")
	w.want("team/app/tags/v1/manifest.json", string(m.Raw))
	w.want("team/app/tags/v1/digest", m.Digest.String()+"\n")
	w.want("team/app/tags/v1/blobs/"+hexPath(m.Digest), string(m.Raw))
	w.want("team/app/tags/v1/blobs/"+hexPath(m.Layers[0].Digest), "one")
	w.want("team/app/tags/v1/config.json", "blobs/"+hexPath(m.Config.Digest))
}

// What a registry has denied since isn't shown when it is out of reach.
//
// Behaviour: fail.stale
func TestWhatWasDeniedIsNotShown(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.SetTags("team/app", "v1")
	m := oneLayer(t, s, "team/app", "v1", "one")
	oneLayer(t, s, "team/app", "v2", "one")
	w := walk(t, s, t.TempDir(), Options{})
	w.want("team/app/tags/v2/digest", m.Digest.String()+"\n")
	layer := hexPath(m.Layers[0].Digest)
	paths := []string{"team/app/tags/v1", "team/app/manifests/" + hexPath(m.Digest), "team/app/blobs/" + layer, "team/app"}
	for _, path := range paths {
		if _, err := w.shows(path); err != nil {
			t.Fatal(err)
		}
	}
	w.ages()
	s.RemoveAll("team/app")
	s.SetCatalog("other")
	for _, path := range paths {
		w.fails(path, registry.ErrNotFound)
	}
	w.ages()
	s.On("* *", failing)
	for _, path := range append(paths, "team/app/tags/v2") { // whose manifest it was
		w.fails(path, registry.ErrServer)
	}
}

// What was pushed here is in the lists that are shown while the registry is out of
// reach, and what no list says any more isn't shown.
//
// Behaviour: fail.stale
func TestWhatWasPushedIsShown(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	m := oneLayer(t, s, "team/app", "v1", "one")
	referring(s, m.Digest)
	w := walk(t, s, t.TempDir(), Options{})
	w.want("team/app/tags", "v1")
	w.want("team/app/referrers/"+hexPath(m.Digest), "index.json")

	r := ref.Repository{Host: s.Host, Path: "team/app"}
	pushed := *m
	pushed.Subject = &v1.Descriptor{Digest: m.Digest}
	pushTree{w.Tree}.PushedManifest(r, &pushed, "v0")
	s.On("* *", failing)
	w.ages()
	w.want("team/app/tags", "v0 v1")
	w.fails("team/app/referrers/"+hexPath(m.Digest), registry.ErrServer)
	w.repository(r).TagsGone("v1")
	w.want("team/app/tags", "v0")
}

// A push doesn't rely on what its registry can't confirm.
func TestAPushIsNotShownWhatWasKnown(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	d := s.Blob("team/app", []byte("loose"))
	m := oneLayer(t, s, "team/app", "v1", "one")
	w := walk(t, s, t.TempDir(), Options{})
	w.want("team/app/blobs/"+hexPath(d), "loose")
	w.want("team/app/tags/v1/manifest.json", string(m.Raw))
	s.On("* *", failing)
	w.ages()
	w.want("team/app/blobs/"+hexPath(d), "loose")
	w.want("team/app/tags/v1/manifest.json", string(m.Raw))
	image, err := w.to("team/app/tags/v1")
	if err != nil {
		t.Fatal(err)
	}
	large := &registry.Manifest{Digest: digest.FromString("large"), Raw: make([]byte, 16<<20)}
	w.repository(ref.Repository{Host: s.Host, Path: "other"}).PushedManifest(large) // the other comes from the disk then
	if _, err := image.(node.Directory).List(t.Context()); err != nil {
		t.Error(err)
	}
	for _, d := range []digest.Digest{d, m.Layers[0].Digest} {
		if n, err := (pushTree{w.Tree}).Blob(t.Context(), ref.Repository{Host: s.Host, Path: "team/app"}, d); !errors.Is(err, registry.ErrServer) {
			t.Errorf("a push is told of %d bytes, %v", n, err)
		}
	}
}

// A registry that takes the request and says nothing is one that is out of reach: what
// is known is shown before the lookup's time is over.
//
// Behaviour: fail.stale
func TestSilenceIsOutOfReach(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	m := oneLayer(t, s, "team/app", "v1", "one")
	w := walk(t, s, t.TempDir(), Options{LookupBound: 2 * time.Second})
	w.want("team/app/tags/v1/manifest.json", string(m.Raw))
	w.ages()
	s.On("* *", registrytest.Hold(nil))
	w.want("team/app/tags/v1/manifest.json", string(m.Raw))
	if _, err := w.to("team/app/manifests/" + hexPath(m.Digest)); err != nil {
		t.Error(err)
	}
	_, err := w.to("team/app/tags/v2")
	if got := w.kernel.Judge(t.Context(), err).Errno; got != syscall.ETIMEDOUT {
		t.Errorf("what isn't known is %v, %v", got, err)
	}
}

// A registry that told a blob's size wrong once is asked again when that shows.
func TestALieAboutASizeIsForgotten(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	for _, lie := range []string{"", "trut", "truth, and more"} {
		path := fmt.Sprint("team/app", len(lie))
		d := s.Blob(path, []byte("truth"))
		lies := s.On("HEAD blob", registrytest.Length(int64(len(lie))))
		w := walk(t, s, t.TempDir(), Options{})
		if got, err := w.shows(path + "/blobs/" + hexPath(d)); w.kernel.Judge(t.Context(), err).Errno != syscall.EBADMSG {
			t.Errorf("said to be %q it shows %q, %v", lie, got, err)
		}
		lies.End()
		w.want(path+"/blobs/"+hexPath(d), "truth")
	}
}
