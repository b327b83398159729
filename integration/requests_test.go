package integration

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

type counts = registries.Counts

// What a person does costs what is promised, at every registry.
//
// Behaviour: manifest.counted, names.local
func TestRequests(t *testing.T) {
	t.Parallel()
	const pageSize, tags = 10, 25
	onEvery(t, registries.Options{PageSize: pageSize}, func(t *testing.T, s *registries.Server) {
		ctx := t.Context()
		app := repo(t, s, testImage)
		image := must(app.Image(ctx, "v1", content.Sample("v1")))(t)
		must(repo(t, s, "team/config").Image(ctx, "v1", content.Sample("config")))(t)
		must(repo(t, s, "team/list").Image(ctx, "v1", content.Sample("list")))(t)
		index := must(repo(t, s, "team/multi").MultiPlatform(ctx, "v1"))(t)
		must(repo(t, s, "team/later").MultiPlatform(ctx, "v1"))(t)
		many := repo(t, s, "team/many")
		tagged := must(many.Image(ctx, "t00", content.Small("tagged often")))(t)
		for i := range tags - 1 {
			if err := many.Tag(ctx, tagged, fmt.Sprintf("t%02d", i+1)); err != nil {
				t.Fatal(err)
			}
		}
		pages := (tags + pageSize - 1) / pageSize
		if strings.HasSuffix(t.Name(), "/docker-registry") {
			pages = 1 // it lists all tags at once
		}

		m := testMount(t, mounting{})
		nothing := counts{}
		costs(t, s, "stat of hosts and components", nothing, func() {
			m.sh("stat %s %s %s %s", m.at(s), m.at(s, "team"), m.at(s, testImage), m.at(s, "no/such/repository"))
		})
		costs(t, s, "stat of a repository's directories", nothing, func() {
			for _, d := range []string{"tags", "manifests", "manifests/sha256", "blobs", "blobs/sha256", "blobs/sha512", "referrers", "referrers/sha256"} {
				m.probe("ok", "stat", m.at(s, testImage, d))
			}
		})
		costs(t, s, "names that can't be valid", nothing, func() {
			for _, name := range []string{
				m.Dir + "/.git", m.Dir + "/.Trash", m.Dir + "/.DS_Store", m.Dir + "/autorun.inf_x", m.Dir + "/bareword",
				m.at(s, ".git"), m.at(s, "Upper"), m.at(s, "team/-dash"), m.at(s, "team/.hidden"), m.at(s, "team/a..b"),
				m.at(s, testImage, ".git"), m.at(s, testImage, "tags/.git"), m.at(s, testImage, "tags/-dash"), m.at(s, testImage, "tags/a b"),
				m.at(s, testImage, "manifests/md5"), m.at(s, testImage, "manifests/sha256/abc"), m.at(s, testImage, "blobs/sha256/"+strings.Repeat("G", 64)),
				m.at(s, testImage, "blobs/sha256/"+strings.Repeat("A", 64)), m.at(s, testImage, "referrers/sha256/x"),
			} {
				m.probe("ENOENT", "stat", name)
			}
		})

		manifest := m.at(s, testImage, "tags/v1/manifest.json")
		costs(t, s, "a manifest, cold", counts{"GET manifest": 1}, func() { m.holds(manifest, image.Bytes) })
		costs(t, s, "the manifest again", nothing, func() { m.holds(manifest, image.Bytes) })
		costs(t, s, "its digest", nothing, func() {
			m.holds(m.at(s, testImage, "tags/v1/digest"), []byte(image.Digest+"\n"))
		})
		costs(t, s, "the manifest by digest", nothing, func() {
			m.holds(m.at(s, testImage, "manifests/sha256", image.Digest.Encoded(), "manifest.json"), image.Bytes)
		})
		layer := image.Layers[0]
		costs(t, s, "stat of a blob that a manifest named", nothing, func() {
			m.probe("ok", "stat", m.at(s, testImage, "blobs/sha256", layer.Digest.Encoded()))
		})
		costs(t, s, "a blob that a manifest named", counts{"GET blob": 1}, func() {
			m.holds(m.at(s, testImage, "blobs/sha256", layer.Digest.Encoded()), layer.Bytes)
		})
		costs(t, s, "the blob again, by another path", nothing, func() {
			m.holds(m.at(s, testImage, "tags/v1/blobs/sha256", layer.Digest.Encoded()), layer.Bytes)
		})
		costs(t, s, "config.json, cold", counts{"GET manifest": 1, "GET blob": 1}, func() {
			m.sh("cat %s", m.at(s, "team/config/tags/v1/config.json"))
		})
		costs(t, s, "ls -lR of an image", counts{"GET manifest": 1}, func() {
			m.sh("ls -lR %s", m.at(s, "team/list/tags/v1"))
		})
		costs(t, s, "ls -lR of an index", counts{"GET manifest": 1 + len(index.Children)}, func() {
			m.sh("ls -lR %s", m.at(s, "team/multi/tags/v1"))
		})
		costs(t, s, "names that no image has, in one that nobody looked into", counts{"GET tags": 1}, func() {
			m.sh("ls %s", m.at(s, "team/later/tags"))
			for _, name := range []string{".git", ".hg", "HEAD", "autorun.inf"} {
				m.probe("ENOENT", "stat", m.at(s, "team/later/tags/v1", name))
			}
		})
		m.sh("stat %s", m.at(s, "team/later/tags/v1/blobs"))
		costs(t, s, "names that no layout has", nothing, func() {
			for _, name := range []string{".git", "sha256/.git", "md5", "sha256/" + strings.Repeat("x", 64)} {
				m.probe("ENOENT", "stat", m.at(s, "team/later/tags/v1/blobs", name))
			}
		})
		costs(t, s, "ls of tags", counts{"GET tags": pages}, func() {
			if got := len(m.list(m.at(s, "team/many/tags"))); got != tags {
				t.Errorf("%d tags are listed, want %d", got, tags)
			}
		})
		costs(t, s, "ls -l of tags, after ls", nothing, func() { m.sh("ls -l %s", m.at(s, "team/many/tags")) })
		costs(t, s, "ls -l of tags, after one was read", counts{"GET tags": 1}, func() {
			m.sh("ls -l %s", m.at(s, testImage, "tags"))
		})

		other := testMount(t, mounting{})
		costs(t, s, "ls -l of tags, cold", counts{"GET tags": pages}, func() {
			if got := strings.Count(other.sh("ls -l %s", other.at(s, "team/many/tags")), "\nd"); got != tags {
				t.Errorf("%d tags are listed, want %d", got, tags)
			}
		})
		unknown := index.Children[0].Layers[0]
		costs(t, s, "an unknown blob", counts{"HEAD blob": 1, "GET blob": 1}, func() {
			other.holds(other.at(s, "team/multi/blobs/sha256", unknown.Digest.Encoded()), unknown.Bytes)
		})
	})
}

