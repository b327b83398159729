package rootfs

import (
	"archive/tar"
	"encoding/base64"
	"maps"
	"math"
	"strings"
	"testing"
	"time"
)

// Attributes are the archive's, whatever they are.
func TestAttributes(t *testing.T) {
	far := time.Unix(1<<40, 0) // in the year 36812
	gnu := func(h *tar.Header) { h.Format = tar.FormatGNU }
	raw := archive(t,
		file("plain", "data").with(func(h *tar.Header) { h.Uid, h.Gid, h.ModTime, h.Mode = 1, 2, someTime, 0o4751 }),
		file("big-ids", "").with(func(h *tar.Header) { h.Uid, h.Gid, h.Format = 3_000_000_000, 1<<21, tar.FormatGNU }),
		file("pax-ids", "").with(func(h *tar.Header) { h.Uid, h.Gid, h.Format = 4_000_000_000, 1<<32-2, tar.FormatPAX }),
		file("negative", "").with(func(h *tar.Header) { h.Uid, h.Gid, h.Format = -1, -2, tar.FormatGNU }),
		file("nanos", "").with(func(h *tar.Header) { h.ModTime, h.Format = time.Unix(5, 123456789), tar.FormatPAX }),
		file("before", "").with(func(h *tar.Header) { h.ModTime, h.Format = time.Unix(-5, 500), tar.FormatPAX }),
		file("no-time", "").with(func(h *tar.Header) { h.ModTime = time.Unix(0, 0) }),
		file("far", "").with(func(h *tar.Header) { h.ModTime, h.Format = far, tar.FormatPAX }),
		file("type-bits", "").with(func(h *tar.Header) { h.Mode = 0o100640 }),
		special("device", tar.TypeBlock, 0xfff, 0xfffff).with(gnu),
		dir("dir").with(func(h *tar.Header) { h.Mode = 0o1777 }),
		file("implied/f", ""),
		file("linked", "xx").with(func(h *tar.Header) { h.Mode = 0o640 }),
		link("link1", "linked"), link("link2", "link1"), link("lower", "elsewhere"),
		dir("twice").with(func(h *tar.Header) { h.Mode, h.ModTime = 0o700, someTime }),
		dir("twice").with(func(h *tar.Header) { h.Uid = 3 }),
		dir("./").with(func(h *tar.Header) { h.Mode = 0o711 }))
	x := index(t, raw)
	epoch := time.Unix(0, 0)
	for _, c := range []struct {
		path string
		want Attr
	}{
		{"plain", Attr{Mode: typeFile | 0o4751, UID: 1, GID: 2, Size: 4, Mtime: someTime, Nlink: 1, Described: true}},
		{"big-ids", Attr{Mode: typeFile | 0o644, UID: 3_000_000_000, GID: 1 << 21, Mtime: epoch, Nlink: 1, Described: true}},
		{"pax-ids", Attr{Mode: typeFile | 0o644, UID: 4_000_000_000, GID: 1<<32 - 2, Mtime: epoch, Nlink: 1, Described: true}},
		{"negative", Attr{Mode: typeFile | 0o644, UID: math.MaxUint32, GID: math.MaxUint32 - 1, Mtime: epoch, Nlink: 1, Described: true}},
		{"nanos", Attr{Mode: typeFile | 0o644, Mtime: time.Unix(5, 123456789), Nlink: 1, Described: true}},
		{"before", Attr{Mode: typeFile | 0o644, Mtime: time.Unix(-5, 500), Nlink: 1, Described: true}},
		{"no-time", Attr{Mode: typeFile | 0o644, Mtime: epoch, Nlink: 1, Described: true}},
		{"far", Attr{Mode: typeFile | 0o644, Mtime: far, Nlink: 1, Described: true}},
		{"type-bits", Attr{Mode: typeFile | 0o640, Mtime: epoch, Nlink: 1, Described: true}},
		{"device", Attr{Mode: typeBlock | 0o600, Mtime: epoch, Nlink: 1, Rdev: 0xffffffff, Described: true}},
		{"dir", Attr{Mode: typeDir | 0o1777, Mtime: epoch, Nlink: 1, Described: true}},
		{"implied", Attr{Mode: typeDir | 0o755, Mtime: epoch, Nlink: 1}},
		{"linked", Attr{Mode: typeFile | 0o640, Size: 2, Mtime: epoch, Nlink: 3, Described: true}},
		{"link2", Attr{Mode: typeFile | 0o640, Size: 2, Mtime: epoch, Nlink: 3, Described: true}},
		{"lower", Attr{Mtime: epoch, Nlink: 1}},
		{"twice", Attr{Mode: typeDir | 0o755, UID: 3, Mtime: epoch, Nlink: 1, Described: true}},
	} {
		if got := attr(t, x, c.path); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.path, got, c.want)
		}
	}
	if a, err := x.Attr(Root); err != nil || !a.Described || a.Mode != typeDir|0o711 {
		t.Errorf("root: %+v, %v", a, err)
	}
}

