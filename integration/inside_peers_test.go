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

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/mount"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// makeSystem makes two layers in $D: base.tar has parts of this machine's system and some hard links,
// and upper.tar has what a build on top of it changes.
const makeSystem = `
set -eu
cd $D
mkdir base upper
for d in /etc /usr/share/zoneinfo /usr/bin/passwd /usr/bin/mount; do [ ! -e $d ] || echo $d; done |
	xargs tar -cP --exclude='shadow*' --exclude='gshadow*' --exclude=ssh --exclude=ssl | tar -xC base
cd base
mkdir -p usr/lib opt/links opt/gone/deep opt/opaque/deep opt/replaced/deep opt/kept
mkdir -m 1777 tmp
ln -s usr/lib lib
echo text >opt/links/a; ln opt/links/a opt/links/b; ln opt/links/a opt/kept/c; ln usr/bin/passwd opt/links/passwd
ln -s a opt/links/symlink; ln -s /etc/passwd opt/links/absolute; ln -s ../../../../../etc/passwd opt/links/climbs
cp -al usr/share/zoneinfo/Europe opt/zones
for d in gone opaque replaced; do echo x >opt/$d/deep/file; echo x >opt/$d/file; done
echo x >opt/tobedir; touch -d '1969-07-20 20:17:40.25' opt/kept/early; mkfifo opt/kept/pipe; chown 12345:54321 opt/kept; chmod 2750 opt/kept
tar --numeric-owner --format=posix -cf ../base.tar .; gzip -1kn ../base.tar
cd ../upper
mkdir -p etc usr/share/zoneinfo/Europe opt/links opt/opaque opt/tobedir lib
echo changed >etc/passwd; chmod 4711 etc/passwd
touch usr/share/zoneinfo/.wh.America usr/share/zoneinfo/Europe/.wh.Berlin opt/.wh.gone opt/opaque/.wh..wh..opq
echo new >opt/opaque/new; echo new >opt/replaced; echo new >opt/tobedir/file; echo changed >opt/links/a; echo new >lib/new
ln -s replaced opt/links/b.new; mkdir -m 700 opt/kept; chown 1:2 opt/kept
tar --numeric-owner --format=posix -cf ../upper.tar etc/passwd usr/share/zoneinfo/.wh.America usr/share/zoneinfo/Europe/.wh.Berlin \
	opt/.wh.gone opt/opaque opt/replaced opt/tobedir opt/links/a opt/links/b.new opt/kept lib/new
`

// withoutLinkCounts takes the numbers of links away: those of the mount are the layer's.
func withoutLinkCounts(all map[string]string) map[string]string {
	for name, stat := range all {
		f := strings.Split(stat, " ")
		all[name] = strings.Join(slices.Delete(f, 5, 6), " ")
	}
	return all
}

// A system of some thousand files, with an upper layer that deletes and replaces, is what others
// make of the same image: umoci, buildah (which has podman's storage), and copies by rsync and tar.
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
	sh(makeSystem)
	base, upper := must(os.ReadFile(filepath.Join(out, "base.tar")))(t), must(os.ReadFile(filepath.Join(out, "upper.tar")))(t)
	s := startOlareg(t, registries.Options{})
	layers := layersOf(base, upper)
	layers[0].Packed = must(os.ReadFile(filepath.Join(out, "base.tar.gz")))(t)
	layers[1].MediaType = layers[0].MediaType // umoci 0.4.7 knows no zstd
	must(repo(t, s, testImage).Image(t.Context(), "v1", content.Image{Layers: layers}))(t)
	m := testMount(t, mounting{flags: []string{"--symlinks", "verbatim"}})
	v1 := m.at(s, testImage, "tags/v1")

	look := func(dir string) (all map[string]string, same map[string][]string, sums map[string]string) {
		t.Helper()
		all, same = entries(t, m.sh("cd %s/ && %s", dir, attributes))
		sums = map[string]string{}
		for line := range strings.Lines(m.sh("cd %s/ && find * -type f -print0 | xargs -0 sha256sum", dir)) {
			sum, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
			sums[name] = sum
		}
		return withoutLinkCounts(all), same, sums
	}
	all, same, sums := look(v1 + "/rootfs")
	if len(all) < 2000 || len(same) < 50 {
		t.Errorf("the image has %d names, and %d files with several", len(all), len(same))
	}
	compare := func(who, dir string, known map[string]string) {
		t.Helper()
		theirs, theirSame, theirSums := look(dir)
		for name, why := range known {
			if all[name] == theirs[name] {
				t.Errorf("%s has the same %s by now, other than: %s", who, name, why)
			}
		}
		isKnown := func(name, _ string) bool { return known[name] != "" }
		mine, mySums := maps.Clone(all), maps.Clone(sums)
		for _, m := range []map[string]string{mine, theirs} {
			maps.DeleteFunc(m, isKnown)
		}
		if d := differences(theirs, mine); d != "" {
			t.Errorf("%s sees something else:\n%s", who, d)
		}
		for name, why := range known {
			if strings.HasPrefix(why, "umoci follows") {
				delete(mySums, name)
				delete(theirSums, name)
			}
		}
		if d := differences(theirSums, mySums); d != "" {
			t.Errorf("%s has other contents:\n%s", who, d)
		}
		for name := range theirSame {
			if strings.HasPrefix(all[name], "l ") { // layers.md: a hard-linked symlink is one of its own at each name
				delete(theirSame, name)
			}
		}
		if d := differences(same, theirSame); d != "" {
			t.Errorf("%s has other hard links:\n%s", who, d)
		}
	}
	sh("mkdir $D/rsync $D/tar && rsync -aHX --numeric-ids " + v1 + "/rootfs/ $D/rsync/ && tar -C " + v1 + "/rootfs/ --numeric-owner --format=posix -c . | tar -C $D/tar --numeric-owner -xp")
	compare("rsync", out+"/rsync", nil)
	compare("tar", out+"/tar", nil)

	// layers.md: within one archive a symlink above a path is followed, and not that of another layer.
	follows := map[string]string{
		"lib": "umoci follows a symlink of a lower layer", "lib/new": "umoci follows it", "usr/lib/new": "umoci follows it",
	}
	for name, umoci := range map[string]string{"umoci 0.6": "umoci", "umoci 0.4": "/usr/bin/umoci"} {
		dir := filepath.Join(out, filepath.Base(filepath.Dir(umoci))+"-bundle")
		sh(umoci + " unpack --image " + v1 + ":v1 " + dir)
		compare(name, dir+"/rootfs", follows)
	}

	storage := "buildah --root $D/storage --runroot $D/run --storage-driver overlay "
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		must(mount.Run(ctx, append(mount.Env(out), "D="+out), storage+"rm -a; umount $D/storage/overlay; true"))(t)
	})
	// buildah makes a name of the layout's path, which has to be in lower case.
	container := sh("cd " + filepath.Dir(v1) + " && " + storage + "from --pull-always oci:v1:v1")
	// layers.md: times before 1970 are as they are, and a merged directory has the time of the uppermost
	// entry that describes it.
	untimely := map[string]string{"opt/kept/early": "buildah raises it to 1970"}
	for _, name := range []string{"etc", "lib", "opt", "opt/links", "usr", "usr/share", "usr/share/zoneinfo", "usr/share/zoneinfo/Europe"} {
		untimely[name] = "buildah gives directories that the upper layer implies the time of the unpacking"
	}
	compare("buildah", strings.TrimSpace(sh(storage+"mount "+container)), untimely)
}
