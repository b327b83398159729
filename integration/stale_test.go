package integration

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// While a registry is gone all that was seen of it is shown, also past its time, and
// that is told; what wasn't seen is EHOSTUNREACH. When it is back, so is what is new.
//
// Behaviour: fail.stale
func TestStaleRatherThanDead(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	app := repo(t, s, testImage)
	image := must(app.Image(t.Context(), "v1", content.Sample("v1")))(t)
	must(app.Referrer(t.Context(), image, "application/vnd.example.sbom", "all is well"))(t)
	must(repo(t, s, testImage+"/sub").Image(t.Context(), "v1", content.Small("below")))(t)
	const ttl = time.Second
	flags := []string{"--tag-ttl", ttl.String(), "--list-ttl", ttl.String()}
	cache := filepath.Join(t.TempDir(), "cache")
	m := testMount(t, mounting{flags: flags, cache: cache})
	digest := image.Digest.Encoded()
	// All that a person sees of it. Inode numbers and times of directories may differ:
	// what a listing names is bound when someone looks into it.
	look := fmt.Sprintf(`cd %[1]s && ls . team team/app team/app/tags && ls -R team/app/referrers/sha256/%[2]s team/app/manifests/sha256/%[2]s &&
		ls -R team/app/tags/v1 && cat team/app/tags/v1/manifest.json team/app/tags/v1/digest team/app/tags/v1/blobs/sha256/* | sha256sum &&
		cat team/app/blobs/sha256/%[3]s | sha256sum`, m.at(s), digest, image.Layers[0].Digest.Encoded())
	before := m.sh("%s", look)

	if err := s.Gone(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(ttl + ttl/2) // past the time of all that has one
	for range 2 {
		if got := m.sh("%s", look); got != before {
			t.Errorf("with the registry gone:\n%s\nbefore:\n%s", got, before)
		}
	}
	told := map[string]failure{}
	for line := range strings.Lines(m.sh("cat $M/.ocifs/errors.jsonl")) {
		var f failure
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatal(err)
		}
		told[f.Path] = f
	}
	host := treeName(s)
	for _, path := range []string{host, host + "/team/app", host + "/team/app/tags", host + "/team/app/tags/v1", host + "/team/app/referrers/sha256/" + digest} {
		f := told[path]
		if f.Errno != "EHOSTUNREACH" || !strings.Contains(f.Cause, "as it was") || !strings.Contains(f.Cause, "refused") || f.Hint == "" {
			t.Errorf("of %s it is told: %+v", path, f)
		}
	}
	zeros := strings.Repeat("0", 64)
	for _, path := range []string{"team/app/tags/v2", "team/app/blobs/sha256/" + zeros, "team/app/manifests/sha256/" + zeros} {
		m.probe("EHOSTUNREACH", "stat", m.at(s, path))
	}
	for _, path := range []string{"team/none", "team/app/sub/tags", "team/app/referrers/sha256/" + zeros} {
		m.probe("EHOSTUNREACH", "readdir", m.at(s, path))
	}
	m.unmount()

	// Another mount knows what the cache has: tags that were read, whole.
	m = testMount(t, mounting{flags: flags, cache: cache})
	m.probe("EHOSTUNREACH", "readdir", m.at(s, testImage, "tags"))
	m.probe("EHOSTUNREACH", "stat", m.at(s, testImage, "manifests/sha256", digest))
	m.holds(m.at(s, testImage, "tags/v1/manifest.json"), image.Bytes)
	m.sh("ls -lR %[1]s && cat %[1]s/blobs/sha256/* %[1]s/layers/* %[1]s/config.json >/dev/null", m.at(s, testImage, "tags/v1"))

	if err := s.Back(); err != nil {
		t.Fatal(err)
	}
	moved := must(app.Image(t.Context(), "v1", content.Sample("moved")))(t)
	must(app.Image(t.Context(), "v2", content.Small("new")))(t)
	deadline := time.Now().Add(time.Minute)
	for {
		got := m.run(fmt.Sprintf("cat %[1]s/v1/digest && ls %[1]s", m.at(s, testImage, "tags"))).Stdout
		if strings.HasPrefix(got, moved.Digest.String()) && strings.HasSuffix(got, "\nv1\nv2\n") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the registry is back, and shown is\n%s", got)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