// The root of an archive that has no entry for it is a directory that nothing describes.
func TestRootWithoutEntry(t *testing.T) {
	a, err := index(t, archive(t, file("f", ""))).Attr(Root)
	if err != nil || a.Described || a.Mode != typeDir|0o755 {
		t.Errorf("%+v, %v", a, err)
	}
}

// A time that a header doesn't have is 1970.
func TestAbsentTime(t *testing.T) {
	raw := archive(t, file("f", ""))
	clear(raw[136:148])
	sum(raw)
	if a := attr(t, index(t, raw), "f"); !a.Mtime.Equal(time.Unix(0, 0)) {
		t.Errorf("%v", a.Mtime)
	}
}

// sum writes the checksum of a header.
func sum(h []byte) {
	copy(h[148:156], "        ")
	n := 0
	for _, c := range h[:block] {
		n += int(c)
	}
	copy(h[148:156], octal(n, 7))
}

func octal(n, digits int) string {
	s := ""
	for range digits - 1 {
		s = string(rune('0'+n&7)) + s
		n >>= 3
	}
	return s + "\x00"
}

// Extended attributes are decoded from both spellings; what Linux can't have is left out.
func TestXattrs(t *testing.T) {
	records := map[string]string{
		"SCHILY.xattr.user.b":                      "\x00binary\xff",
		"SCHILY.xattr.security.capability":         "cap",
		"SCHILY.xattr.trusted.overlay.opaque":      "y",
		"LIBARCHIVE.xattr.user.b":                  base64.StdEncoding.EncodeToString([]byte("loses")),
		"LIBARCHIVE.xattr.user.a%20%3D":            base64.RawStdEncoding.EncodeToString([]byte("padding")),
		"LIBARCHIVE.xattr.user.padded":             base64.StdEncoding.EncodeToString([]byte("padding!")),
		"LIBARCHIVE.xattr.user.broken":             "***",
		"SCHILY.xattr.":                            "no name",
		"SCHILY.xattr." + strings.Repeat("n", 256): "long name",
		"SCHILY.xattr.user.long":                   strings.Repeat("v", 65537),
		"comment":                                  "none of these",
	}
	delete(records, "SCHILY.xattr.") // Go's writer refuses it
	with := func(h *tar.Header) { h.PAXRecords = records }
	x := index(t, archive(t, file("f", "").with(with), file("g", ""), symlink("l", "f").with(with),
		dir("d").with(with), dir("d"), link("h", "f")))
	want := map[string]string{"user.b": "\x00binary\xff", "security.capability": "cap", "trusted.overlay.opaque": "y",
		"user.a =": "padding", "user.padded": "padding!"}
	for path, want := range map[string]map[string]string{"f": want, "l": want, "h": want, "g": nil, "d": nil} {
		got, err := x.Xattrs(find(t, x, path))
		if err != nil || !maps.Equal(got, want) || (got == nil) != (want == nil) {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
}
