package integration

import (
	"archive/tar"
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/integration/internal/content"
)

// entry is an entry of an archive.
type entry struct {
	tar.Header
	text string
}

// The constructors of entries give them mode 0644, or 0755 for a directory, root as the owner,
// and the time content.Made.

func dir(name string) entry { return of(name, tar.TypeDir, 0o755) }

func file(name, text string) entry {
	e := of(name, tar.TypeReg, 0o644)
	e.text, e.Size = text, int64(len(text))
	return e
}

func symlink(name, target string) entry {
	e := of(name, tar.TypeSymlink, 0o777)
	e.Linkname = target
	return e
}

func hardlink(name, target string) entry {
	e := of(name, tar.TypeLink, 0o600) // a mode that says nothing
	e.Linkname = target
	return e
}

func device(name string, kind byte, major, minor int64) entry {
	e := of(name, kind, 0o640)
	e.Devmajor, e.Devminor = major, minor
	return e
}

func of(name string, kind byte, mode int64) entry {
	return entry{Header: tar.Header{Name: name, Typeflag: kind, Mode: mode, ModTime: content.Made, Format: tar.FormatPAX}}
}

func (e entry) mode(m int64) entry    { e.Mode = m; return e }
func (e entry) at(t time.Time) entry  { e.ModTime = t; return e }
func (e entry) owner(u, g int) entry  { e.Uid, e.Gid = u, g; return e }
func (e entry) as(f tar.Format) entry { e.Format = f; return e }

// tarOf writes entries as an archive, in their order.
func tarOf(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatalf("%q: %v", e.Name, err)
		}
		if _, err := w.Write([]byte(e.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// layersOf makes layers of archives, the lowest first: by turns of gzip, zstd and plain.
func layersOf(archives ...[]byte) (layers []content.Layer) {
	types := []string{ocispec.MediaTypeImageLayerGzip, ocispec.MediaTypeImageLayerZstd, ocispec.MediaTypeImageLayer}
	for i, a := range archives {
		layers = append(layers, content.Layer{MediaType: types[i%len(types)], Archive: a})
	}
	return layers
}

// attributes has find print what stat says of all files below a directory. The fields of a file
// end in a tab, files in a NUL, as names have newlines.
const attributes = `find . -mindepth 1 -printf '%P\t%y\t%m\t%U:%G\t%s\t%T@\t%n\t%i\t%l\0'`

// entries reads what attributes printed: by name, the type, the permission bits, the owner, the
// size, the time, the number of links, and the target of a symlink. Directories have no size and
// no number of links. same are the names that are one file, by the first of them.
func entries(t *testing.T, printed string) (all map[string]string, same map[string][]string) {
	t.Helper()
	all, same = map[string]string{}, map[string][]string{}
	inodes := map[string][]string{}
	for line := range strings.SplitSeq(strings.TrimSuffix(printed, "\x00"), "\x00") {
		f := strings.Split(line, "\t")
		if len(f) != 9 {
			t.Fatalf("find printed %q", line)
		}
		name, inode, target := f[0], f[7], f[8]
		stat := slices.Clone(f[1:7])
		stat[4] = strings.TrimRight(strings.TrimRight(stat[4], "0"), ".")
		if stat[0] == "d" {
			stat[3], stat[5] = "-", "-"
		} else {
			inodes[inode] = append(inodes[inode], name)
		}
		if target != "" {
			stat = append(stat, "→", target)
		}
		all[name] = strings.Join(stat, " ")
	}
	for _, names := range inodes {
		if len(names) > 1 {
			slices.Sort(names)
			same[names[0]] = names
		}
	}
	return all, same
}

// differences tells what is different in two trees, name by name, at most some dozen.
func differences[T any](got, want map[string]T) string {
	var b strings.Builder
	n := 0
	names := maps.Clone(got)
	maps.Copy(names, want)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		g, isThere := got[name]
		w, shouldBe := want[name]
		if isThere == shouldBe && fmt.Sprint(g) == fmt.Sprint(w) {
			continue
		}
		if n++; n > 30 {
			return b.String() + "and more\n"
		}
		fmt.Fprintf(&b, "%q\n  is        %v\n  should be %v\n", name, shown(g, isThere), shown(w, shouldBe))
	}
	return b.String()
}

func shown(v any, isThere bool) any {
	if !isThere {
		return "not there"
	}
	return v
}
