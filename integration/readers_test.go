package integration

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// The tools that read image layouts read an image directory, by tag and by
// digest, of OCI and of Docker images.
func TestReadersOfImageDirectory(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	app := repo(t, s, testImage)
	image := must(app.Image(t.Context(), "v1", content.Sample("v1")))(t)
	multi := must(app.MultiPlatform(t.Context(), "multi"))(t)
	target := startOlareg(t, registries.Options{})
	m := testMount(t, mounting{})

	dirs := map[string]struct{ path, ref string }{
		"by tag":      {m.at(s, testImage, "tags/v1"), "v1"},
		"by digest":   {m.at(s, testImage, "manifests/sha256", image.Digest.Encoded()), "latest"},
		"by platform": {m.at(s, testImage, "tags/multi/platforms/linux-arm-v7"), "latest"},
	}
	digests := map[string]digest.Digest{"by tag": image.Digest, "by digest": image.Digest, "by platform": multi.Children[2].Digest}
	rootless := ""
	if os.Geteuid() != 0 {
		rootless = "--rootless"
	}
	for name, d := range dirs {
		t.Run(name, func(t *testing.T) {
			m := m.forTest(t)
			out := t.TempDir()
			want := digests[name]
			check := func(tool, got string) {
				t.Helper()
				if !strings.Contains(got, want.String()) {
					t.Errorf("%s says %q, want the digest %s", tool, got, want)
				}
			}
			check("skopeo inspect", m.sh("skopeo --insecure-policy inspect --format '{{.Digest}}' oci:%s:%s", d.path, d.ref))
			m.sh("skopeo --insecure-policy copy --dest-tls-verify=false oci:%s:%s docker://%s/copied/skopeo:v1", d.path, d.ref, target.Host)
			m.sh("skopeo --insecure-policy copy oci:%s:%s dir:%s/skopeo", d.path, d.ref, out)
			check("skopeo copy", "sha256:"+m.sh("sha256sum %s/skopeo/manifest.json", out))

			m.sh("umoci unpack %s --image %s:%s %s/umoci", rootless, d.path, d.ref, out)
			if name != "by tag" && name != "by digest" { // zstd layers came after umoci 0.4.7
				m.sh("/usr/bin/umoci unpack %s --image %s:%s %s/umoci-old", rootless, d.path, d.ref, out)
				m.sh("grep -q 'for armv7' %s/umoci/rootfs/text && grep -q 'for armv7' %s/umoci-old/rootfs/text", out, out)
			} else {
				m.sh("cd %s/umoci/rootfs && grep -qx v1 etc/version && [ $(readlink bin/hi) = hello ]", out)
			}

			check("crane push", m.sh("crane push --insecure %s %s/copied/crane:v1", d.path, target.Host))
			// Without --fast it unpacks layers, and knows gzip alone.
			m.sh("crane validate %s --insecure --remote %s/copied/crane:v1", map[bool]string{false: "--fast"}[name == "by platform"], target.Host)
			check("crane digest", m.sh("crane digest --insecure %s/copied/crane:v1", target.Host))

			check("oras manifest", m.sh("oras manifest fetch --oci-layout --descriptor %s:%s", d.path, d.ref))
			m.sh("oras cp --from-oci-layout --to-plain-http %s:%s %s/copied/oras:v1", d.path, d.ref, target.Host)
			check("oras cp", m.sh("oras resolve --plain-http %s/copied/oras:v1", target.Host))

			check("regctl manifest", m.sh("regctl manifest head ocidir://%s:%s", d.path, d.ref))
			m.sh("regctl --host reg=%s,tls=disabled image copy ocidir://%s:%s %s/copied/regctl:v1", target.Host, d.path, d.ref, target.Host)
			check("regctl image copy", m.sh("regctl --host reg=%s,tls=disabled image digest %s/copied/regctl:v1", target.Host, target.Host))
		})
	}

	t.Run("index", func(t *testing.T) {
		m := m.forTest(t)
		dir := m.at(s, testImage, "tags/multi")
		m.sh("skopeo --insecure-policy copy --all --dest-tls-verify=false oci:%s:multi docker://%s/copied/all:v1", dir, target.Host)
		m.sh("regctl --host reg=%s,tls=disabled image copy ocidir://%s:multi %s/copied/all:v2", target.Host, dir, target.Host)
		m.sh("oras cp --from-oci-layout --to-plain-http %s:multi %s/copied/all:v3", dir, target.Host)
		if got := m.sh("crane push --insecure %s %s/copied/all:v4", dir, target.Host); !strings.Contains(got, multi.Digest.String()) {
			t.Errorf("crane push says %q", got)
		}
		for i := range 4 {
			if got := m.sh("crane digest --insecure %s/copied/all:v%d", target.Host, i+1); strings.TrimSpace(got) != multi.Digest.String() {
				t.Errorf("copy %d of the index has digest %s, want %s", i+1, got, multi.Digest)
			}
		}
	})
}

// An older umoci, without zstd, unpacks images of gzip layers from the mount.
func TestOldUmoci(t *testing.T) {
	t.Parallel()
	s := startDebian(t, registries.Options{})
	must(repo(t, s, testImage).Image(t.Context(), "v1", content.Small("hello")))(t)
	m := testMount(t, mounting{})
	rootless := ""
	if os.Geteuid() != 0 {
		rootless = "--rootless"
	}
	out := t.TempDir()
	m.sh("/usr/bin/umoci unpack %s --image %s:v1 %s/bundle && grep -qx hello %s/bundle/rootfs/text", rootless, m.at(s, testImage, "tags/v1"), out, out)
}

