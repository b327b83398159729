package fs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/hosts"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// A tag that is known costs a HEAD, and what it points at is got once: by whatever
// name, from whatever repository, and after a restart.
//
// Behaviour: manifest.counted
func TestAManifestIsGotOnce(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	one, two := s.Image("team/app", "v1", []byte("one")), s.Image("team/app", "", []byte("two"))
	if s.Image("team/twin", "v1", []byte("one")) != one {
		t.Fatal("another image")
	}
	raw := map[digest.Digest]string{}
	for _, d := range []digest.Digest{one, two} {
		raw[d] = string(s.ReadManifest("team/app", d.String()))
	}
	step := func(w *walked, what, path string, d digest.Digest, asked ...string) {
		t.Helper()
		s.Forget()
		w.want(path, raw[d])
		if got := strings.Join(s.Asked(), ", "); got != strings.Join(asked, ", ") {
			t.Errorf("%s: asked %s\nwant %s", what, got, strings.Join(asked, ", "))
		}
	}
	const tag, latest = "team/app/tags/v1/manifest.json", "team/app/tags/latest/manifest.json"
	byDigest := func(repo string, d digest.Digest) string { return repo + "/manifests/" + hexPath(d) + "/manifest.json" }
	dir := t.TempDir()
	t.Run("at first", func(t *testing.T) {
		w := walkAt(t, s, dir)
		step(w, "the first time", tag, one, "GET manifest v1")
		step(w, "the second", tag, one, "HEAD manifest v1")
		step(w, "by digest", byDigest("team/app", one), one)
		s.Manifest("team/app", "latest", v1.MediaTypeImageManifest, []byte(raw[one]))
		step(w, "another repository", "team/twin/tags/v1/manifest.json", one, "GET manifest v1") // nothing is known of the tag
		step(w, "another repository, by digest", byDigest("team/twin", one), one)
		s.Manifest("team/app", "v1", v1.MediaTypeImageManifest, []byte(raw[two]))
		step(w, "it moved", tag, two, "HEAD manifest v1", "GET manifest")
		step(w, "it moved, by digest", byDigest("team/app", two), two)
		s.Manifest("team/app", "v1", v1.MediaTypeImageManifest, []byte(raw[one]))
		step(w, "it moved back", tag, one, "HEAD manifest v1")
		w.ages()
		step(w, "much later, by digest", byDigest("team/app", two), two, "HEAD manifest")
	})
	t.Run("after a restart", func(t *testing.T) {
		w := walkAt(t, s, dir)
		step(w, "the first time", tag, one, "HEAD manifest v1")
		step(w, "by digest", byDigest("team/app", two), two, "HEAD manifest")
		step(w, "a tag that nobody read", latest, one, "GET manifest latest")
	})
}

// What HEAD says of a manifest's length is that of no file.
//
// Behaviour: manifest.head
func TestTheSizeOfAManifestIsOfItsBytes(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	d := s.Image("team/app", "v1", []byte("one"))
	raw := string(s.ReadManifest("team/app", "v1"))
	s.On("HEAD manifest", registrytest.Length(1))
	w := walkAt(t, s, t.TempDir())
	for range 2 {
		w.want("team/app/tags/v1/manifest.json", raw)
		w.want("team/app/manifests/"+hexPath(d)+"/manifest.json", raw)
	}
	if s.Count("HEAD manifest") == 0 {
		t.Error("no HEAD")
	}
}

// The size of a referrer in a list is its registry's word alone, and no file's.
//
// Behaviour: list.referrers-self
func TestTheSizeInReferrersIsOfNoFile(t *testing.T) {
	for _, lie := range []int64{0, 1, 1 << 40} {
		s := registrytest.Start(t, registrytest.Options{})
		subject := s.Image("team/app", "v1", []byte("one"))
		d := s.Image("team/app", "", []byte("its signature"))
		raw := string(s.ReadManifest("team/app", d.String()))
		index, err := json.Marshal(v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{
			{MediaType: v1.MediaTypeImageManifest, ArtifactType: "application/x", Digest: d, Size: lie},
		}})
		if err != nil {
			t.Fatal(err)
		}
		s.On("GET referrers", registrytest.Status(http.StatusOK, string(index), "Content-Type", v1.MediaTypeImageIndex))
		w := walkAt(t, s, t.TempDir())
		at := fmt.Sprintf("team/app/referrers/%s/application_x/sha256-%s", hexPath(subject), d.Encoded())
		w.want(at, "../../../../manifests/"+hexPath(d))
		w.want("team/app/manifests/"+hexPath(d)+"/manifest.json", raw)
		w.want("team/app/manifests/"+hexPath(d)+"/blobs/"+hexPath(d), raw)
	}
}

