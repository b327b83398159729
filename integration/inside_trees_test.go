package integration

import (
	"archive/tar"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/mount"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// strange gives an image whose layers have what layers have in the wild, as far as a tree of this
// system can show it. The lowest layer is the first.
func strange(t *testing.T) [][]byte {
	long := strings.Repeat("n", 255)
	return [][]byte{
		tarOf(t,
			dir("./"), dir("etc/").mode(0o700), file("etc/passwd", "base"), file("etc/gone", "x"), file("etc/stays", "x"),
			dir("usr/"), dir("usr/lib/"), file("usr/lib/libc", "c"), dir("usr/sbin/"), file("usr/sbin/low", "x"),
			symlink("lib", "usr/lib"), symlink("sbin", "usr/sbin"), file("lib/through", "x"),
			// hard links
			file("links/a", "shared").mode(0o640).owner(7, 8), hardlink("links/b", "links/a"), hardlink("links/c", "/links/a"),
			hardlink("links/early", "links/late"), file("links/late", "late"),
			hardlink("links/self", "links/self"), hardlink("links/c1", "links/c2"), hardlink("links/c2", "links/c1"),
			symlink("links/s", "a"), hardlink("links/hs", "links/s"),
			// what the layers above hide or replace
			file("opq/low", "x"), file("opq/d/low", "x"), dir("both/").mode(0o700), file("both/low", "x"),
			file("tofile/x", "x"), file("todir", "x"), file("w/one", "low"), file("w/two", "low"), file("w/dir/low", "x"),
			// an entry twice
			file("dup", "first"), file("dup", "second").mode(0o600), dir("dupdir/").mode(0o700), file("dupdir/x", "x"), dir("dupdir/").mode(0o750),
			dir("dupfile/"), file("dupfile/x", "x"), file("dupfile", "a file"),
			// symlinks
			symlink("up", "../../../../etc/passwd"), symlink("a/b/abs", "/etc/passwd"), symlink("a/b/climbs", "../../../../../etc/passwd"),
			symlink("loop", "loop"), symlink("nowhere", "/none/where"), symlink("a/top", "../../.."), symlink("a/via", "top/../etc/passwd"),
			symlink("proc", "/proc/self/root/etc"),
			// names
			file("names/\xff\xfe", "bytes"), file("names/new\nline", "x"), file("names/"+long, "x"), file("names/"+long+"m", "x"),
			file(`names/back\slash`, "x"), file("names/co:lon", "x"), file("names/é", "x"), file("names/ sp ace", "x"),
			file("./names/dot", "x"), file("/names/abs", "x"), file("../names/climbs", "x"), file("names//y", "x"), file("names/./z/../w", "x"),
			// attributes
			file("mode/setuid", "x").mode(0o4755), file("mode/setgid", "x").mode(0o2755), dir("mode/sticky/").mode(0o1777), file("mode/none", "x").mode(0),
			device("dev/null", tar.TypeChar, 1, 3), device("dev/zero", tar.TypeChar, 0, 0), device("dev/sd", tar.TypeBlock, 8, 300), device("dev/pipe", tar.TypeFifo, 0, 0),
			file("time/nano", "x").at(time.Unix(1700000000, 123456789)), file("time/before", "x").at(time.Unix(-1000, 0)),
			file("time/fraction", "x").at(time.Unix(-2, 500000000)), file("time/far", "x").at(time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)),
			file("time/zero", "x").at(time.Unix(0, 0)), dir("time/dir/").at(time.Unix(1700000000, 1)),
			file("ids/big", "x").owner(3000000000, 1<<21+5), file("ids/negative", "x").owner(-2, -2).as(tar.FormatGNU),
			file("empty", ""),
		),
		tarOf(t,
			file("etc/passwd", "upper"), file("etc/.wh.gone", ""), dir("etc/").mode(0o711).at(time.Unix(1700000001, 0)),
			file("sbin/high", "y"), // a directory over a symlink
			file("links/a", "another"), hardlink("cross", "links/b"), hardlink("crosslib", "lib/libc"), hardlink("crossnone", "none"),
			file("opq/high", "y"), file("opq/d/high", "y"), file("opq/.wh..wh..opq", ""),
			dir("both/"), file("both/high", "y"), file(".wh.both", ""),
			file("tofile", "a file"), file("todir/x", "y"),
			file("w/one", "high"), file("w/.wh.one", ""), file("w/.wh.two", ""), file("w/two", "high"), symlink("w/.wh.dir", "x"),
			file(".wh.none", ""), file("q/.wh.x", ""), file("w/.wh.", ""), file(".wh..wh.plnk/1", "x"), file(".wh..wh.aufs", ""),
		),
		tarOf(t),
		tarOf(t, file("etc/new", "third"), file("w/two/x", "a parent that was a file")),
		tarOf(t),
	}
}

