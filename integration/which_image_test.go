package integration

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// signed pushes an image for several platforms and one for a single one, each with an
// SBOM that refers to it.
func signed(t *testing.T, s *registries.Server) (multi, single content.Manifest) {
	t.Helper()
	app := repo(t, s, testImage)
	multi = must(app.MultiPlatform(t.Context(), "multi"))(t)
	single = must(app.Image(t.Context(), "v1", content.Sample("v1")))(t)
	for _, m := range []content.Manifest{multi, single} {
		must(app.Referrer(t.Context(), m, "application/vnd.example.sbom", "sbom of "+m.Digest.String()))(t)
	}
	return multi, single
}

// tagged checks the digest that a tag has in the mount, as soon as anyone looks, and at
// the registry.
func (m *mounted) tagged(s *registries.Server, repo, tag string, want digest.Digest) {
	m.t.Helper()
	if got := strings.TrimSpace(m.sh("cat %s", m.at(s, repo, "tags", tag, "digest"))); got != want.String() {
		m.t.Errorf("%s:%s is %s in the mount, want %s", repo, tag, got, want)
	}
	if got := strings.TrimSpace(m.sh("crane digest --insecure %s/%s:%s", s.Host, repo, tag)); got != want.String() {
		m.t.Errorf("%s:%s is %s at the registry, want %s", repo, tag, got, want)
	}
}

// tagsAre checks the tags of a repository, as the registry lists them.
func (m *mounted) tagsAre(s *registries.Server, repo string, want ...string) {
	m.t.Helper()
	if got := strings.Fields(m.sh("crane ls --insecure %s/%s | sort", s.Host, repo)); fmt.Sprint(got) != fmt.Sprint(want) {
		m.t.Errorf("the tags of %s are %q, want %q", repo, got, want)
	}
}

// puts counts how often a tag was put.
func puts(s *registries.Server, repo, tag string) (n int) {
	for _, r := range s.Requests() {
		if r.Method == "PUT" && r.Path == "/v2/"+repo+"/manifests/"+tag {
			n++
		}
	}
	return n
}

// Programs that write more than the image into a layout, or the image step by step, tag
// the image and nothing else, once; what refers to it is known to the registry.
func TestToolsTagTheImage(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s *registries.Server) {
		multi, single := signed(t, s)
		m := testMount(t, mounting{})
		from := s.Host + "/" + testImage
		m.sh("regctl registry set %s --tls disabled", s.Host)
		for name, c := range map[string]struct {
			script string // $OUT is upload/ of a repository
			tag    string
			image  content.Manifest
			refers bool
		}{
			"oras cp of an index":              {"oras cp --from-plain-http " + from + ":multi --to-oci-layout $OUT/v9:v9", "v9", multi, false},
			"oras cp under another name":       {"oras cp --from-plain-http " + from + ":multi --to-oci-layout $OUT/v9:other", "v9", multi, false},
			"oras cp -r":                       {"oras cp -r --from-plain-http " + from + ":v1 --to-oci-layout $OUT/v1:v1", "v1", single, true},
			"oras cp -r of an index":           {"oras cp -r --from-plain-http " + from + ":multi --to-oci-layout $OUT/v1:v1", "v1", multi, true},
			"oras cp -r into upload":           {"oras cp -r --from-plain-http " + from + ":v1 --to-oci-layout $OUT:v1", "v1", single, true},
			"regctl --referrers":               {"regctl image copy --referrers " + from + ":v1 ocidir://$OUT/v1:v1", "v1", single, true},
			"regctl --referrers into upload":   {"regctl image copy --referrers " + from + ":v1 ocidir://$OUT:v1", "v1", single, true},
			"regctl under another name":        {"regctl image copy --referrers " + from + ":multi ocidir://$OUT/v2:other", "v2", multi, true},
			"crane pull":                       {"crane pull --insecure --format=oci " + from + ":multi $OUT/v1", "v1", multi, false},
			"skopeo copy under another name":   {"skopeo copy --preserve-digests --src-tls-verify=false docker://" + from + ":v1 oci:$OUT/v2:v1", "v2", single, false},
			"cp -r":                            {"cp -r $FROM/tags/multi $OUT/v1", "v1", multi, false},
			"cp -r, with what refers to it":    {"cp -r $FROM/tags/v1 $OUT/v1 && cp -rH $FROM/tags/v1/referrers/*/* $OUT/", "v1", single, true},
			"cp -r of an index, with the same": {"cp -r $FROM/tags/multi $OUT/v1 && cp -rH $FROM/tags/multi/referrers/*/* $OUT/", "v1", multi, true},
		} {
			t.Run(name, func(t *testing.T) {
				m := m.forTest(t)
				repo := "tools/" + strings.Trim(strings.NewReplacer(" ", "-", ",", "", "--", "").Replace(name), "-")
				m.sh("OUT=%s/upload FROM=%s; %s", m.at(s, repo), m.at(s, testImage), c.script)
				m.tagged(s, repo, c.tag, c.image.Digest)
				if n := puts(s, repo, c.tag); n != 1 {
					t.Errorf("the tag was put %d times", n)
				}
				if c.refers {
					if got := m.sh("oras discover --plain-http --format json %s/%s:%s | jq -r '.referrers[].artifactType'", s.Host, repo, c.tag); got != "application/vnd.example.sbom\n" {
						t.Errorf("what refers to it: %q", got)
					}
				}
			})
		}
	})
}