// The tools that copy directories make a complete layout of an image directory,
// every digest right and every byte there once.
func TestCopies(t *testing.T) {
	t.Parallel()
	onEvery(t, registries.Options{}, func(t *testing.T, s *registries.Server) {
		app := repo(t, s, testImage)
		image := must(app.Image(t.Context(), "v1", content.Sample("v1")))(t)
		index := must(app.MultiPlatform(t.Context(), "multi"))(t)
		m := testMount(t, mounting{})
		for name, c := range map[string]string{
			"cp":    "cp -r %s %s",
			"rsync": "rsync -a %s/ %s",
			"tar":   "mkdir %[2]s && tar c -C %[1]s . | tar x -C %[2]s",
		} {
			t.Run(name, func(t *testing.T) {
				m := m.forTest(t)
				for tag, want := range map[string]content.Manifest{"v1": image, "multi": index} {
					out := t.TempDir() + "/copy"
					m.sh(c, m.at(s, testImage, "tags", tag), out)
					m.isCopy(out, want)
					if got := m.sh("skopeo --insecure-policy inspect --raw oci:%s:%s | sha256sum", out, tag); !strings.HasPrefix(got, want.Digest.Encoded()) {
						t.Errorf("skopeo reads another image from the copy: %s", got)
					}
					m.sh("chmod -R u+w %s", out)
				}
			})
		}
	})
}

// isCopy checks that each blob of want is in a copied layout, and nothing else.
func (m *mounted) isCopy(dir string, want content.Manifest) {
	m.t.Helper()
	reachable := want.Digests()
	lines := strings.Split(strings.TrimSpace(m.sh("cd %s/blobs/sha256 && sha256sum *", dir)), "\n")
	if len(lines) != len(reachable) {
		m.t.Errorf("the copy has %d blobs, want %d", len(lines), len(reachable))
	}
	for _, line := range lines {
		f := strings.Fields(line)
		if len(f) != 2 || f[0] != f[1] {
			m.t.Errorf("in the copy: sha256sum says %q", line)
		} else if _, ok := reachable[digest.Digest("sha256:"+f[0])]; !ok {
			m.t.Errorf("the copy has %s, which the image has not", f[0])
		}
	}
	if got := m.sh("jq -r '.manifests[].digest' %s/index.json", dir); strings.TrimSpace(got) != want.Digest.String() {
		m.t.Errorf("the copy's index.json names %s, want %s", got, want.Digest)
	}
	// Beside blobs/ there are links and small files only: no byte twice.
	if got := m.sh("find %s -type f -size +64k ! -path '*/blobs/*'", dir); got != "" {
		m.t.Errorf("in the copy, beside blobs/: %s", got)
	}
}

// diff of two tags tells what differs, and nothing of one tag with itself.
func TestDiffOfTags(t *testing.T) {
	t.Parallel()
	s := startOlareg(t, registries.Options{})
	app := repo(t, s, testImage)
	for _, tag := range []string{"v1", "v2"} {
		must(app.Image(t.Context(), tag, content.Sample(tag)))(t)
	}
	m := testMount(t, mounting{})
	v1, v2 := m.at(s, testImage, "tags/v1"), m.at(s, testImage, "tags/v2")
	if r := m.run(fmt.Sprintf("diff -r %s %s", v1, v1)); r.Code != 0 {
		t.Errorf("diff of a tag with itself: %s%s", r.Stdout, r.Stderr)
	}
	r := m.run(fmt.Sprintf("diff -r %s %s", v1, v2))
	if r.Code != 1 || !strings.Contains(r.Stdout, "config.json") || !strings.Contains(r.Stdout, "Only in") || r.Stderr != "" {
		t.Errorf("diff -r of two tags: exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	m.sh("jq -e '.rootfs.diff_ids|length == 3' %s/config.json", v1)
	m.sh("find %s -type f | wc -l; du -s %s; grep -r sample %s || true", v1, v1, v1)
}

// A tag whose time is over may be another directory in the next listing. Then what is
// in it is others as well: the kernel has a directory in one place alone, and moving
// it fails with ESTALE while others look at it.
func TestDirectoryIsInOnePlace(t *testing.T) {
	t.Parallel()
	s := startOlareg(t, registries.Options{})
	must(repo(t, s, testImage).Image(t.Context(), "v1", content.Sample("v1")))(t)
	m := testMount(t, mounting{flags: []string{"--tag-ttl", "100ms", "--list-ttl", "100ms"}})
	tags := m.at(s, testImage, "tags")
	seen := map[string]string{} // by the inode of a directory, that of the one that it stood in
	for range 5 {
		m.sh("ls -l %s && sleep 0.2 && ls -l %s", tags, tags) // past both times
		for _, name := range []string{"blobs", "blobs/sha256", "layers"} {
			in := strings.Fields(m.sh("stat -c %%i %[1]s/v1/%[2]s %[1]s/v1", tags, name))
			if before, ok := seen[in[0]]; ok && before != in[1] {
				t.Errorf("%s is inode %s in %s, and was it in %s", name, in[0], in[1], before)
			}
			seen[in[0]] = in[1]
		}
	}
}