// strangeTree is what that image shows: the type, the permission bits, the owner, the size, the
// time, the number of links, and the target of a symlink.
func strangeTree() map[string]string {
	const made = "1709208000" // content.Made
	const image = "315532800" // 1980-01-01, the time of directories that no entry describes
	implied := "d 755 0:0 - " + image + " -"
	described := "d 755 0:0 - " + made + " -"
	f := func(size string) string { return "f 644 0:0 " + size + " " + made + " 1" }
	l := func(target string) string {
		return "l 777 0:0 " + strconv.Itoa(len(target)) + " " + made + " 1 → " + target
	}
	return map[string]string{
		"etc": "d 711 0:0 - 1700000001 -", "etc/passwd": f("5"), "etc/stays": f("1"), "etc/new": f("5"),
		"usr": described, "usr/lib": described, "usr/lib/libc": "f 644 0:0 1 " + made + " 1", "usr/lib/through": f("1"),
		"usr/sbin": described, "usr/sbin/low": f("1"), "lib": l("usr/lib"), "sbin": implied, "sbin/high": f("1"),
		"links": implied, "links/a": f("7"), "links/b": "f 640 7:8 6 " + made + " 3", "links/c": "f 640 7:8 6 " + made + " 3", "cross": "f 640 7:8 6 " + made + " 3",
		"links/early": "f 644 0:0 4 " + made + " 2", "links/late": "f 644 0:0 4 " + made + " 2", "links/s": l("a"), "links/hs": l("a"),
		"crosslib": f("1"),
		"opq":      implied, "opq/high": f("1"), "opq/d": implied, "opq/d/high": f("1"),
		"both": described, "both/high": f("1"),
		"tofile": f("6"), "todir": implied, "todir/x": f("1"),
		"w": implied, "w/one": f("4"), "w/two": implied, "w/two/x": f("24"), "q": implied,
		"dup": "f 600 0:0 6 " + made + " 1", "dupdir": "d 750 0:0 - " + made + " -", "dupdir/x": f("1"), "dupfile": f("6"),
		"up": l("etc/passwd"), "a": implied, "a/b": implied, "a/b/abs": l("../../etc/passwd"), "a/b/climbs": l("../../etc/passwd"),
		"loop": l("loop"), "nowhere": l("none/where"), "a/top": l(".."), "a/via": l("../etc/passwd"), "proc": l("proc/self/root/etc"),
		"names": implied, "names/\xff\xfe": f("5"), "names/new\nline": f("1"), "names/" + strings.Repeat("n", 255): f("1"),
		`names/back\slash`: f("1"), "names/co:lon": f("1"), "names/é": f("1"), "names/ sp ace": f("1"),
		"names/dot": f("1"), "names/abs": f("1"), "names/climbs": f("1"), "names/y": f("1"), "names/w": f("1"),
		"mode": implied, "mode/setuid": "f 4755 0:0 1 " + made + " 1", "mode/setgid": "f 2755 0:0 1 " + made + " 1",
		"mode/sticky": "d 1777 0:0 - " + made + " -", "mode/none": "f 0 0:0 1 " + made + " 1",
		"dev": implied, "dev/null": "c 640 0:0 0 " + made + " 1", "dev/zero": "c 640 0:0 0 " + made + " 1", "dev/sd": "b 640 0:0 0 " + made + " 1", "dev/pipe": "p 640 0:0 0 " + made + " 1",
		"time": implied, "time/nano": "f 644 0:0 1 1700000000.123456789 1", "time/before": "f 644 0:0 1 -1000 1", "time/fraction": "f 644 0:0 1 -2.5 1", // -1.5: find writes the seconds and their fraction apart

		"time/far": "f 644 0:0 1 10413792000 1", "time/zero": "f 644 0:0 1 0 1", "time/dir": "d 755 0:0 - 1700000000.000000001 -",
		"ids": implied, "ids/big": "f 644 3000000000:2097157 1 " + made + " 1", "ids/negative": "f 644 4294967294:4294967294 1 " + made + " 1",
		"empty": f("0"),
	}
}

