package integration

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/mount"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// makeLayers makes what a build brings on top of a base system of Debian, in $D: middle.tar has
// files and hard links of its own, upper.tar deletes and replaces.
const makeLayers = `
set -eu
cd $D
mkdir middle upper
cd middle
mkdir -p opt/links opt/gone/deep opt/opaque/deep opt/replaced/deep opt/kept srv
echo text >opt/links/a; ln opt/links/a opt/links/b; ln opt/links/a opt/kept/c; echo more >opt/links/d; ln opt/links/d srv/d
ln -s a opt/links/symlink; ln -s /etc/passwd opt/links/absolute; ln -s ../../../../../etc/passwd opt/links/climbs
for d in gone opaque replaced; do echo x >opt/$d/deep/file; echo x >opt/$d/file; done
echo x >opt/tobedir; touch -d '1969-07-20 20:17:40.25' opt/kept/early; mkfifo opt/kept/pipe; mknod opt/kept/disk b 259 7
chown 12345:54321 opt/kept; chmod 2750 opt/kept
tar --numeric-owner --format=posix -cf ../middle.tar .
cd ../upper
mkdir -p etc usr/bin usr/share/zoneinfo/Europe usr/share/doc/new opt/links opt/opaque opt/tobedir lib proc
echo changed >etc/passwd; chmod 4711 etc/passwd
touch usr/bin/.wh.perl usr/share/.wh.locale usr/share/zoneinfo/.wh.America usr/share/zoneinfo/Europe/.wh.Berlin
echo new >usr/share/man; ln -s doc usr/share/lintian; echo new >usr/share/doc/new/README; touch usr/share/doc/.wh..wh..opq
touch opt/.wh.gone opt/opaque/.wh..wh..opq
echo new >opt/opaque/new; echo new >opt/replaced; echo new >opt/tobedir/file; echo changed >opt/links/a; echo new >lib/new
ln -s replaced opt/links/b.new; mkdir -m 700 opt/kept; chown 1:2 opt/kept; chmod 700 proc
tar --numeric-owner --format=posix -cf ../upper.tar etc/passwd usr/bin/.wh.perl usr/share/.wh.locale usr/share/zoneinfo/.wh.America \
	usr/share/zoneinfo/Europe/.wh.Berlin usr/share/man usr/share/lintian usr/share/doc opt/.wh.gone opt/opaque opt/replaced \
	opt/tobedir opt/links/a opt/links/b.new opt/kept lib/new proc
`

// seen is what a person sees of a directory: by name its attributes, its number of links, its
// device number, its extended attributes and the digest of its content; and which names are one file.
type seen struct {
	attributes, links, devices, xattrs, sums map[string]string
	same                                     map[string][]string
}

// seesAll looks at all that is below a directory.
func (m *mounted) seesAll(dir string) (s seen) {
	m.t.Helper()
	s.attributes, s.same = entries(m.t, m.sh("cd %s/ && %s", dir, attributes))
	s.links = map[string]string{}
	for name, stat := range s.attributes {
		f := strings.Split(stat, " ")
		s.links[name] = f[5]
		s.attributes[name] = strings.Join(slices.Delete(f, 5, 6), " ")
	}
	for _, names := range s.same {
		if strings.HasPrefix(s.attributes[names[0]], "l ") { // a hard-linked symlink is one of its own at each name
			delete(s.same, names[0])
		}
	}
	fields := func(script, separator string) map[string]string {
		found := map[string]string{}
		for line := range strings.Lines(m.sh("cd %s/ && %s", dir, script)) {
			value, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), separator)
			found[name] = value
		}
		return found
	}
	s.sums = fields("find * -type f -print0 | xargs -0 sha256sum", "  ")
	s.devices = fields("find * -type c -o -type b | xargs -r stat -c '%t,%T %n'", " ")
	s.xattrs = map[string]string{}
	for line := range strings.Lines(m.sh("%s xattrs %s/ | LC_ALL=C sort", probeBin, dir)) {
		name, attribute, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if attribute != "" && !strings.HasPrefix(attribute, "user.oci") { // the mount's own
			s.xattrs[name] += attribute + "\n"
		}
	}
	return s
}

