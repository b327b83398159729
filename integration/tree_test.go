package integration

import (
	"encoding/json"
	"fmt"
	"maps"
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

// An image directory holds what the table of the design says, byte for byte, the
// same by tag and by digest, at every registry and for every kind of image.
func TestImageDirectory(t *testing.T) {
	t.Parallel()
	onEvery(t, registries.Options{}, func(t *testing.T, s *registries.Server) {
		app := repo(t, s, testImage)
		docker := content.Sample("docker")
		docker.Docker = true
		images := map[string]content.Manifest{
			"v1":     must(app.Image(t.Context(), "v1", content.Sample("v1")))(t),
			"docker": must(app.Image(t.Context(), "docker", docker))(t),
		}
		m := testMount(t, mounting{})
		for tag, image := range images {
			byTag := m.at(s, testImage, "tags", tag)
			byDigest := m.at(s, testImage, "manifests/sha256", image.Digest.Encoded())
			m.isLayout(byTag, tag, image)
			m.isLayout(byDigest, "latest", image)

			var layers []string
			for i, l := range image.Layers {
				ext := map[string]string{
					content.DockerLayer: "tar.gz", ocispec.MediaTypeImageLayerGzip: "tar.gz",
					ocispec.MediaTypeImageLayerZstd: "tar.zst", ocispec.MediaTypeImageLayer: "tar",
				}[l.MediaType]
				layers = append(layers, fmt.Sprintf("%02d-%s.%s", i, l.Digest.Encoded()[:12], ext))
			}
			for _, dir := range []string{byTag, byDigest} {
				m.lists(filepath.Join(dir, "layers"), layers...)
				for i, l := range image.Layers {
					m.links(filepath.Join(dir, "layers", layers[i]), filepath.Join(dir, "blobs/sha256", l.Digest.Encoded()))
					m.holds(filepath.Join(dir, "layers", layers[i]), l.Bytes)
				}
				m.links(filepath.Join(dir, "config.json"), filepath.Join(dir, "blobs/sha256", image.Config.Digest.Encoded()))
				m.holds(filepath.Join(dir, "config.json"), image.Config.Bytes)
			}
			for _, dir := range []string{byTag, byDigest} {
				m.links(filepath.Join(dir, "referrers"), m.at(s, testImage, "referrers/sha256", image.Digest.Encoded()))
			}
			m.sh("tar tf %s/%s | grep -q bin/hello", byTag, "layers/"+layers[0])
		}
	})
}

// isLayout checks that a directory is a complete image layout of want, with the
// files that belong to every image directory.
func (m *mounted) isLayout(dir, refName string, want content.Manifest) {
	m.t.Helper()
	m.holds(dir+"/manifest.json", want.Bytes)
	m.holds(dir+"/digest", []byte(want.Digest+"\n"))
	var layout ocispec.ImageLayout
	if err := json.Unmarshal([]byte(m.sh("cat %s/oci-layout", dir)), &layout); err != nil || layout.Version != "1.0.0" {
		m.t.Errorf("%s/oci-layout: version %q, %v", dir, layout.Version, err)
	}
	var index ocispec.Index
	if err := json.Unmarshal([]byte(m.sh("cat %s/index.json", dir)), &index); err != nil {
		m.t.Fatalf("%s/index.json: %v", dir, err)
	}
	if index.SchemaVersion != 2 || len(index.Manifests) != 1 {
		m.t.Fatalf("%s/index.json has schema version %d and %d descriptors, want 2 and 1", dir, index.SchemaVersion, len(index.Manifests))
	}
	got := index.Manifests[0]
	if got.Digest != want.Digest || got.Size != want.Size || got.MediaType != want.MediaType || got.Annotations[ocispec.AnnotationRefName] != refName {
		m.t.Errorf("%s/index.json names %+v, want %s, %d bytes, as %q", dir, got, want.Digest, want.Size, refName)
	}
	reachable := want.Digests()
	byAlgorithm := map[string][]string{}
	for d := range reachable {
		byAlgorithm[string(d.Algorithm())] = append(byAlgorithm[string(d.Algorithm())], d.Encoded())
	}
	m.lists(dir+"/blobs", slices.Collect(maps.Keys(byAlgorithm))...)
	for algorithm, names := range byAlgorithm {
		m.lists(dir+"/blobs/"+algorithm, names...)
	}
	for d, desc := range reachable {
		path := dir + "/blobs/" + string(d.Algorithm()) + "/" + d.Encoded()
		if kind, size, mode, _ := m.stat(path); kind != "file" || size != desc.Size || mode != 0o444 {
			m.t.Errorf("%s is a %s of %d bytes, mode %o; want a file of %d, 0444", path, kind, size, mode, desc.Size)
		}
		sum := strings.Fields(m.sh("%ssum %s", d.Algorithm(), path))[0]
		if sum != d.Encoded() {
			m.t.Errorf("%s holds bytes of digest %s", path, sum)
		}
	}
}

// stat is what lstat gives.
func (m *mounted) stat(path string) (kind string, size int64, mode, inode uint64) {
	m.t.Helper()
	said := m.probed("stat", path)
	if _, err := fmt.Sscanf(said, "ok %s %d %o %d", &kind, &size, &mode, &inode); err != nil {
		m.t.Errorf("stat %s: %s", path, said)
	}
	return kind, size, mode, inode
}

// An index is a layout of everything in it, and platforms/ leads to layouts of
// one image each.
func TestIndexDirectory(t *testing.T) {
	t.Parallel()
	onEvery(t, registries.Options{}, func(t *testing.T, s *registries.Server) {
		app := repo(t, s, testImage)
		multi := must(app.MultiPlatform(t.Context(), "multi"))(t)
		var list []content.Manifest
		for _, arch := range []string{"amd64", "arm64"} {
			i := content.Small("docker for " + arch)
			i.Docker = true
			list = append(list, must(app.Image(t.Context(), "", i))(t).For("linux", arch, ""))
		}
		dockerList := must(app.Index(t.Context(), "list", content.DockerList, list...))(t)
		plain := must(app.Image(t.Context(), "", content.Small("s390x")))(t).For("linux", "s390x", "")
		nested := must(app.Index(t.Context(), "nested", "", multi, plain))(t)
		empty := must(app.Index(t.Context(), "empty", ""))(t)

		m := testMount(t, mounting{})
		for tag, index := range map[string]content.Manifest{"multi": multi, "list": dockerList, "nested": nested, "empty": empty} {
			m.isLayout(m.at(s, testImage, "tags", tag), tag, index)
			m.isLayout(m.at(s, testImage, "manifests/sha256", index.Digest.Encoded()), "latest", index)
			m.probe("ENOENT", "stat", m.at(s, testImage, "tags", tag, "config.json"))
			m.probe("ENOENT", "stat", m.at(s, testImage, "tags", tag, "layers"))
		}
		for name, child := range map[string]content.Manifest{
			"linux-amd64": multi.Children[0], "linux-arm64": multi.Children[1], "linux-arm-v7": multi.Children[2],
		} {
			dir := m.at(s, testImage, "tags/multi/platforms", name)
			image := m.at(s, testImage, "manifests/sha256", child.Digest.Encoded())
			m.links(dir, image)
			m.isLayout(dir+"/", "latest", child)
			m.links(m.at(s, testImage, "manifests/sha256", multi.Digest.Encoded(), "platforms", name), image)
		}
		m.lists(m.at(s, testImage, "tags/list/platforms"), "linux-amd64", "linux-arm64")
	})
}

// files/ leads to an artifact's files by their titles, to none that could lead
// out of it, and names packed directories and charts as what they are.
func TestArtifactFiles(t *testing.T) {
	t.Parallel()
	onEvery(t, registries.Options{}, func(t *testing.T, s *registries.Server) {
		app := repo(t, s, testImage)
		model := must(app.TitledArtifact(t.Context(), "model"))(t)
		chart := must(app.HelmChart(t.Context(), "chart", "web", "1.2.3"))(t)

		m := testMount(t, mounting{})
		dir := m.at(s, testImage, "tags/model")
		m.isLayout(dir, "model", model)
		got := strings.Fields(m.sh("cd %s/files && find . ! -type d | sed 's,^./,,' | LC_ALL=C sort", dir))
		want := slices.Sorted(maps.Keys(content.Titles))
		if want = slices.Insert(want, 0, "dataset"); !slices.Equal(got, want) {
			t.Errorf("files/ holds %q, want %q", got, want)
		}
		for title, i := range content.Titles {
			m.links(dir+"/files/"+title, filepath.Join(dir, "blobs/sha256", model.Layers[i].Digest.Encoded()))
			m.holds(dir+"/files/"+title, model.Layers[i].Bytes)
		}
		m.sh("tar tzf %s/files/dataset.tar.gz | grep -qx dataset/one", dir)
		m.holds(dir+"/files/dataset/dataset/one", []byte("1"))

		m.isLayout(m.at(s, testImage, "tags/chart"), "chart", chart)
		m.lists(m.at(s, testImage, "tags/chart/files"), "web-1.2.3", "web-1.2.3.tgz")
		m.sh("grep -qx 'version: 1.2.3' %s", m.at(s, testImage, "tags/chart/files/web-1.2.3/web/Chart.yaml"))
		m.holds(m.at(s, testImage, "tags/chart/files/web-1.2.3.tgz"), chart.Layers[0].Bytes)
	})
}

// referrers/ holds all referrers, by type, from the API, in pages or not, and from
// the tag schema.
func TestReferrers(t *testing.T) {
	t.Parallel()
	test := func(t *testing.T, s *registries.Server, pages int) {
		app := repo(t, s, testImage)
		image := must(app.Image(t.Context(), "v1", content.Sample("v1")))(t)
		alone := must(app.Image(t.Context(), "alone", content.Small("nobody refers to this")))(t)
		want := map[string][]content.Manifest{}
		for i := range 4 {
			for _, kind := range []string{"application/vnd.example.sbom", "application/vnd.example.signature+json"} {
				want[kind] = append(want[kind], must(app.Referrer(t.Context(), image, kind, fmt.Sprintf("%s %d", kind, i)))(t))
			}
		}
		m := testMount(t, mounting{})
		dir := m.at(s, testImage, "referrers/sha256", image.Digest.Encoded())
		s.Forget()
		m.lists(dir, "application_vnd.example.sbom", "application_vnd.example.signature+json", "index.json")
		if got := s.Counts()["GET referrers"]; got != pages {
			t.Errorf("the referrers were asked for %d times, want %d: %v", got, pages, s.Requests())
		}
		var index ocispec.Index
		if err := json.Unmarshal([]byte(m.sh("cat %s/index.json", dir)), &index); err != nil {
			t.Fatal(err)
		}
		if index.MediaType != ocispec.MediaTypeImageIndex || index.SchemaVersion != 2 || len(index.Manifests) != 8 {
			t.Errorf("index.json is %q with %d referrers, want an index of 8", index.MediaType, len(index.Manifests))
		}
		for kind, referrers := range want {
			var names []string
			for _, r := range referrers {
				name := "sha256-" + r.Digest.Encoded()
				names = append(names, name)
				path := filepath.Join(dir, strings.ReplaceAll(kind, "/", "_"), name)
				m.links(path, m.at(s, testImage, "manifests/sha256", r.Digest.Encoded()))
				m.holds(path+"/manifest.json", r.Bytes)
				m.holds(path+"/files/statement.json", r.Layers[0].Bytes)
				if !slices.ContainsFunc(index.Manifests, func(d ocispec.Descriptor) bool { return d.Digest == r.Digest && d.ArtifactType == kind }) {
					t.Errorf("index.json misses %s of type %s", r.Digest, kind)
				}
			}
			m.lists(filepath.Join(dir, strings.ReplaceAll(kind, "/", "_")), names...)
		}
		// By way of the image.
		if got := m.sh("jq '.manifests|length' %s", m.at(s, testImage, "tags/v1/referrers/index.json")); got != "8\n" {
			t.Errorf("tags/v1/referrers/index.json has %s referrers, want 8", got)
		}
		m.lists(m.at(s, testImage, "referrers/sha256", alone.Digest.Encoded()), "index.json")
	}
	t.Run("olareg", func(t *testing.T) { test(t, startOlareg(t, registries.Options{}), 1) })
	t.Run("olareg in pages", func(t *testing.T) { test(t, startOlareg(t, registries.Options{ReferrersLimit: 1500}), 2) })
	t.Run("distribution", func(t *testing.T) { test(t, startDistribution(t, registries.Options{}), 1) })
	t.Run("docker-registry", func(t *testing.T) { test(t, startDebian(t, registries.Options{}), 1) })
}

// sha512 is as good as sha256.
func TestSHA512(t *testing.T) {
	t.Parallel()
	s := startOlareg(t, registries.Options{})
	app := repo(t, s, testImage)
	image := must(app.Image(t.Context(), "v1", content.Sample("v1")))(t)
	strong := must(app.PutSHA512(t.Context(), image.MediaType, image.Bytes))(t)
	if strong.Digest.Algorithm() != digest.SHA512 {
		t.Fatalf("pushed as %s", strong.Digest)
	}
	strong.Config, strong.Layers = image.Config, image.Layers
	m := testMount(t, mounting{})
	m.isLayout(m.at(s, testImage, "manifests/sha512", strong.Digest.Encoded()), "latest", strong)
}

// A host's port is written with an underscore, the colon is understood as well;
// a component that is spelled like an entry is written with an underscore.
func TestNames(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	_, port, _ := strings.Cut(s.Host, ":")
	reserved := []string{"archives", "tags", "manifests", "blobs", "referrers", "rootfs", "upload"}
	images := map[string]content.Manifest{}
	for _, name := range append(reserved, "tags/tags") {
		images[name] = must(repo(t, s, "team/"+name).Image(t.Context(), "v1", content.Small(name)))(t)
	}
	m := testMount(t, mounting{})
	for _, name := range reserved {
		m.holds(m.at(s, "team/_"+name, "tags/v1/manifest.json"), images[name].Bytes)
	}
	m.holds(m.at(s, "team/_tags/_tags/tags/v1/manifest.json"), images["tags/tags"].Bytes)
	m.probe("ENOENT", "stat", m.at(s, "team/_other"))

	colon := m.Dir + "/" + s.Host
	m.holds(colon+"/team/_tags/tags/v1/manifest.json", images["tags"].Bytes)
	m.holds(m.Dir+"/localhost_"+port+"/team/_tags/tags/v1/manifest.json", images["tags"].Bytes)
	listed := m.list(m.Dir)
	for _, want := range []string{".ocifs", "127.0.0.1_" + port, "localhost_" + port} {
		if !slices.Contains(listed, want) {
			t.Errorf("the root lists %q, without %s", listed, want)
		}
	}
	if slices.ContainsFunc(listed, func(n string) bool { return strings.Contains(n, ":") }) {
		t.Errorf("the root lists %q, with a colon", listed)
	}

	// A host lists what its catalog gives, spelled so that it can be entered.
	m.lists(m.at(s), "team")
	for _, entry := range m.list(m.at(s, "team")) {
		if slices.Contains(reserved, entry) {
			t.Errorf("team/ lists %s, want _%s", entry, entry)
		}
		m.probe("ok", "stat", m.at(s, "team", entry))
	}
}

// A repository directory lists its entries where the registry has the
// repository, and only there; entering needs no list.
func TestRepositoryDirectory(t *testing.T) {
	t.Parallel()
	onEvery(t, registries.Options{}, func(t *testing.T, s *registries.Server) {
		must(repo(t, s, testImage).Image(t.Context(), "v1", content.Small("x")))(t)
		m := testMount(t, mounting{})
		listed := m.list(m.at(s, testImage))
		for _, want := range []string{"tags", "manifests", "blobs", "referrers"} {
			if !slices.Contains(listed, want) {
				t.Errorf("%s lists %q, without %s", testImage, listed, want)
			}
		}
		if !strings.HasSuffix(t.Name(), "/olareg") { // which has every repository that is asked for
			for _, entry := range m.list(m.at(s, "team")) {
				if entry != "app" {
					t.Errorf("team/, which is no repository, lists %s", entry)
				}
			}
			m.probe("ENOENT", "readdir", m.at(s, "no/such/tags"))
		}
		m.lists(m.at(s, testImage, "tags"), "v1")
		m.probe("ENOENT", "stat", m.at(s, testImage, "tags/v2"))
		m.probe("ENOENT", "read", m.at(s, testImage, "blobs/sha256", strings.Repeat("0", 64)))
		m.probe("ENOENT", "stat", m.at(s, testImage, "manifests/sha256", strings.Repeat("0", 64), "digest"))
	})
}

// Tags are listed in byte order, all of them, however the registry orders them.
func TestTagOrder(t *testing.T) {
	t.Parallel()
	onEvery(t, registries.Options{PageSize: 3}, func(t *testing.T, s *registries.Server) {
		app := repo(t, s, testImage)
		tags := []string{"v10", "v9", "V1", "latest", "_x", "1.0", "1.0-rc.1", "a_b", "zz", "0"}
		image := must(app.Image(t.Context(), tags[0], content.Small("x")))(t)
		for _, tag := range tags[1:] {
			if err := app.Tag(t.Context(), image, tag); err != nil {
				t.Fatal(err)
			}
		}
		m := testMount(t, mounting{})
		slices.Sort(tags)
		if got := strings.Fields(m.sh("ls -U %s", m.at(s, testImage, "tags"))); !slices.Equal(got, tags) {
			t.Errorf("tags/ lists %q, want %q", got, tags)
		}
	})
}

// SOURCE picks the root, with a scheme as well. One that is none is a usage error that names it.
func TestSource(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	image := must(repo(t, s, testImage).Image(t.Context(), "v1", content.Small("x")))(t)
	host := testMount(t, mounting{source: s.Host})
	host.holds(host.Dir+"/team/app/tags/v1/manifest.json", image.Bytes)
	repository := testMount(t, mounting{source: "docker://" + s.Host + "/" + testImage + "/"})
	repository.holds(repository.Dir+"/tags/v1/manifest.json", image.Bytes)
	repository.lists(repository.Dir+"/tags", "v1")
	repository.sh("cat $M/.ocifs/version")
	for _, none := range []string{"docker-daemon:alpine", "docker://" + s.Host + "/" + testImage + ":v1"} {
		if r := host.run(raceBin + " mount " + none + " " + t.TempDir()); r.Code != 2 || !strings.Contains(r.Stderr, none) {
			t.Errorf("%s: exit code %d, %s", none, r.Code, r.Stderr)
		}
	}
}

// Modes and owners are as designed, and inode numbers survive a remount.
func TestAttributes(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	image := must(repo(t, s, testImage).Image(t.Context(), "v1", content.Sample("v1")))(t)
	tag := testImage + "/tags/v1"
	paths := []string{"team", testImage, testImage + "/tags", tag, tag + "/blobs", tag + "/blobs/sha256", tag + "/manifest.json",
		tag + "/index.json", tag + "/config.json", tag + "/layers", tag + "/blobs/sha256/" + image.Layers[0].Digest.Encoded()}
	m := testMount(t, mounting{})
	inodes := map[string]uint64{}
	for _, p := range paths {
		kind, _, mode, inode := m.stat(m.at(s, p))
		if want := map[string]uint64{"dir": 0o555, "file": 0o444, "link": 0o777}[kind]; mode != want {
			t.Errorf("%s: a %s of mode %o, want %o", p, kind, mode, want)
		}
		inodes[p] = inode
	}
	seen := map[uint64]string{}
	for p, inode := range inodes {
		if other, twice := seen[inode]; twice || inode == 0 {
			t.Errorf("%s and %s have inode %d", p, other, inode)
		}
		seen[inode] = p
	}
	if got := m.sh("stat -c %%u:%%g %s; id -u; id -g", m.at(s, tag, "manifest.json")); !sameOwner(got) {
		t.Errorf("owner and user: %q", got)
	}
	m.unmount()

	again := testMount(t, mounting{dir: m.Dir})
	for _, p := range paths {
		if _, _, _, inode := again.stat(again.at(s, p)); inode != inodes[p] {
			t.Errorf("%s: inode %d before the remount, %d after", p, inodes[p], inode)
		}
	}
}

// A tag that was listed, looked into and then asked for again is the same
// directory as long as it points to the same image.
func TestListedTagKeepsItsDirectory(t *testing.T) {
	t.Parallel()
	s := startOlareg(t, registries.Options{})
	app := repo(t, s, testImage)
	must(app.Image(t.Context(), "v1", content.Small("old")))(t)
	for name, flags := range map[string][]string{
		"the list outlives the tag": {"--tag-ttl", "300ms"},
		"the tag outlives the list": {"--list-ttl", "300ms"},
		"neither":                   {"--list-ttl", "300ms", "--tag-ttl", "300ms"},
	} {
		t.Run(name, func(t *testing.T) {
			m := testMount(t, mounting{flags: flags})
			dir := m.at(s, testImage, "tags/v1")
			m.sh("ls -l %s/..", dir)
			_, _, _, before := m.stat(dir)
			person := m.shell()
			person("cd " + dir + " && cat digest")
			for range 3 {
				time.Sleep(500 * time.Millisecond)
				if _, _, _, after := m.stat(dir); after != before {
					t.Errorf("the directory's inode was %d and is %d", before, after)
				}
				person("[ \"$(/bin/pwd)\" = " + dir + " ]")
			}
		})
	}
}

func sameOwner(said string) bool {
	f := strings.Fields(said)
	return len(f) == 3 && f[0] == f[1]+":"+f[2]
}

// A tag moves; a directory does not: who stands in it sees the old image whole,
// who comes anew gets the new one.
func TestTagMoves(t *testing.T) {
	t.Parallel()
	onEvery(t, registries.Options{}, func(t *testing.T, s *registries.Server) {
		app := repo(t, s, testImage)
		old := must(app.Image(t.Context(), "v", content.Sample("old")))(t)
		m := testMount(t, mounting{flags: []string{"--tag-ttl", "300ms"}})
		dir := m.at(s, testImage, "tags/v")
		_, _, _, before := m.stat(dir)
		person := m.shell()
		person("cd " + dir)
		person("exec 3<manifest.json")
		m.sh("ls -lR %s", dir) // the kernel knows everything in it
		person("ls layers >$HOME/old-layers")

		fresh := must(app.Image(t.Context(), "v", content.Sample("new")))(t)
		time.Sleep(time.Second)
		m.holds(dir+"/manifest.json", fresh.Bytes)
		m.isLayout(dir, "v", fresh)
		if _, _, _, after := m.stat(dir); after == before {
			t.Error("the directory of the moved tag has the inode of the old one")
		}

		if got := person("cat manifest.json"); got != string(old.Bytes) {
			t.Errorf("who stands in the old directory reads another manifest: %.100s", got)
		}
		if got := person("cat <&3"); got != string(old.Bytes) {
			t.Errorf("who holds the old manifest open reads another: %.100s", got)
		}
		for _, l := range old.Layers { // none was read before the tag moved
			if got := strings.Fields(person("sha256sum blobs/sha256/" + l.Digest.Encoded()))[0]; got != l.Digest.Encoded() {
				t.Errorf("a layer of the old image has digest %s", got)
			}
		}
		person("ls layers | cmp - $HOME/old-layers")
		if got := m.list(dir + "/layers"); len(got) != len(fresh.Layers) || !strings.HasPrefix(got[2], "02-"+fresh.Layers[2].Digest.Encoded()[:12]) {
			t.Errorf("layers/ of the moved tag holds %q", got)
		}
		if got := person("cat digest"); got != string(old.Digest)+"\n" {
			t.Errorf("the old directory's digest is %s", got)
		}
		person("cd " + dir)
		if got := person("cat digest"); got != string(fresh.Digest)+"\n" {
			t.Errorf("after entering again the digest is %s", got)
		}
		person("cd / && exec 3<&-")
	})
}

// Everything that would change something is EROFS.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	s := startOlareg(t, registries.Options{})
	image := must(repo(t, s, testImage).Image(t.Context(), "v1", content.Small("x")))(t)
	for _, flags := range [][]string{nil, {"--read-only"}} {
		m := testMount(t, mounting{flags: flags})
		file, dir := m.at(s, testImage, "tags/v1/manifest.json"), m.at(s, testImage, "tags/v1")
		m.holds(file, image.Bytes)
		s.Forget()
		m.probe("EROFS", "create", dir+"/new")
		m.probe("EROFS", "create", file)
		m.probe("EROFS", "mkdir", m.at(s, testImage, "tags/new"))
		m.probe("EROFS", "remove", file)
		m.probe("EROFS", "remove", dir)
		m.probe("EROFS", "chmod", file)
		m.probe("EROFS", "truncate", file)
		m.probe("EROFS", "mkdir", m.Dir+"/new")
		for _, r := range s.Requests() {
			if r.Method != "GET" && r.Method != "HEAD" {
				t.Errorf("sent %v", r)
			}
		}
	}
}

