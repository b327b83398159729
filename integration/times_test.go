package integration

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// A remount with an empty cache looks the same to rsync: a copy of an image, made before,
// is in sync with it.
func TestARemountIsInSyncWithACopy(t *testing.T) {
	t.Parallel()
	onEvery(t, registries.Options{}, func(t *testing.T, s *registries.Server) {
		app := repo(t, s, testImage)
		plain := content.Sample("plain")
		dated := content.Sample("dated")
		dated.Annotations = map[string]string{v1.AnnotationCreated: "2024-02-29T12:00:00Z"}
		must(app.Image(t.Context(), "plain", plain))(t)
		byDigest := must(app.Image(t.Context(), "dated", dated))(t)
		must(app.MultiPlatform(t.Context(), "multi"))(t)
		images := []string{"tags/plain", "tags/dated", "tags/multi", "manifests/sha256/" + byDigest.Digest.Encoded()}
		copies := t.TempDir()
		m := testMount(t, mounting{})
		for i, image := range images {
			m.sh("ls -l %s/.. && rsync -a %s/ %s/%d/", m.at(s, testImage, image), m.at(s, testImage, image), copies, i)
		}
		m.unmount()

		again := testMount(t, mounting{dir: m.Dir})
		for i, image := range images {
			if said := again.sh("rsync -ani %s/ %s/%d/", again.at(s, testImage, image), copies, i); said != "" {
				t.Errorf("%s after a remount:\n%s", image, said)
			}
		}
		want := "1709208000\n315532800\n"
		if got := again.sh("stat -c %%Y %[1]s/manifest.json %[1]s", again.at(s, testImage, "tags/dated")); got != want {
			t.Errorf("manifest.json and its directory are of\n%s, want\n%s", got, want)
		}
	})
}

// A remount with the same cache shows the times of all that is in a repository again.
func TestTimesOfARepositoryOutliveAMount(t *testing.T) {
	t.Parallel()
	s := startOlareg(t, registries.Options{})
	app := repo(t, s, testImage)
	image := must(app.Image(t.Context(), "v1", content.Sample("v1")))(t)
	must(app.Referrer(t.Context(), image, "application/vnd.example.sbom", "all is well"))(t)
	cache := filepath.Join(t.TempDir(), "cache")
	find := fmt.Sprintf("cd $M/%s/%s && find . referrers/sha256/%s -printf '%%p %%T@\\n' | sort", treeName(s), testImage, image.Digest.Encoded())
	m := testMount(t, mounting{cache: cache})
	m.sh("%s", find) // what was never listed has another time until it is
	before := m.sh("%s", find)
	m.unmount()
	again := testMount(t, mounting{cache: cache, dir: m.Dir})
	if after := again.sh("%s", find); after != before {
		t.Errorf("before the remount:\n%s\nafter it:\n%s", before, after)
	}
}

// The times of tags/, of a repository and of its host move when what they list differs
// from what they listed before, so that who polls them needn't list. To stat them asks
// nobody. A remount goes on with the times.
func TestListsMoveWhenTheyChange(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	app := repo(t, s, testImage)
	image := must(app.Image(t.Context(), "v1", content.Sample("v1")))(t)
	const ttl = time.Second
	flags := []string{"--tag-ttl", ttl.String(), "--list-ttl", ttl.String()}
	cache := filepath.Join(t.TempDir(), "cache")
	m := testMount(t, mounting{flags: flags, cache: cache})
	tags := m.at(s, testImage, "tags")
	stat := func(m *mounted, path string) string {
		t.Helper()
		var at string
		costs(t, s, "stat of "+path, counts{}, func() { at = m.sh("stat -c '%%.9Y %%.9Z' %s", path) })
		return at
	}
	// appears waits until a directory lists a name.
	appears := func(m *mounted, dir, name string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !slices.Contains(m.list(dir), name); time.Sleep(100 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s isn't in %s", name, dir)
			}
		}
	}

	before := stat(m, tags)
	if before != "315532800.000000000 315532800.000000000\n" {
		t.Errorf("tags/, which nobody listed, is of %s", before)
	}
	// moves does something that changes a list, or doesn't, and checks the time.
	moves := func(what string, want bool, do func()) {
		t.Helper()
		do()
		after := stat(m, tags)
		if (after > before || len(after) > len(before)) != want || !want && after != before {
			t.Errorf("%s: tags/ was of %s and is of %s", what, before, after)
		}
		before = after
	}
	tag := func(name string) {
		t.Helper()
		if err := app.Tag(t.Context(), image, name); err != nil {
			t.Fatal(err)
		}
	}
	moves("the first listing", true, func() { tag("v2"); m.lists(tags, "v1", "v2") })
	moves("another listing", false, func() { time.Sleep(ttl + ttl/2); m.lists(tags, "v1", "v2") })
	moves("a new tag", true, func() { tag("v3"); appears(m, tags, "v3") })
	moves("the image was read", false, func() { m.sh("cat %s/v3/manifest.json", tags); m.list(tags) })

	host, repository := m.at(s), m.at(s, testImage)
	m.sh("ls %s %s", host, repository)
	at := map[string]string{host: stat(m, host), repository: stat(m, repository)}
	must(repo(t, s, testImage+"/below").Image(t.Context(), "v1", content.Small("below")))(t)
	appears(m, repository, "below")
	must(repo(t, s, "beside").Image(t.Context(), "v1", content.Small("beside")))(t)
	appears(m, host, "beside")
	for path, before := range at {
		if after := stat(m, path); after <= before {
			t.Errorf("%s was of %s and is of %s", path, before, after)
		}
	}
	m.unmount()

	// With a list that is believed for long, the kernel has to be told.
	m = testMount(t, mounting{cache: cache, dir: m.Dir, flags: []string{"--allow-delete"}})
	moves("a remount", false, func() {})
	moves("a listing after a remount", false, func() { m.lists(tags, "v1", "v2", "v3") })
	moves("a tag was pushed", true, func() { m.sh("cp %s/v1/manifest.json %s/upload/manifests/v4", tags, m.at(s, testImage)) })
	moves("and listed", false, func() { m.lists(tags, "v1", "v2", "v3", "v4") })
	moves("a tag was pushed again", false, func() { m.sh("cp %s/v1/manifest.json %s/upload/manifests/v2", tags, m.at(s, testImage)) })
	moves("a tag was deleted", true, func() { m.sh("rmdir %s/v3", tags) })
	moves("and listed no more", false, func() { m.lists(tags, "v1", "v2", "v4") })
	m.unmount()
	tag("v5")
	m = testMount(t, mounting{cache: cache, dir: m.Dir})
	moves("a tag that came while nothing was mounted", true, func() { m.lists(tags, "v1", "v2", "v4", "v5") })
}
