package rootfs

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
)

// plain is a plain walk over an archive: what each path means.
type plain map[string]*tar.Header

// odd says that the model doesn't know what an archive means.
type odd struct{}

// parents makes the directories above a path.
func (m plain) parents(p string) {
	for i, c := range p {
		if c != '/' {
			continue
		}
		h, ok := m[p[:i]]
		switch {
		case ok && h.Typeflag == tar.TypeSymlink:
			panic(odd{})
		case !ok || h.Typeflag != tar.TypeDir:
			m.replace(p[:i], &tar.Header{Typeflag: tar.TypeDir, Mode: 0o755, Format: tar.FormatUnknown})
		}
	}
}

func (m plain) replace(p string, h *tar.Header) {
	maps.DeleteFunc(m, func(k string, _ *tar.Header) bool { return strings.HasPrefix(k, p+"/") })
	m[p] = h
}

// read reads an archive. ok is false if it has an odd case.
func (m plain) read(raw []byte) (ok bool) {
	defer func() {
		if p := recover(); p == any(odd{}) {
			ok = false
		} else if p != nil {
			panic(p)
		}
	}()
	r := tar.NewReader(bytes.NewReader(raw))
	for {
		h, err := r.Next()
		if err != nil {
			return err == io.EOF
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		p := clean(h.Name)
		for c := range strings.SplitSeq(p+"/"+clean(h.Linkname), "/") {
			if len(c) > 255 {
				return false
			}
		}
		h.Format = tar.FormatPAX // it is described
		switch h.Typeflag {
		case tar.TypeReg, tar.TypeDir, tar.TypeFifo, tar.TypeChar, tar.TypeBlock:
		case tar.TypeSymlink:
			if h.Linkname == "" || len(h.Linkname) > maxTarget {
				return false
			}
		case tar.TypeLink:
			h.Linkname = clean(h.Linkname)
		default:
			return false
		}
		if h.Size > 1<<20 || h.PAXRecords["GNU.sparse.major"] != "" || h.PAXRecords["GNU.sparse.map"] != "" {
			return false
		}
		if h.Typeflag == tar.TypeReg {
			b, err := io.ReadAll(r)
			if err != nil {
				return false
			}
			h.Uname = string(b) // the content
		}
		if p == "" {
			if h.Typeflag != tar.TypeDir {
				return false
			}
			continue
		}
		if h.Typeflag == tar.TypeLink {
			above := ""
			for c := range strings.SplitSeq(h.Linkname, "/") {
				if t, ok := m[above]; ok && t.Typeflag == tar.TypeSymlink {
					return false
				}
				above = strings.TrimPrefix(above+"/"+c, "/")
			}
			t, ok := m[h.Linkname]
			if !ok || t.Typeflag == tar.TypeDir {
				return false
			}
			if h = t; h.Typeflag == tar.TypeSymlink {
				h = new(*t)
			}
		}
		m.parents(p)
		if old, ok := m[p]; ok && old.Typeflag == tar.TypeDir && h.Typeflag == tar.TypeDir {
			m[p] = h
			continue
		}
		m.replace(p, h)
	}
}

// describe gives a line a path, in an order of its own.
func (m plain) describe() []string {
	var out []string
	first := make(map[*tar.Header]string)
	for _, p := range slices.Sorted(maps.Keys(m)) {
		h := m[p]
		name, ok := first[h]
		if !ok {
			first[h], name = p, p
		}
		s := fmt.Sprintf("%q is %q: %o %d %d", p, name, h.Mode&permMask, uint32(h.Uid), uint32(h.Gid))
		switch h.Typeflag {
		case tar.TypeReg:
			s += fmt.Sprintf(" file %q", h.Uname)
		case tar.TypeSymlink:
			s += fmt.Sprintf(" symlink %q", h.Linkname)
		case tar.TypeChar, tar.TypeBlock:
			s += fmt.Sprintf(" device %d", deviceNumber(h.Devmajor, h.Devminor))
		}
		if h.Format != tar.FormatUnknown {
			s += fmt.Sprintf(" %d.%d", h.ModTime.Unix(), h.ModTime.Nanosecond())
		}
		out = append(out, s)
	}
	return out
}

// walkIndex does with an index what can be done, and describes it as the model does. It stops
// after many names.
func walkIndex(x *Index, raw []byte) (out []string, err error) {
	first := make(map[Ino]string)
	var walk func(d Ino, above string) error
	steps := 0
	walk = func(d Ino, above string) error {
		names, err := x.List(d)
		if err != nil {
			return err
		}
		for _, n := range names {
			if steps++; steps > 20_000 {
				return nil
			}
			if n.Name == "" || n.Name == "." || n.Name == ".." || strings.ContainsAny(n.Name, "/\x00") || len(n.Name) > 255 {
				return fmt.Errorf("%w: the name %q", ErrIndex, n.Name)
			}
			a, err := x.Attr(n.Ino)
			if err != nil {
				return err
			}
			i, ok, err := x.Lookup(d, n.Name)
			if err != nil {
				return err
			}
			if !ok || i != n.Ino || a.Mode != n.Mode {
				return fmt.Errorf("%w: %q is %d or %d", ErrIndex, n.Name, n.Ino, i)
			}
			if _, err := x.Xattrs(i); err != nil {
				return err
			}
			p := above + n.Name
			name, ok := first[i]
			if !ok {
				first[i], name = p, p
			}
			s := fmt.Sprintf("%q is %q: %o %d %d", p, name, a.Mode&permMask, a.UID, a.GID)
			switch a.Mode & typeMask {
			case typeFile:
				data, err := x.Data(i)
				if err != nil {
					return err
				}
				b := make([]byte, min(data.Size, 1<<20))
				if _, err := data.ReadAt(bytes.NewReader(raw), b, 0); err != nil && err != io.EOF {
					return err
				}
				s += fmt.Sprintf(" file %q", b)
			case typeSymlink, 0:
				target, err := x.Target(i)
				if err != nil {
					return err
				}
				if a.LowerLink() && (target == "" || target != clean(target)) {
					return fmt.Errorf("%w: the path %q", ErrIndex, target)
				}
				s += fmt.Sprintf(" symlink %q", target)
			case typeChar, typeBlock:
				s += fmt.Sprintf(" device %d", a.Rdev)
			}
			if a.Described {
				s += fmt.Sprintf(" %d.%d", a.Mtime.Unix(), a.Mtime.Nanosecond())
			}
			out = append(out, s)
			if a.Mode&typeMask == typeDir {
				if err := walk(i, p+"/"); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := walk(Root, ""); err != nil {
		return nil, err
	}
	_, _, err = x.Notes()
	return out, err
}

// checkScan scans, and compares the index with the model. archive/tar says which archives are
// whole; what Scan refuses, it has a reason for.
func checkScan(t *testing.T, raw []byte) {
	b, err := encoded(bytes.NewReader(raw), raw)
	m := plain{}
	known := m.read(raw)
	if err != nil {
		if known && len(raw) >= block {
			t.Fatalf("Scan: %v", err)
		}
		return
	}
	x, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := walkIndex(x, raw)
	if err != nil {
		t.Fatal(err)
	}
	if !known {
		return
	}
	slices.Sort(got)
	want := m.describe()
	// The first name of a file depends on the order of the walk, which differs only by '/'.
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// FuzzScan scans arbitrary bytes, in which the checksums of headers are mended.
func FuzzScan(f *testing.F) {
	f.Add([]byte{})
	f.Add(archive(f, dir("d"), file("d/f", "1"), symlink("l", "d"), link("h", "d/f"), special("c", tar.TypeChar, 1, 2)))
	f.Add(archive(f, file(strings.Repeat("long/", 60)+"f", "1"), symlink("s", "/long/.."), file("s/x", "2"), link("y", "s/z")))
	f.Add(archive(f, file("p", "1").with(func(h *tar.Header) {
		h.PAXRecords = map[string]string{"SCHILY.xattr.user.a": "b"}
	})))
	f.Add(sparseOldGNU(f, "f", 700, piece{1, "a"}, piece{600, "b"}))
	f.Add(sparsePAX("0.1", "f", 700, piece{1, "a"}, piece{600, "b"}))
	f.Add(sparsePAX("1.0", "f", 700, piece{1, "a"}, piece{600, "b"}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		raw = bytes.Clone(raw)
		for b := raw; len(b) >= block; b = b[block:] {
			if string(b[257:262]) == "ustar" {
				sum(b)
			}
		}
		checkScan(t, raw)
	})
}

// FuzzEntries scans archives of entries whose few names meet each other often. Each entry is
// three bytes: the type, the name and the target.
func FuzzEntries(f *testing.F) {
	f.Add([]byte("f12d10l34h45f32h67"))
	f.Add([]byte{0, 1, 0, 3, 2, 1, 2, 3, 4, 1, 1, 0, 0, 1, 0})
	f.Fuzz(func(t *testing.T, ops []byte) {
		var entries []ent
		name := func(b byte) string {
			parts := []string{"a", "b", "..", "./c", "a"}
			return strings.Join([]string{parts[b%5], parts[b/5%5], parts[b/25%5]}[:1+b%3], "/")
		}
		for i := 0; len(ops) >= 3 && i < 200; i++ {
			n, target := name(ops[1]), name(ops[2])
			switch ops[0] % 5 {
			case 0, 1:
				entries = append(entries, file(n, fmt.Sprint(i)))
			case 2:
				entries = append(entries, dir(n).with(func(h *tar.Header) { h.Uid = i }))
			case 3:
				entries = append(entries, symlink(n, target))
			case 4:
				entries = append(entries, link(n, target))
			}
			ops = ops[3:]
		}
		checkScan(t, archive(t, entries...))
	})
}

// FuzzOpenIndex reads indexes that are damaged anywhere; the header's checksum is mended.
func FuzzOpenIndex(f *testing.F) {
	for _, raw := range [][]byte{
		archive(f), manyFiles(f, 200, 3), sparsePAX("1.0", "f", 700, piece{1, "a"}, piece{600, "b"}),
		archive(f, file("f", "1").with(func(h *tar.Header) { h.PAXRecords = map[string]string{"SCHILY.xattr.user.a": "b"} }),
			symlink("l", "f"), link("m", "n"), link("o", "o")),
	} {
		b, err := encoded(bytes.NewReader(raw), raw)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = bytes.Clone(b)
		if len(b) >= headerSize {
			if n := int(binary.LittleEndian.Uint32(b[12:])); n >= 4 && n <= len(b) {
				binary.LittleEndian.PutUint32(b[n-4:], crc32.ChecksumIEEE(b[:n-4]))
			}
		}
		x, err := Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		_, _ = walkIndex(x, nil)
		for i := range min(x.Len(), 1000) {
			_ = second(x.Data(Ino(i)))
			_ = second(x.Target(Ino(i)))
			_ = second(x.Xattrs(Ino(i)))
		}
	})
}

// FuzzUnpack unpacks arbitrary bytes.
func FuzzUnpack(f *testing.F) {
	raw := archive(f, file("f", "1"))
	for _, pack := range packings {
		f.Add(pack(f, raw))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		const most = 1 << 20
		if got, _ := unpack(b, Limits{Bytes: most}); len(got) > most {
			t.Errorf("%d bytes", len(got))
		}
	})
}
