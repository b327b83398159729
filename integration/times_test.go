package integration

import (
	"fmt"
	"path/filepath"
	"testing"

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
	// Times in upload/ are those of what was written there.
	find := fmt.Sprintf("cd $M/%s/%s && find . referrers/sha256/%s -name upload -prune -o -printf '%%p %%T@\\n' | sort", treeName(s), testImage, image.Digest.Encoded())
	m := testMount(t, mounting{cache: cache})
	m.sh("%s", find) // what was never listed has another time until it is
	before := m.sh("%s", find)
	m.unmount()
	again := testMount(t, mounting{cache: cache, dir: m.Dir})
	if after := again.sh("%s", find); after != before {
		t.Errorf("before the remount:\n%s\nafter it:\n%s", before, after)
	}
}
