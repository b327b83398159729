package integration

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// onBoth runs a test against a registry without the referrers API and one with it.
func onBoth(t *testing.T, test func(t *testing.T, s *registries.Server)) {
	t.Run("distribution", func(t *testing.T) { test(t, startDistribution(t, registries.Options{})) })
	t.Run("olareg", func(t *testing.T) { test(t, startOlareg(t, registries.Options{})) })
}

// steps gives what came of each step of a program: see cmd/probe.
func (m *mounted) steps(steps ...string) string {
	m.t.Helper()
	return m.probed("steps", steps...)
}

// comes checks what came of steps.
func (m *mounted) comes(want string, steps ...string) {
	m.t.Helper()
	if got := m.steps(steps...); got != want {
		m.t.Errorf("%s:\n%s, want\n%s\nerrors.jsonl:\n%s", strings.Join(steps, "; "), got, want, m.failures())
	}
}

// An artifact that a tool attaches in upload/ is among the referrers at once, at the
// registry as well.
func TestAttachInUpload(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s *registries.Server) {
		image := must(repo(t, s, testImage).Image(t.Context(), "v1", content.Sample("v1")))(t)
		m := testMount(t, mounting{})
		out := m.at(s, "team/attached")
		m.sh("oras cp --from-plain-http %s/%s:v1 --to-oci-layout %s/upload:v1", s.Host, testImage, out)
		m.lists(out+"/tags/v1/referrers/", "index.json")
		m.sh("cd $HOME && echo '{}' >sbom.json && oras attach --oci-layout %s/upload:v1 --artifact-type application/vnd.example.sbom sbom.json:application/json", out)
		m.lists(out+"/tags/v1/referrers/", "application_vnd.example.sbom", "index.json")
		if got := m.sh("cat %s/referrers/sha256/%s/application_vnd.example.sbom/*/files/sbom.json", out, image.Digest.Encoded()); got != "{}\n" {
			t.Errorf("the SBOM reads %q", got)
		}
		if got := m.sh("oras discover --plain-http --format json %s/team/attached:v1", s.Host); !strings.Contains(got, "application/vnd.example.sbom") {
			t.Errorf("oras finds\n%s", got)
		}
	})
}

// A tag that a push moves is another directory at once; who stands in the old one
// sees the old image.
func TestPushMovesTag(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s *registries.Server) {
		app := repo(t, s, testImage)
		old := must(app.Image(t.Context(), "v", content.Sample("old")))(t)
		fresh := must(repo(t, s, "team/fresh").Image(t.Context(), "v", content.Sample("fresh")))(t)
		m := testMount(t, mounting{flags: []string{"--tag-ttl", "1h", "--list-ttl", "1h"}})
		tag := m.at(s, testImage, "tags/v")
		m.holds(tag+"/digest", []byte(old.Digest+"\n"))
		m.sh("ls -lR %s", m.at(s, testImage, "tags"))
		person := m.shell()
		person("cd " + tag)
		m.sh("cp -r %s %s", m.at(s, "team/fresh/tags/v"), m.at(s, testImage, "upload/v"))
		m.isLayout(tag, "v", fresh)
		if got := person("cat digest; sha256sum blobs/sha256/" + old.Digest.Encoded()); !strings.HasPrefix(got, old.Digest.String()) {
			t.Errorf("who stands in the old directory reads %s", got)
		}
		m.sh("cp %s %s", m.at(s, testImage, "manifests/sha256", old.Digest.Encoded(), "manifest.json"), m.at(s, testImage, "upload/manifests/v"))
		m.holds(tag+"/digest", []byte(old.Digest+"\n"))
		m.sh("cp %s %s", m.at(s, testImage, "manifests/sha256", fresh.Digest.Encoded(), "manifest.json"), m.at(s, testImage, "upload/manifests/v9"))
		m.lists(m.at(s, testImage, "tags"), "v", "v9")
	})
}

// A blob that another repository of the host has is mounted, by copy_file_range and
// by link; where the registry declines, it is sent.
func TestBlobsAreMounted(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s *registries.Server) {
		from := repo(t, s, "team/from")
		m := testMount(t, mounting{})
		for i, how := range []string{"copyrange", "link", "declined", "refused"} {
			blob := must(from.Blob(t.Context(), "application/octet-stream", content.NoiseBytes(uint64(70+i), 500_000)))(t)
			file, to := m.at(s, "team/from/blobs/sha256", blob.Digest.Encoded()), m.at(s, "team/to", "upload/blobs", how)
			m.sh("stat %s; ls %s", file, filepath.Dir(to))
			s.Forget()
			switch how {
			case "declined": // as a registry that has no such thing would: a session
				s.Fault(registries.Fault{Method: "POST", Path: "/uploads/", NoMount: true})
			case "refused":
				s.Fault(registries.Fault{Method: "POST", Path: "/uploads/", Status: http.StatusForbidden, Times: 1})
			}
			if how == "link" {
				m.comes("link ok", "link "+file+" "+to)
			} else {
				m.comes("create ok, copyrange ok, close ok", "create "+to, "copyrange "+file, "close")
			}
			s.Heal()
			want := int64(0)
			if how == "declined" || how == "refused" {
				want = blob.Size
			}
			if got := s.Sent(registries.Upload); got != want {
				t.Errorf("%s: %d bytes were sent, want %d: %v", how, got, want, s.Requests())
			}
			hasBlob(t, s, "team/to", blob.Digest, http.StatusOK)
			m.sh("cmp %s %s", file, to)
		}
	})
}