// What can be no host, repository, tag or digest isn't there, and nobody is asked.
//
// Behaviour: names.local, names.digests
func TestNamesThatCannotBeAreNotThere(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	w := walkAt(t, s, t.TempDir())
	hex := strings.Repeat("0a", 32)
	gone := func(path string) {
		t.Helper()
		if got, err := w.shows(path); w.kernel.Judge(t.Context(), err).Errno != syscall.ENOENT {
			t.Errorf("%s below %s shows %q, %v", path, w.host, got, err)
		}
	}
	for _, path := range []string{
		".git", "Upper", "-dash", "team/.hidden", "team/a..b", "team/a b", "team/é",
		"team/app/tags/.git", "team/app/tags/-dash", "team/app/tags/a b", "team/app/tags/" + strings.Repeat("a", 129), "team/app/tags/sha256:" + hex,
		"team/app/manifests/md5", "team/app/manifests/v1", "team/app/manifests/sha256/" + hex[1:], "team/app/manifests/sha256/" + strings.ToUpper(hex),
		"team/app/manifests/sha512/" + hex, "team/app/blobs/sha384", "team/app/blobs/sha256/" + hex + "0", "team/app/blobs/sha256/v1",
		"team/app/referrers/sha256/x", "team/app/referrers/sha512/" + hex, "team/app/rootfs/sha256/x",
	} {
		gone(path)
	}
	host := w.host
	for _, w.host = range []string{"bareword", ".Trash", "-a.io", "a..io", "127.0.0.1_0", "127.0.0.1_x", "user@" + host, "é.io"} {
		gone("team/app/tags/v1")
	}
	s.Want()
	w.host = host
	for _, algorithm := range []string{"sha256/" + hex, "sha512/" + hex + hex} {
		s.Forget()
		w.fails("team/app/blobs/"+algorithm, registry.ErrNotFound)
		s.Want("HEAD blob")
	}
}

// Both spellings of Docker Hub's own images are the same image.
//
// Behaviour: names.hub
func TestDockerHubInBothSpellings(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Image("library/alpine", "3", []byte("one"))
	raw := string(s.ReadManifest("library/alpine", "3"))
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "docker.io"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "docker.io", "hosts.toml"), []byte(fmt.Sprintf("server = %q\n", s.URL)), 0o600); err != nil {
		t.Fatal(err)
	}
	client := registry.New(registry.Options{Config: hosts.New(hosts.Options{Containerd: []string{dir}})})
	t.Cleanup(client.Close)
	store, err := cache.Open(t.TempDir(), cache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	tree, err := New(Options{Client: client, Store: store, TagTTL: 1, ListTTL: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := tree.Close(context.Background()); err != nil { // the test's own has ended
			t.Error(err)
		}
	}()
	w := &walked{tree, t, "docker.io", nil}
	for _, path := range []string{"alpine", "library/alpine"} {
		w.want(path+"/tags/3/manifest.json", raw)
	}
	for _, q := range s.Requests() {
		if q.Path != "/v2/library/alpine/manifests/3" || q.Query != "ns=docker.io" {
			t.Errorf("%s?%s", q.Path, q.Query)
		}
	}
}

// A blob that nobody may see isn't one that isn't there: that is a refusal for as long
// as it lasts, and nothing of it is remembered.
//
// Behaviour: blob.private
func TestAPrivateBlobIsNotMissing(t *testing.T) {
	d := digest.FromString("one")
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden} {
		for _, pattern := range []string{"* blob", "GET blob"} {
			s := registrytest.Start(t, registrytest.Options{})
			s.Image("team/app", "v1", []byte("one"))
			refused := s.On(pattern, registrytest.Refuse(status, "DENIED"))
			w := walkAt(t, s, t.TempDir())
			for _, path := range []string{"team/app/blobs/" + hexPath(d), "team/app/tags/v1/blobs/" + hexPath(d)} {
				got, err := w.shows(path)
				if !errors.Is(err, registry.ErrDenied) || errors.Is(err, registry.ErrNotFound) || w.kernel.Judge(t.Context(), err).Errno != syscall.EACCES {
					t.Errorf("%d to %s: %s shows %q, %v", status, pattern, path, got, err)
				}
			}
			refused.End()
			w.want("team/app/blobs/"+hexPath(d), "one")
		}
	}
}

// What came of a blob before it failed is gone on with: by the same mount, and after a
// restart.
//
// Behaviour: blob.restart, blob.resume
func TestABlobIsGoneOnWith(t *testing.T) {
	const size, came = 300_000, 123_456
	content := strings.Repeat("0123456789", size/10)
	s := registrytest.Start(t, registrytest.Options{})
	d := s.Blob("team/app", []byte(content))
	s.Image("team/app", "v1", []byte(content))
	path := "team/app/tags/v1/blobs/" + hexPath(d)
	dir := t.TempDir()
	t.Run("at first", func(t *testing.T) {
		w := walkAt(t, s, dir)
		out := s.On("GET blob", registrytest.Status(http.StatusInsufficientStorage, ""))
		s.First(1, "GET blob", registrytest.Cut(came), func(*registrytest.Exchange, func() *registrytest.Answer) *registrytest.Answer {
			return registrytest.Plain(http.StatusOK, content)
		})
		if got, err := w.shows(path); err == nil {
			t.Fatalf("it shows %d bytes", len(got))
		}
		out.End()
	})
	s.Forget()
	w := walkAt(t, s, dir)
	w.want(path, content)
	for _, q := range s.Requests() {
		if q.Kind == "blob" && q.Method == http.MethodGet && q.Header.Get("Range") != fmt.Sprintf("bytes=%d-", came) {
			t.Errorf("asked for %s", q)
		}
	}
	if s.Count("GET blob") != 1 {
		t.Errorf("asked %q", s.Asked())
	}
}