// A strange image shows what layers.md says: attributes, contents, links.
func TestInsideStrangeTrees(t *testing.T) {
	t.Parallel()
	s := startOlareg(t, registries.Options{})
	must(repo(t, s, testImage).Image(t.Context(), "v1", content.Image{Layers: layersOf(strange(t)...)}))(t)
	m := testMount(t, mounting{})
	rootfs := m.at(s, testImage, "tags/v1/rootfs")
	for _, how := range []string{"cold", "warm"} {
		all, same := entries(t, m.sh("cd %s/ && %s", rootfs, attributes))
		if d := differences(all, strangeTree()); d != "" {
			t.Errorf("%s:\n%s", how, d)
		}
		wantSame := map[string][]string{
			"cross":       {"cross", "links/b", "links/c"},
			"crosslib":    {"crosslib", "usr/lib/libc"},
			"links/early": {"links/early", "links/late"},
		}
		if d := differences(same, wantSame); d != "" {
			t.Errorf("%s: names of one file:\n%s", how, d)
		}
	}
	copiesAre(t, m, rootfs, strangeTree())
	for path, text := range map[string]string{
		"etc/passwd": "upper", "etc/new": "third", "links/a": "another", "links/b": "shared", "links/hs": "another", "links/early": "late",
		"dup": "second", "dupfile": "a file", "w/one": "high", "w/two/x": "a parent that was a file", "names/\xff\xfe": "bytes",
		"up": "upper", "a/b/abs": "upper", "a/b/climbs": "upper", "a/via": "upper", "crosslib": "c", "empty": "",
	} {
		m.holds(rootfs+"/"+path, []byte(text))
	}
	if got := m.sh("stat -L -c '%%t,%%T' %[1]s/dev/null %[1]s/dev/zero %[1]s/dev/sd", rootfs); got != "1,3\n0,0\n8,12c\n" {
		t.Errorf("the devices' numbers are %q", got)
	}
	for path, want := range map[string]string{
		"loop": "ELOOP", "nowhere": "ENOENT", "etc/gone": "ENOENT", "etc/.wh.gone": "ENOENT", "links/self": "ENOENT", "opq/low": "ENOENT",
		"names/" + strings.Repeat("n", 256): "ENOENT", "proc/passwd": "ELOOP", // proc leads to itself

	} {
		m.probe(want, "read", rootfs+"/"+path)
	}
	m.probe("ENOENT", "stat", rootfs+"/..none")
	m.probe("EROFS", "create", rootfs+"/new")

	// What isn't there is told: by layer, with the names.
	told := m.sh("jq -r '.cause' $M/.ocifs/errors.jsonl")
	for _, want := range []string{"layer 1 of 5 of ", "links/c1", `"crossnone" isn't shown: it is a hard link to`, `"w/.wh." isn't shown: it is a whiteout`} {
		if !strings.Contains(told, want) {
			t.Errorf("errors.jsonl doesn't tell of %q:\n%s", want, told)
		}
	}

	// unpacked/ shows a layer as it is.
	second := m.at(s, testImage, "tags/v1/unpacked/01-*")
	got := m.sh("cd %s/ && find . -name '.wh*' | LC_ALL=C sort && test ! -s etc/.wh.gone && ls sbin && test ! -e cross && cat q/.wh.x", second)
	want := "./.wh..wh.aufs\n./.wh..wh.plnk\n./.wh.both\n./.wh.none\n./etc/.wh.gone\n./opq/.wh..wh..opq\n./q/.wh.x\n./w/.wh.\n./w/.wh.dir\n./w/.wh.one\n./w/.wh.two\nhigh\n"
	if got != want {
		t.Errorf("the second layer's whiteouts:\n%s want\n%s", got, want)
	}
	// A file is one inode wherever it shows.
	first := m.at(s, testImage, "tags/v1/unpacked/00-*")
	if got := m.sh("stat -c %%i %s/links/b %s/links/a %s/links/b | uniq | wc -l", rootfs, first, first); got != "1\n" {
		t.Errorf("a file of a layer has %s inodes", got)
	}
}