// A digest that isn't there as a blob may be there as a manifest, and the other
// way round.
func TestBlobsAndManifestsAreApart(t *testing.T) {
	t.Parallel()
	onEvery(t, registries.Options{}, func(t *testing.T, s *registries.Server) {
		image := must(repo(t, s, testImage).Image(t.Context(), "v1", content.Small("x")))(t)
		m := testMount(t, mounting{})
		manifest, layer := image.Digest.Encoded(), image.Layers[0].Digest.Encoded()
		m.probed("stat", m.at(s, testImage, "blobs/sha256", manifest)) // some registries have it there
		m.holds(m.at(s, testImage, "manifests/sha256", manifest, "manifest.json"), image.Bytes)
		m.probed("stat", m.at(s, testImage, "manifests/sha256", layer)) // docker-registry answers 500
		m.holds(m.at(s, testImage, "blobs/sha256", layer), image.Layers[0].Bytes)
	})
}

// A tag is believed for its time, and then costs one HEAD.
//
// Behaviour: manifest.counted
func TestRequestsAfterTagTime(t *testing.T) {
	t.Parallel()
	onEvery(t, registries.Options{}, func(t *testing.T, s *registries.Server) {
		image := must(repo(t, s, testImage).Image(t.Context(), "v1", content.Sample("v1")))(t)
		m := testMount(t, mounting{flags: []string{"--tag-ttl", "500ms"}})
		manifest := m.at(s, testImage, "tags/v1/manifest.json")
		costs(t, s, "a manifest, cold", counts{"GET manifest": 1}, func() { m.holds(manifest, image.Bytes) })
		time.Sleep(time.Second)
		costs(t, s, "the manifest after the tag's time", counts{"HEAD manifest": 1}, func() { m.holds(manifest, image.Bytes) })
	})
}

// After a remount nothing that was read is fetched again.
//
// Behaviour: manifest.counted
func TestRequestsAfterRemount(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	image := must(repo(t, s, testImage).Image(t.Context(), "v1", content.Sample("v1")))(t)
	cache := filepath.Join(t.TempDir(), "cache")
	first := testMount(t, mounting{cache: cache})
	readAll := func(m *mounted) {
		m.sh("cat %s/blobs/sha256/* >/dev/null", m.at(s, testImage, "tags/v1"))
		m.holds(m.at(s, testImage, "blobs/sha256", image.Layers[0].Digest.Encoded()), image.Layers[0].Bytes)
	}
	readAll(first)
	first.unmount()

	again := testMount(t, mounting{cache: cache})
	s.Forget()
	readAll(again)
	for _, r := range s.Requests() {
		if r.Method == "GET" {
			t.Errorf("after a remount: %v", r)
		}
	}
}

// A token costs its challenge and its fetch once per repository.
func TestRequestsWithTokens(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{Users: jane})
	for _, path := range []string{"team/one", "team/two"} {
		must(must(content.To(s.Host, path, "jane", jane["jane"]))(t).Image(t.Context(), "v1", content.Small(path)))(t)
	}
	m := testMount(t, mounting{setup: dockerLogin(t, s, "jane", jane["jane"])})
	s.Tokens.Forget()
	for i, path := range []string{"team/one", "team/two"} {
		costs(t, s, "the first manifest of "+path, counts{"GET manifest": 2}, func() {
			m.sh("cat %s", m.at(s, path, "tags/v1/manifest.json"))
		})
		costs(t, s, "its config", counts{"GET blob": 1}, func() { m.sh("cat %s", m.at(s, path, "tags/v1/config.json")) })
		costs(t, s, "its layer", counts{"GET blob": 1}, func() { m.sh("cat %s/layers/* >/dev/null", m.at(s, path, "tags/v1")) })
		if got := len(s.Tokens.Requests()); got != i+1 {
			t.Errorf("after %s: %d tokens were fetched, want %d: %+v", path, got, i+1, s.Tokens.Requests())
		}
	}
}