// On a registry that lists what refers to an image, no fallback tag stands beside it.
func TestFallbackTagsStayAway(t *testing.T) {
	t.Parallel()
	s := startOlareg(t, registries.Options{})
	_, single := signed(t, s)
	m := testMount(t, mounting{})
	m.sh("regctl registry set %s --tls disabled", s.Host)
	for _, dir := range []string{"upload", "upload/v1"} {
		repo := "fallback/in-" + strings.ReplaceAll(dir, "/", "-")
		m.sh("regctl image copy --referrers %s/%s:v1 ocidir://%s:v1", s.Host, testImage, m.at(s, repo, dir))
		m.tagged(s, repo, "v1", single.Digest)
		m.tagsAre(s, repo, "v1")
	}
}

// An image and the signature that is attached to it in upload/ keep to themselves.
func TestAttachInADirectory(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s *registries.Server) {
		m := testMount(t, mounting{})
		out := m.at(s, "team/attached", "upload/v2")
		m.sh("cd $HOME && echo hello >note.txt && oras push --oci-layout %s:v2 note.txt", out)
		before := digest.Digest(strings.TrimSpace(m.sh("cat %s", m.at(s, "team/attached/tags/v2/digest"))))
		m.sh("cd $HOME && oras attach --oci-layout --artifact-type application/vnd.example.s %s:v2 note.txt", out)
		m.tagged(s, "team/attached", "v2", before)
		if got := m.sh("oras discover --plain-http --format json %s/team/attached:v2 | jq -r '.referrers[].artifactType'", s.Host); got != "application/vnd.example.s\n" {
			t.Errorf("what refers to it: %q", got)
		}
	})
}

// A layout as cosign saves it is an image with its signatures: those go where cosign
// looks for them.
func TestCosignsLayout(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	multi, single := signed(t, s)
	m := testMount(t, mounting{})
	m.sh(`cp -r %s/tags/multi $HOME/saved && cp -n %s/tags/v1/blobs/sha256/* $HOME/saved/blobs/sha256/ && cd $HOME/saved &&
		jq -c --slurpfile sig %s/tags/v1/index.json '.manifests[0].annotations={kind:"dev.cosignproject.cosign/imageIndex"} |
			.manifests += [$sig[0].manifests[0] | .annotations={kind:"dev.cosignproject.cosign/sigs"}]' index.json >i && mv i index.json`,
		m.at(s, testImage), m.at(s, testImage), m.at(s, testImage))
	m.sh("cp -r $HOME/saved %s", m.at(s, "team/cosign", "upload/v1"))
	m.tagged(s, "team/cosign", "v1", multi.Digest)
	m.tagged(s, "team/cosign", "sha256-"+multi.Digest.Encoded()+".sig", single.Digest)
	m.tagsAre(s, "team/cosign", "sha256-"+multi.Digest.Encoded()+".sig", "v1")
}

// Two images under one name are an error that names both, and the first isn't lost.
func TestOneNameForTwoImages(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	a := must(repo(t, s, "team/a").Image(t.Context(), "v1", content.Small("a")))(t)
	b := must(repo(t, s, "team/b").Image(t.Context(), "v1", content.Small("b")))(t)
	m := testMount(t, mounting{})
	r := m.run(fmt.Sprintf("crane pull --insecure --annotate-ref --format=oci %[1]s/team/a:v1 %[1]s/team/b:v1 %[2]s", s.Host, m.at(s, "team/both/upload")))
	if r.Code == 0 || !strings.Contains(r.Stderr, "invalid argument") {
		t.Errorf("crane ends with %d: %s", r.Code, r.Stderr)
	}
	first := a.Digest // crane pulls in any order
	if strings.Contains(m.sh("cat %s", m.at(s, "team/both/tags/v1/digest")), b.Digest.String()) {
		first = b.Digest
	}
	m.tagged(s, "team/both", "v1", first)
	if n := puts(s, "team/both", "v1"); n != 1 {
		t.Errorf("the tag was put %d times", n)
	}
	if f := m.lastFailure("EINVAL"); !strings.Contains(f.Cause, a.Digest.String()) || !strings.Contains(f.Cause, b.Digest.String()) {
		t.Errorf("errors.jsonl says %+v", f)
	}
	if r := m.recorded("v1"); r.State != "failed" {
		t.Errorf("uploads.json says %+v", r)
	}
	r = m.run(fmt.Sprintf("crane pull --insecure --annotate-ref --format=oci %[1]s/team/a:v1 %[1]s/team/b:v1 %[2]s", s.Host, m.at(s, "team/dir/upload/v9")))
	if r.Code == 0 {
		t.Error("two images in one directory: crane ends with 0")
	}
	m.sh("! test -e %s", m.at(s, "team/dir/tags/v9"))
	m.sh("crane pull --insecure --annotate-ref --format=oci %[1]s/team/a:v1 %[2]s && crane pull --insecure --annotate-ref --format=oci %[1]s/team/a:v1 %[2]s", s.Host, m.at(s, "team/again/upload"))
	m.tagged(s, "team/again", "v1", a.Digest)
}

