package rootfs

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// ent is one entry of an archive that a test writes.
type ent struct {
	tar.Header
	data string
}

func file(name, data string) ent {
	return ent{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data))}, data}
}
func dir(name string) ent {
	return ent{Header: tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}}
}
func symlink(name, target string) ent {
	return ent{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}}
}
func link(name, target string) ent {
	return ent{Header: tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o600, Uid: 7}}
}
func special(name string, typeflag byte, major, minor int64) ent {
	return ent{Header: tar.Header{Typeflag: typeflag, Name: name, Mode: 0o600, Devmajor: major, Devminor: minor}}
}

// with changes the header of an entry.
func (e ent) with(f func(h *tar.Header)) ent {
	f(&e.Header)
	return e
}

// archive writes a tar.
func archive(t testing.TB, entries ...ent) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatalf("%q: %v", e.Name, err)
		}
		if _, err := io.WriteString(w, e.data); err != nil {
			t.Fatalf("%q: %v", e.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// index scans an archive, encodes its index and opens it.
func index(t testing.TB, raw []byte) *Index {
	t.Helper()
	x, err := indexOf(bytes.NewReader(raw), raw)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func indexOf(r io.Reader, raw []byte) (*Index, error) {
	b, err := encoded(r, raw)
	if err != nil {
		return nil, err
	}
	return Open(bytes.NewReader(b), int64(len(b)))
}

func encoded(r io.Reader, raw []byte) ([]byte, error) {
	s, err := Scan(r, bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = s.Encode(&b, Meta{Packed: "sha256:aa", DiffID: "sha256:bb", Size: int64(len(raw))})
	return b.Bytes(), err
}

// show lists all names of an index, one a line:
//
//	d/           a directory that an entry describes
//	d/?          a directory that no entry describes
//	f "data"     a file
//	g = f        another name of f
//	l -> target  a symlink
//	h => target  a LowerLink
//	t c 5:1      anything else, with the number of a device
//	! why        a Note
func show(t testing.TB, x *Index, raw []byte) string {
	t.Helper()
	var b strings.Builder
	seen := make(map[Ino]string)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var walk func(d Ino, path string)
	walk = func(d Ino, path string) {
		names, err := x.List(d)
		must(err)
		for _, n := range names {
			p := path + n.Name
			a, err := x.Attr(n.Ino)
			must(err)
			i, ok, err := x.Lookup(d, n.Name)
			if err != nil || !ok || i != n.Ino || a.Mode != n.Mode {
				t.Fatalf("%q: Lookup says %d, %v, %v; List says %d with mode %o, Attr %o", p, i, ok, err, n.Ino, n.Mode, a.Mode)
			}
			first, again := seen[n.Ino]
			seen[n.Ino] = p
			switch {
			case again:
				fmt.Fprintf(&b, "%s = %s\n", p, first)
				seen[n.Ino] = first
			case a.LowerLink():
				target, err := x.Target(n.Ino)
				must(err)
				fmt.Fprintf(&b, "%s => %s\n", p, target)
			case a.Mode&typeMask == typeSymlink:
				target, err := x.Target(n.Ino)
				must(err)
				fmt.Fprintf(&b, "%s -> %s\n", p, target)
				if a.Size != int64(len(target)) || a.Nlink != 1 {
					t.Errorf("%q: size %d, nlink %d", p, a.Size, a.Nlink)
				}
			case a.Mode&typeMask == typeFile:
				fmt.Fprintf(&b, "%s %q\n", p, content(t, x, n.Ino, raw))
			case a.Mode&typeMask == typeDir:
				mark := ""
				if !a.Described {
					mark = "?"
				}
				fmt.Fprintf(&b, "%s/%s\n", p, mark)
				walk(n.Ino, p+"/")
			default:
				kind := map[uint32]string{typeFifo: "p", typeChar: "c", typeBlock: "b"}[a.Mode&typeMask]
				fmt.Fprintf(&b, "%s %s %d:%d\n", p, kind, a.Rdev>>8&0xfff, a.Rdev&0xff|a.Rdev>>12&^0xff)
			}
		}
	}
	walk(Root, "")
	if len(seen)+1 != x.Len() {
		t.Errorf("Len is %d with %d Inos", x.Len(), len(seen)+1)
	}
	notes, count, err := x.Notes()
	must(err)
	for _, n := range notes {
		fmt.Fprintf(&b, "! %s: %s\n", n.Name, n.Why)
	}
	if count > len(notes) {
		fmt.Fprintf(&b, "! of %d\n", count)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// content reads a file, whole and by pieces.
func content(t testing.TB, x *Index, i Ino, raw []byte) string {
	t.Helper()
	d, err := x.Data(i)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(io.NewSectionReader(readerAt{d, raw}, 0, d.Size+1))
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(b)) != d.Size {
		t.Fatalf("%d bytes of %d", len(b), d.Size)
	}
	return string(b)
}

type readerAt struct {
	Data
	raw []byte
}

func (r readerAt) ReadAt(p []byte, off int64) (int, error) {
	return r.Data.ReadAt(bytes.NewReader(r.raw), p, off)
}

// lines makes what show gives of lines.
func lines(s ...string) string { return strings.Join(s, "\n") }

func find(t testing.TB, x *Index, path string) Ino {
	t.Helper()
	i := Root
	for c := range strings.SplitSeq(path, "/") {
		var ok bool
		var err error
		if i, ok, err = x.Lookup(i, c); err != nil || !ok {
			t.Fatalf("%q of %q: %v, %v", c, path, ok, err)
		}
	}
	return i
}

func attr(t testing.TB, x *Index, path string) Attr {
	t.Helper()
	a, err := x.Attr(find(t, x, path))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

var someTime = time.Unix(1234567890, 0)