// A base system of Debian, with layers that delete, replace and link, is what others make of the
// same image: umoci, and buildah, which has podman's storage.
func TestInsideAsOthersSeeIt(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Log("only root can unpack an image with its owners and devices")
		return
	}
	out := t.TempDir()
	sh := func(script string) string {
		t.Helper()
		r, err := mount.Run(limit(t, 3*time.Minute), append(mount.Env(out, toolsDir), "D="+out), script)
		if err != nil || r.Code != 0 {
			t.Fatalf("%s: %v, exit code %d, %s", script, err, r.Code, r.Stderr)
		}
		return r.Stdout
	}
	debian := filepath.Join(root, "bin/debian-bookworm.tar.gz") // from integration/setup.sh
	diffID, _, _ := strings.Cut(sh("gzip -dc "+debian+" | sha256sum"), " ")
	sh(makeLayers)
	made := func(name string) []byte { return must(os.ReadFile(filepath.Join(out, name)))(t) }
	capable := file("srv/capable", "text")
	capable.PAXRecords = map[string]string{
		"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", // cap_net_raw=ep
		"SCHILY.xattr.user.kind":           "bytes \x00\xff",
	}
	layers := []content.Layer{{Packed: must(os.ReadFile(debian))(t), DiffID: digest.NewDigestFromEncoded(digest.SHA256, diffID)}}
	for _, a := range [][]byte{made("middle.tar"), tarOf(t, capable), made("upper.tar")} {
		layers = append(layers, content.Layer{Archive: a})
	}
	for i := range layers {
		layers[i].MediaType = ocispec.MediaTypeImageLayerGzip
	}
	s := startDistribution(t, registries.Options{})
	must(repo(t, s, testImage).Image(t.Context(), "v1", content.Image{Layers: layers}))(t)
	// With the race detector the layers of Debian take half a minute more.
	m := testMount(t, mounting{plain: true, flags: []string{"--symlinks", "verbatim", "--xattr"}})
	v1 := m.at(s, testImage, "tags/v1")
	mine := m.seesAll(v1 + "/rootfs")
	if len(mine.attributes) < 3000 || len(mine.devices) < 9 || len(mine.xattrs) != 1 {
		t.Errorf("the system has %d names, the devices %v and the attributes %v", len(mine.attributes), mine.devices, mine.xattrs)
	}

	// Within one archive a symlink above a path is followed, and not that of another layer.
	sh("umoci unpack --image " + v1 + ":v1 $D/umoci")
	compare(t, "umoci", mine, m.seesAll(out+"/umoci/rootfs"), map[string]string{
		"lib": "a symlink of a lower layer isn't replaced: see lib/new", "lib/new": "follows it", "usr/lib/new": "follows it",
		"opt/kept/c": otherLinks, "opt/links/b": otherLinks, "usr/bin/perl5.36.0": otherLinks,
	})

	storage := "buildah --root $D/storage --runroot $D/run --storage-driver overlay "
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		must(mount.Run(ctx, append(mount.Env(out), "D="+out), storage+"rm -a; umount $D/storage/overlay; true"))(t)
	})
	// buildah makes a name of the layout's path, which has to be in lower case.
	container := sh("cd " + filepath.Dir(v1) + " && " + storage + "from --pull-always oci:v1:v1")
	// Times before 1970 are as they are, and a merged directory has the time of the uppermost
	// entry that describes it.
	known := map[string]string{"opt/kept/early": "it is raised to 1970"}
	for _, name := range []string{"etc", "lib", "opt", "opt/links", "srv", "usr", "usr/bin", "usr/share", "usr/share/zoneinfo", "usr/share/zoneinfo/Europe"} {
		known[name] = "a directory that an upper layer implies has the time of the unpacking"
	}
	compare(t, "buildah", mine, m.seesAll(strings.TrimSpace(sh(storage+"mount "+container))), known)
}

// A hard link to a file of a lower layer is that file, as for umoci. Storages that keep layers apart,
// containerd's and buildah's, refuse the image.
func TestInsideLinksAcrossLayers(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Log("only root can unpack an image with its owners")
		return
	}
	low := tarOf(t, dir("usr/"), file("usr/run", "run").mode(0o4755).owner(12, 34), file("usr/text", "text"), hardlink("usr/text2", "usr/text"))
	high := tarOf(t, dir("opt/"), hardlink("opt/run", "usr/run").mode(0o4755).owner(12, 34), hardlink("opt/text", "usr/text").mode(0o644))
	s := startOlareg(t, registries.Options{})
	must(repo(t, s, testImage).Image(t.Context(), "v1", content.Image{Layers: layersOf(low, high)}))(t)
	m := testMount(t, mounting{flags: []string{"--xattr"}})
	v1, out := m.at(s, testImage, "tags/v1"), t.TempDir()
	mine := m.seesAll(v1 + "/rootfs")
	if want := []string{"opt/text", "usr/text", "usr/text2"}; !slices.Equal(mine.same["opt/text"], want) {
		t.Errorf("the names of one file are %v, want %q", mine.same, want)
	}
	m.sh("umoci unpack --image %s:v1 %s/umoci", v1, out)
	compare(t, "umoci", mine, m.seesAll(out+"/umoci/rootfs"), map[string]string{
		"opt/run": otherLinks, "usr/run": otherLinks, "opt/text": otherLinks, "usr/text": otherLinks, "usr/text2": otherLinks,
	})
}

// otherLinks is why a file has another number of links: an upper layer has another name of it, or
// takes one away.
const otherLinks = "the mount counts the names in the file's own layer"

// compare compares what is seen of an image with what another program makes of it. known says which
// names are different, and why.
func compare(t *testing.T, who string, mine, theirs seen, known map[string]string) {
	t.Helper()
	same := func(what string, mine, theirs map[string]string, isKnown func(why string) bool) {
		t.Helper()
		mine, theirs = maps.Clone(mine), maps.Clone(theirs)
		for name, why := range known {
			if isKnown(why) {
				delete(mine, name)
				delete(theirs, name)
			}
		}
		if d := differences(theirs, mine); d != "" {
			t.Errorf("%s sees other %s:\n%s", who, what, d)
		}
	}
	follows := func(why string) bool { return why == "follows it" }
	same("attributes", mine.attributes, theirs.attributes, func(why string) bool { return why != otherLinks })
	same("numbers of links", mine.links, theirs.links, func(why string) bool { return why != "" })
	same("contents", mine.sums, theirs.sums, follows)
	same("devices", mine.devices, theirs.devices, follows)
	same("extended attributes", mine.xattrs, theirs.xattrs, follows)
	if d := differences(theirs.same, mine.same); d != "" {
		t.Errorf("%s has other hard links:\n%s", who, d)
	}
	for name, why := range known {
		if mine.attributes[name] == theirs.attributes[name] && mine.links[name] == theirs.links[name] {
			t.Errorf("%s has the same %s by now, other than: %s", who, name, why)
		}
	}
}