// Half an image, and an index.json that isn't one, are told within seconds, and by unmount.
// A layout of symlinks is refused at once.
func TestHalfAnImageIsTold(t *testing.T) {
	t.Parallel()
	s := startOlareg(t, registries.Options{})
	multi, _ := signed(t, s)
	m := testMount(t, mounting{})
	var index ocispec.Index
	if err := json.Unmarshal([]byte(m.sh("cat %s", m.at(s, testImage, "tags/multi/manifest.json"))), &index); err != nil {
		t.Fatal(err)
	}
	child := index.Manifests[0].Digest
	m.sh("cp -r %s/tags/multi $HOME/half && rm $HOME/half/blobs/sha256/%s", m.at(s, testImage), child.Encoded())
	m.sh("cp -r %s/tags/v1 $HOME/bom && { printf '\\357\\273\\277'; cat %s/tags/v1/index.json; } >$HOME/bom/index.json", m.at(s, testImage), m.at(s, testImage))
	m.sh("cp -r $HOME/half %s && cp -r $HOME/bom %s", m.at(s, "team/half/upload/v1"), m.at(s, "team/bom/upload/v1"))
	m.sh(`for i in $(seq 100); do test $(grep -c '"push"' $M/.ocifs/errors.jsonl) -ge 2 && exit; sleep 0.2; done; exit 1`)
	platform := index.Manifests[0].Platform
	told := m.sh("cat $M/.ocifs/errors.jsonl")
	for _, words := range []string{platform.OS + "/" + platform.Architecture, child.String(), "byte order mark"} {
		if !strings.Contains(told, words) {
			t.Errorf("errors.jsonl doesn't say %q:\n%s", words, told)
		}
	}
	for _, repo := range []string{"team/half", "team/bom"} {
		if got := m.sh(`jq -r '.[] | select(.target=="v1" and (.repository | endswith("%s"))) | .state' $M/.ocifs/uploads.json`, repo); got != "waiting\n" {
			t.Errorf("uploads.json says %q of %s", got, repo)
		}
		m.sh("! test -e %s", m.at(s, repo, "tags/v1"))
	}
	// The missing piece comes later, as the hint says.
	m.sh("cp %s %s", m.at(s, testImage, "tags/multi/blobs/sha256", child.Encoded()), m.at(s, "team/half/upload/v1/blobs/sha256/"))
	m.tagged(s, "team/half", "v1", multi.Digest)

	m.sh(`mkdir $HOME/links && cd %s/tags/v1 && cp -r oci-layout index.json blobs $HOME/links/ && mkdir $HOME/store && for f in $HOME/links/blobs/sha256/*; do mv $f $HOME/store/ && ln -s $HOME/store/${f##*/} $f; done`, m.at(s, testImage))
	if r := m.run(fmt.Sprintf("cp -r $HOME/links %s", m.at(s, "team/links/upload/v1"))); r.Code == 0 || !strings.Contains(r.Stderr, "Operation not permitted") {
		t.Errorf("cp -r of symlinks ends with %d: %s", r.Code, r.Stderr)
	}
	if f := m.lastFailure("EPERM"); !strings.Contains(f.Hint, "cp -rL") {
		t.Errorf("errors.jsonl says %+v", f)
	}
	m.sh("cp -rL $HOME/links %s", m.at(s, "team/followed/upload/v1"))
	m.sh("test -e %s", m.at(s, "team/followed/tags/v1"))
	r := m.run(fmt.Sprintf("%s unmount $M", quote(m.Binary)))
	for _, words := range []string{"/team/bom v1 (waiting)", "byte order mark", "uploads.json of the next mount"} {
		if r.Code != 0 || !strings.Contains(r.Stderr, words) {
			t.Errorf("ocifs unmount ends with %d and doesn't say %q: %s", r.Code, words, r.Stderr)
		}
	}
	must(m.Wait(15 * time.Second))(t)
	m.unmount()
	if log := m.Output(); !strings.Contains(log, "not pushed before the mount ended") || !strings.Contains(log, "byte order mark") {
		t.Errorf("the log of the end says\n%s", log)
	}
}