// .ocifs/ tells about the mount, in forms that programs read.
func TestControlFiles(t *testing.T) {
	t.Parallel()
	s := startOlareg(t, registries.Options{})
	must(repo(t, s, testImage).Image(t.Context(), "v1", content.Sample("v1")))(t)
	m := testMount(t, mounting{setup: dockerLogin(t, s, "jane", "secret-word")})
	m.sh("cat %s/layers/* >/dev/null", m.at(s, testImage, "tags/v1"))
	for _, name := range []string{"version", "config.json", "stats.json", "transfers.json", "errors.jsonl"} {
		if listed := m.list(m.Dir + "/.ocifs"); !slices.Contains(listed, name) {
			t.Errorf(".ocifs lists %q, without %s", listed, name)
		}
	}
	m.sh("jq -e 'type == \"object\"' $M/.ocifs/config.json && jq -e 'type == \"object\"' $M/.ocifs/stats.json && jq -e '. == []' $M/.ocifs/transfers.json")
	if got, want := m.sh("cat $M/.ocifs/version"), m.sh("%s version | head -n 1", raceBin); got != want || len(got) < len("ocifs 1\n") {
		t.Errorf("the mount's version is %q, and the command's %q", got, want)
	}
	if strings.Contains(m.sh("cat $M/.ocifs/*"), "secret-word") {
		t.Error("a password is shown in .ocifs")
	}
	if got := m.sh("wc -c <$M/.ocifs/config.json; stat -c %%s $M/.ocifs/config.json"); len(slices.Compact(strings.Fields(got))) != 1 {
		t.Errorf("config.json's size read and stated: %q", got)
	}
}