// Each call of a program fails as it should, and says so again until something is
// done about it.
func TestErrnoOfEachStep(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	image := must(repo(t, s, testImage).Image(t.Context(), "v1", content.Sample("v1")))(t)
	m := testMount(t, mounting{})
	up := m.at(s, "team/steps", "upload")
	file, d := noiseFile(t, 80, 100_000)
	layer := image.Layers[0].Digest.Encoded()
	m.sh("ls %s", up)

	s.Fault(registries.Fault{Method: "POST", Path: "/uploads/", Status: http.StatusForbidden})
	m.comes("create ok, copy ok, fsync EACCES, fsync EACCES, close EACCES",
		"create "+up+"/blobs/x", "copy "+file, "fsync", "fsync", "close")
	m.comes("create ok, copy ok, close ok, rename EACCES", // a temporary name is nobody's business
		"create "+up+"/x.tmp", "copy "+file, "close", "rename "+up+"/x.tmp "+up+"/blobs/y")
	m.comes("link EACCES", "link "+m.at(s, testImage, "blobs/sha256", layer)+" "+up+"/blobs/linked")
	s.Heal()
	hasBlob(t, s, "team/steps", d, http.StatusNotFound)

	m.comes("mkdir ok, create ok, fallocate ENOTSUP, flock ok, copy ok, fsync ok, close ok, mkdir ok, rename ok, fsyncdir ok",
		"mkdir "+up+"/.w", "create "+up+"/.w/x", "fallocate 100", "flock", "copy "+file, "fsync", "close",
		"mkdir "+up+"/v2", "rename "+up+"/.w/x "+up+"/blobs/sha256/"+d.Encoded(), "fsyncdir "+up+"/blobs/sha256")
	hasBlob(t, s, "team/steps", d, http.StatusOK)
	m.comes("create ok, write ok, close ok, rename EBADMSG, unlink ok",
		"create "+up+"/w.tmp", "write wrong", "close", "rename "+up+"/w.tmp "+up+"/blobs/sha256/"+layer, "unlink "+up+"/w.tmp")
	m.comes("create ok, write ok, close EBADMSG, unlink ok",
		"create "+up+"/manifests/v1", "write {}", "close", "unlink "+up+"/manifests/v1")
	for _, name := range []string{"manifests/-no-tag", "manifests/sha256-abc"} {
		if got := m.steps("create "+up+"/"+name, "write {}", "close"); strings.HasSuffix(got, "close ok") {
			t.Errorf("upload/%s: %s", name, got)
		}
	}
	noTag(t, s, "team/steps", "v1")
}

// A layout that grows by a tag pushes that tag alone.
func TestLayoutGrows(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s *registries.Server) {
		for _, tag := range []string{"v1", "v2", "v3"} {
			must(repo(t, s, testImage).Image(t.Context(), tag, content.Sample(tag)))(t)
		}
		m := testMount(t, mounting{})
		out := m.at(s, "team/grown")
		for i, tag := range []string{"v1", "v2", "v3"} {
			s.Forget()
			m.sh("skopeo --insecure-policy copy -q --preserve-digests --src-tls-verify=false docker://%s/%s:%s oci:%s/upload:%s", s.Host, testImage, tag, out, tag)
			if got := s.Counts()["PUT manifest"]; got != 1 {
				t.Errorf("%s cost %d manifests put: %v", tag, got, s.Requests())
			}
			if got := s.Counts()["PUT upload"]; i > 0 && got > 3 { // one layer is shared
				t.Errorf("%s cost %d blobs put", tag, got)
			}
		}
		m.lists(out+"/tags", "v1", "v2", "v3")
		// What was pushed is read from upload/ by the tool that wrote it.
		m.sh("skopeo --insecure-policy inspect --raw oci:%s/upload:v1 | cmp - %s", out, m.at(s, testImage, "tags/v1/manifest.json"))
		s.Forget()
		m.sh("rm -r %s/upload/blobs/sha256/* && cat %s/tags/v1/digest", out, out)
		for _, r := range s.Requests() {
			if r.Method == "DELETE" {
				t.Errorf("rm in upload/ sent %v", r)
			}
		}
	})
}

// The daemon keeps nothing of what was pushed but its cache, and holds nothing open.
func TestPushLeavesNothing(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	m := testMount(t, mounting{})
	file, d := noiseFile(t, 90, 2*mib)
	up := m.at(s, testImage, "upload")
	m.sh("cp %s %s/blobs/x && echo later > %s/not-pushed.tmp && rm %s/not-pushed.tmp", file, up, up, up)
	m.leavesNothing()
	cached := m.cacheFile(d.Encoded())
	m.sh("cmp %s %s", file, cached)
	m.unmount()
	m.sh("test -z \"$(find %s/v1/staging -mindepth 1)\"", m.Cache)
	if got := digest.FromBytes([]byte(m.sh("cat %s", cached))); got != d {
		t.Errorf("the cache file has digest %s, want %s", got, d)
	}
}
