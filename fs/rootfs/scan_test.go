package rootfs

import (
	"archive/tar"
	"bytes"
	"strings"
	"testing"
)

// An archive shows what a runtime would make of it, entry by entry.
func TestScanShows(t *testing.T) {
	long := strings.Repeat("n", 255)
	for name, c := range map[string]struct {
		entries []ent
		want    string
	}{
		"nothing": {nil, ""},
		"a tree": {[]ent{dir("d/"), file("d/f", "data"), symlink("d/l", "f"), link("h", "d/f")},
			lines(`d/`, `d/f "data"`, `d/l -> f`, `h = d/f`)},

		"the last file of a name wins":       {[]ent{file("f", "1"), file("f", "22")}, `f "22"`},
		"a directory keeps what is in it":    {[]ent{dir("d"), file("d/f", "1"), dir("d")}, lines(`d/`, `d/f "1"`)},
		"a file replaces a directory":        {[]ent{file("d/e/f", "1"), file("d", "2")}, `d "2"`},
		"a replaced directory stays away":    {[]ent{file("d/f", "1"), file("d", "2"), file("d/g", "3")}, lines(`d/?`, `d/g "3"`)},
		"a directory replaces a symlink":     {[]ent{file("e/f", "1"), symlink("d", "e"), dir("d"), file("d/g", "2")}, lines(`d/`, `d/g "2"`, `e/?`, `e/f "1"`)},
		"a parent that is a file":            {[]ent{file("p", "1"), file("p/f", "2")}, lines(`p/?`, `p/f "2"`)},
		"parents that no entry names":        {[]ent{file("a/b/f", "1")}, lines(`a/?`, `a/b/?`, `a/b/f "1"`)},
		"a parent that is described later":   {[]ent{file("a/f", "1"), dir("a")}, lines(`a/`, `a/f "1"`)},
		"whiteouts are files":                {[]ent{file("d/.wh.x", ""), file("d/x", "1"), file("d/.wh..wh..opq", "")}, lines(`d/?`, `d/.wh..wh..opq ""`, `d/.wh.x ""`, `d/x "1"`)},
		"names are cleaned below the root":   {[]ent{file("./a", "1"), file("/b", "2"), file("../../c", "3"), file("x//y", "4"), dir("z///"), file("q/../r", "5")}, lines(`a "1"`, `b "2"`, `c "3"`, `r "5"`, `x/?`, `x/y "4"`, `z/`)},
		"names are cleaned before symlinks":  {[]ent{symlink("s", "d/e"), file("s/../f", "1")}, lines(`f "1"`, `s -> d/e`)},
		"the root is no entry of itself":     {[]ent{dir("./"), dir("/"), dir(".."), file(".", "x"), symlink("/", "a")}, lines(`! .: it would replace the root directory`, `! /: it would replace the root directory`)},
		"names are bytes":                    {[]ent{file("\xff\xfe", "1"), file("a\nb", "2"), file("a:b\\c", "3"), file("\xc3\xa4", "4"), file("a\xcc\x88", "5")}, lines("a\nb \"2\"", `a:b\c "3"`, "a\xcc\x88 \"5\"", "\xc3\xa4 \"4\"", "\xff\xfe \"1\"")},
		"names of 255 bytes":                 {[]ent{file(long, "1"), file(long+"/"+long, "2"), file(long+"n", "3"), file(long+"n/f", "4")}, lines(long+`/?`, long+`/`+long+` "2"`, `! `+long+`n: a component of its name is longer than 255 bytes`, `! `+long+`n/f: a component of its name is longer than 255 bytes`)},
		"devices and fifos":                  {[]ent{special("c", tar.TypeChar, 5, 1), special("b", tar.TypeBlock, 259, 70000), special("p", tar.TypeFifo, 0, 0), special("w", tar.TypeChar, 0, 0)}, lines(`b b 259:70000`, `c c 5:1`, `p p 0:0`, `w c 0:0`)},
		"symlinks keep their targets":        {[]ent{symlink("a", "../../../../etc/passwd"), symlink("b", "/etc/./x//"), symlink("c", "c")}, lines(`a -> ../../../../etc/passwd`, `b -> /etc/./x//`, `c -> c`)},
		"a target of 4095 bytes":             {[]ent{symlink("a", strings.Repeat("t", 4095)), symlink("b", strings.Repeat("t", 4096))}, lines(`a -> `+strings.Repeat("t", 4095), `! b: a symlink whose target is longer than 4095 bytes`)},
		"a path through a symlink":           {[]ent{symlink("lib", "usr/lib"), dir("usr/lib"), file("lib/f", "1")}, lines(`lib -> usr/lib`, `usr/?`, `usr/lib/`, `usr/lib/f "1"`)},
		"a path through an absolute symlink": {[]ent{symlink("a/lib", "/usr/lib"), file("a/lib/f", "1")}, lines(`a/?`, `a/lib -> /usr/lib`, `usr/?`, `usr/lib/?`, `usr/lib/f "1"`)},
		"a path through a climbing symlink":  {[]ent{symlink("a/up", "../../../x"), file("a/up/f", "1")}, lines(`a/?`, `a/up -> ../../../x`, `x/?`, `x/f "1"`)},
		"a path through a symlink with dots": {[]ent{dir("a/b/c"), symlink("s", "a/b/c"), symlink("u", "s/.."), file("u/f", "1")}, lines(`a/?`, `a/b/?`, `a/b/c/`, `a/b/f "1"`, `s -> a/b/c`, `u -> s/..`)},
		"a path through a circle":            {[]ent{symlink("a", "b"), symlink("b", "a"), file("a/f", "1"), file("g", "2")}, lines(`a -> b`, `b -> a`, `g "2"`, `! a/f: its path follows more than 40 symlinks`)},
		"a path through a symlink to a file": {[]ent{file("f", "1"), symlink("s", "f"), file("s/g", "2")}, lines(`f/?`, `f/g "2"`, `s -> f`)},
		"the end of a path isn't followed":   {[]ent{file("f", "1"), symlink("s", "f"), file("s", "2")}, lines(`f "1"`, `s "2"`)},
		"a symlink that was replaced":        {[]ent{symlink("s", "d"), file("s/f", "1"), dir("s"), file("s/f", "2")}, lines(`d/?`, `d/f "1"`, `s/`, `s/f "2"`)},

		"a hard link is bound to the file":      {[]ent{file("a", "1"), link("b", "a"), file("a", "2"), link("c", "b")}, lines(`a "2"`, `b "1"`, `c = b`)},
		"a hard link before its target":         {[]ent{link("b", "d/a"), link("c", "b"), file("d/a", "1")}, lines(`b "1"`, `c = b`, `d/?`, `d/a = b`)},
		"hard links before their targets":       {[]ent{link("c", "b"), link("b", "a"), file("a", "1")}, lines(`a "1"`, `b = a`, `c = a`)},
		"a hard link to itself":                 {[]ent{link("a", "a"), link("b", "./a")}, lines(`! a: a hard link to itself, or in a circle`, `! b: a hard link to itself, or in a circle`)},
		"a hard link to the file that it is":    {[]ent{file("a", "1"), link("a", "a")}, `a "1"`},
		"hard links in a circle":                {[]ent{link("a", "b"), link("b", "c"), link("c", "a"), link("x", "a"), file("y", "")}, lines(`y ""`, `! a: a hard link to itself, or in a circle`, `! b: a hard link to itself, or in a circle`, `! c: a hard link to itself, or in a circle`, `! x: a hard link to itself, or in a circle`)},
		"a hard link to links in a circle":      {[]ent{link("x", "a"), link("w", "x"), link("a", "b"), link("b", "a"), file("y", "")}, lines(`y ""`, `! a: a hard link to itself, or in a circle`, `! b: a hard link to itself, or in a circle`, `! w: a hard link to itself, or in a circle`, `! x: a hard link to itself, or in a circle`)},
		"a hard link to a symlink":              {[]ent{symlink("s", "t"), link("a", "s"), link("b", "z"), link("c", "b"), symlink("z", "y")}, lines(`a -> t`, `b -> y`, `c -> y`, `s -> t`, `z -> y`)},
		"a hard link to a directory":            {[]ent{dir("d"), link("a", "d"), link("b", "e"), dir("e"), link("c", "/")}, lines(`d/`, `e/`, `! a: a hard link to a directory`, `! c: a hard link to a directory`, `! b: a hard link to a directory`)},
		"a hard link to what isn't here":        {[]ent{link("a", "/x/./y"), link("b", "a"), symlink("s", "d/../t"), link("c", "s/z")}, lines(`a => x/y`, `b = a`, `c => t/z`, `s -> d/../t`)},
		"a hard link through a symlink":         {[]ent{file("d/f", "1"), symlink("s", "/d"), link("a", "s/f"), link("b", "s/g"), file("d/g", "2")}, lines(`a "1"`, `b "2"`, `d/?`, `d/f = a`, `d/g = b`, `s -> /d`)},
		"a hard link below what was replaced":   {[]ent{link("d/a", "x"), link("d/b", "d/b"), file("d", "1")}, `d "1"`},
		"a hard link that replaces a directory": {[]ent{file("d/f", "1"), link("d", "d/f")}, `d "1"`},
		"a hard link below its target":          {[]ent{file("a", "1"), link("a/b", "a")}, lines(`a/?`, `a/b "1"`)},
		"an entry of an unknown type":           {[]ent{file("v", "label").with(func(h *tar.Header) { h.Typeflag = 'V' }), file("f", "1")}, lines(`f "1"`, `! v: an entry of the unknown type 'V'`)},
		"a contiguous file":                     {[]ent{file("f", "1").with(func(h *tar.Header) { h.Typeflag = tar.TypeCont })}, `f "1"`},
		"a global header":                       {[]ent{{Header: tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "c", "path": "no"}}}, file("f", "1")}, `f "1"`},
	} {
		t.Run(name, func(t *testing.T) {
			raw := archive(t, c.entries...)
			for packing, pack := range packings {
				u, err := Unpack(bytes.NewReader(pack(t, raw)), Limits{})
				if err != nil {
					t.Fatal(err)
				}
				defer u.Close()
				x, err := indexOf(u, raw)
				if err != nil {
					t.Fatal(err)
				}
				if got := show(t, x, raw); got != c.want {
					t.Errorf("%s: got\n%s\nwant\n%s", packing, got, c.want)
				}
			}
		})
	}
}