// A tag that was moved elsewhere, a moment ago and by somebody else, comes back when its
// image is copied once more; and what fails after a copy ended is told by unmount.
func TestAnImageIsCopiedOnceMore(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	multi, single := signed(t, s)
	m := testMount(t, mounting{})
	app := m.at(s, testImage)
	m.sh("cp -r %s/tags/v1 %s && crane cp --insecure %s/%s:multi %s/team/moved:v1", app, m.at(s, "team/moved/upload/v1"), s.Host, testImage, s.Host)
	if got := strings.TrimSpace(m.sh("crane digest --insecure %s/team/moved:v1", s.Host)); got != multi.Digest.String() {
		t.Fatalf("v1 is %s", got)
	}
	m.sh("cp -rT %s/tags/v1 %s", app, m.at(s, "team/moved/upload/v1"))
	m.tagged(s, "team/moved", "v1", single.Digest)

	s.Fault(registries.Fault{Method: "PUT", Path: "/manifests/late", Status: 403})
	m.sh("cp -r %[1]s/tags/v1 $HOME/nameless && jq -c 'del(.manifests[].annotations)' %[1]s/tags/v1/index.json >$HOME/nameless/index.json && cp -r $HOME/nameless %[2]s", app, m.at(s, "team/moved/upload/late"))
	if r := m.run(fmt.Sprintf("%s unmount $M", quote(m.Binary))); r.Code != 0 || !strings.Contains(r.Stderr, "not pushed: "+s.Host+"/team/moved late (failed)") {
		t.Errorf("ocifs unmount ends with %d: %s", r.Code, r.Stderr)
	}
	must(m.Wait(15 * time.Second))(t)
	m.unmount()
}

// Archives as docker save writes them, with the names that containerd gives to images, are
// pushed as they are unpacked: one image under the directory's name, several by their own
// tags, and none whose tag two of them have.
func TestDockerSave(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	images := map[string]content.Manifest{}
	for _, name := range []string{"one", "two"} {
		images[name] = must(repo(t, s, "team/"+name).Image(t.Context(), "v1", content.Small(name)))(t)
	}
	m := testMount(t, mounting{})
	// save makes $HOME/NAME.tar of images, each as NAME=TAG.
	save := func(archive string, named ...string) {
		var entries []ocispec.Descriptor
		m.sh("mkdir -p $HOME/%s", archive)
		for _, n := range named {
			name, tag, _ := strings.Cut(n, "=")
			m.sh("cp -r %s/tags/v1/. $HOME/%s/ && rm -r $HOME/%s/layers", m.at(s, "team", name), archive, archive)
			d := images[name].Descriptor
			d.Annotations = map[string]string{"io.containerd.image.name": "docker.io/library/" + name + ":" + tag, ocispec.AnnotationRefName: tag}
			entries = append(entries, d)
		}
		index := must(json.Marshal(ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: entries}))(t)
		m.sh("cd $HOME/%s && echo %s >index.json && echo '[]' >manifest.json && tar cf ../%s.tar oci-layout index.json manifest.json blobs", archive, quote(string(index)), archive)
	}
	save("single", "one=latest")
	save("several", "one=1", "two=2")
	save("twice", "one=latest", "two=latest")
	m.sh("mkdir -p %s && tar xf $HOME/single.tar -C %s", m.at(s, "saved/single/upload/v7"), m.at(s, "saved/single/upload/v7"))
	m.tagged(s, "saved/single", "v7", images["one"].Digest)
	m.sh("tar xf $HOME/several.tar --overwrite -C %s", m.at(s, "saved/several/upload"))
	m.tagged(s, "saved/several", "1", images["one"].Digest)
	m.tagged(s, "saved/several", "2", images["two"].Digest)
	m.tagsAre(s, "saved/several", "1", "2")
	if r := m.run(fmt.Sprintf("tar xf $HOME/twice.tar --overwrite -C %s", m.at(s, "saved/twice/upload"))); r.Code == 0 {
		t.Error("two images with one tag: tar ends with 0")
	}
	m.tagsAre(s, "saved/twice")
	if f := m.lastFailure("EINVAL"); !strings.Contains(f.Cause, "docker.io/library/one:latest") || !strings.Contains(f.Cause, "docker.io/library/two:latest") {
		t.Errorf("errors.jsonl says %+v", f)
	}
}