// copiesAre checks that copies of a directory by rsync and tar are as all says.
func copiesAre(t *testing.T, m *mounted, dir string, all map[string]string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Log("only root can copy owners and devices")
		return
	}
	out := t.TempDir()
	for who, copies := range map[string]string{
		"rsync": "rsync -aHX --numeric-ids " + dir + "/ .",
		"tar":   "tar -C " + dir + "/ --numeric-owner --format=posix -c . | tar --numeric-owner -xp",
	} {
		copied, _ := entries(t, m.sh("mkdir %[1]s && cd %[1]s && %[2]s && %[3]s", filepath.Join(out, who), copies, attributes))
		if d := differences(withoutLinks(copied), withoutLinks(all)); d != "" {
			t.Errorf("the copy by %s:\n%s", who, d)
		}
	}
}

// withoutLinks takes the numbers of links away: those of the mount are the layer's.
func withoutLinks(all map[string]string) map[string]string {
	all = maps.Clone(all)
	for name, stat := range all {
		f := strings.Split(stat, " ")
		all[name] = strings.Join(slices.Delete(f, 5, 6), " ")
	}
	return all
}

// A sparse file reads as the whole file, by whatever format tar wrote it.
func TestInsideSparseFiles(t *testing.T) {
	t.Parallel()
	s := startOlareg(t, registries.Options{})
	dir := t.TempDir()
	whole := append(make([]byte, mib), "middle"...)
	whole = append(append(whole, make([]byte, 2*mib)...), "end"...)
	whole = append(whole, make([]byte, mib)...)
	if err := os.WriteFile(filepath.Join(dir, "plain"), whole, 0o644); err != nil {
		t.Fatal(err)
	}
	var archives [][]byte
	formats := []string{"gnu", "posix --sparse-version=0.0", "posix --sparse-version=0.1", "posix --sparse-version=1.0"}
	for i, format := range formats {
		r := must(mount.Run(limit(t, time.Minute), mount.Env(dir), "cd "+dir+" && cp --sparse=always plain "+strconv.Itoa(i)+" && tar -S --format="+format+" -cf "+strconv.Itoa(i)+".tar "+strconv.Itoa(i)))(t)
		if r.Code != 0 {
			t.Fatalf("tar: %s", r.Stderr)
		}
		archives = append(archives, must(os.ReadFile(filepath.Join(dir, strconv.Itoa(i)+".tar")))(t))
	}
	must(repo(t, s, testImage).Image(t.Context(), "v1", content.Image{Layers: layersOf(archives...)}))(t)
	m := testMount(t, mounting{})
	for i, format := range formats {
		m.sh("cmp %s/plain %s", dir, m.at(s, testImage, "tags/v1/rootfs", strconv.Itoa(i)))
		if t.Failed() {
			t.Errorf("%s", format)
		}
	}
	m.sh("cd %s && for i in 0 1 2 3; do cmp -n 10 -i 1048570:1048570 plain %[2]s/$i; test $(stat -c %%s %[2]s/$i) = %[3]d; done", dir, m.at(s, testImage, "tags/v1/rootfs"), len(whole))
}
