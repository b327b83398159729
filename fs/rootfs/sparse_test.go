package rootfs

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// piece is a piece of a sparse file.
type piece struct {
	at   int64
	data string
}

// sparseOldGNU is an entry of type S: four pieces in the header, 21 in each extension header.
func sparseOldGNU(t testing.TB, name string, size int64, pieces ...piece) []byte {
	data := ""
	for _, p := range pieces {
		data += p.data
	}
	b := archive(t, file(name, data).with(func(h *tar.Header) { h.Format = tar.FormatGNU }))
	b = b[:len(b)-2*block]
	main := len(b) - block - int(blockUp(int64(len(data))))
	h := b[main:][:block]
	h[156] = tar.TypeGNUSparse
	number := func(n int64) string {
		if n < 1<<33 {
			return fmt.Sprintf("%011o\x00", n)
		}
		return "\x80\x00\x00\x00" + string([]byte{byte(n >> 56), byte(n >> 48), byte(n >> 40), byte(n >> 32), byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	}
	put := func(b []byte) {
		for len(b) > 24 && len(pieces) > 0 {
			copy(b, number(pieces[0].at)+number(int64(len(pieces[0].data))))
			b, pieces = b[24:], pieces[1:]
		}
	}
	put(h[386:483])
	copy(h[483:], number(size))
	var more []byte
	last := &h[482]
	for len(pieces) > 0 {
		*last = 1
		more = append(more, make([]byte, block)...)
		x := more[len(more)-block:]
		put(x[:505])
		last = &x[504]
	}
	sum(h)
	return append(append(bytes.Clone(b[:main+block]), more...), b[main+block:]...)
}

// sparsePAX is an entry with a map in one of the forms 0.0, 0.1 and 1.0.
func sparsePAX(version, name string, size int64, pieces ...piece) []byte {
	var stored, numbers []string
	for _, p := range pieces {
		stored = append(stored, p.data)
		numbers = append(numbers, strconv.FormatInt(p.at, 10), strconv.Itoa(len(p.data)))
	}
	data := strings.Join(stored, "")
	records := ""
	record := func(k, v string) {
		n := len(k) + len(v) + 3
		for n != len(strconv.Itoa(n))+len(k)+len(v)+3 {
			n = len(strconv.Itoa(n)) + len(k) + len(v) + 3
		}
		records += fmt.Sprintf("%d %s=%s\n", n, k, v)
	}
	switch version {
	case "0.0":
		record("GNU.sparse.size", strconv.FormatInt(size, 10))
		record("GNU.sparse.numblocks", strconv.Itoa(len(pieces)))
		for i := 0; i < len(numbers); i += 2 {
			record("GNU.sparse.offset", numbers[i])
			record("GNU.sparse.numbytes", numbers[i+1])
		}
	case "0.1":
		record("GNU.sparse.size", strconv.FormatInt(size, 10))
		record("GNU.sparse.numblocks", strconv.Itoa(len(pieces)))
		record("GNU.sparse.map", strings.Join(numbers, ","))
		record("GNU.sparse.name", name)
	case "1.0":
		record("GNU.sparse.major", "1")
		record("GNU.sparse.minor", "0")
		record("GNU.sparse.name", name)
		record("GNU.sparse.realsize", strconv.FormatInt(size, 10))
		m := strings.Join(append([]string{strconv.Itoa(len(pieces))}, numbers...), "\n") + "\n"
		data = m + string(make([]byte, int(blockUp(int64(len(m))))-len(m))) + data
	}
	if version != "0.0" {
		name = "GNUSparseFile.0/placeholder"
	}
	return append(rawEntry('x', "PaxHeaders/x", records), rawEntry('0', name, data)...)
}

// rawEntry is a header, and the data behind it.
func rawEntry(typeflag byte, name, data string) []byte {
	h := make([]byte, block, block+len(data)+block)
	copy(h, name)
	copy(h[100:], "0000644\x000000000\x000000000\x00")
	copy(h[124:], fmt.Sprintf("%011o\x0000000000000\x00", len(data)))
	h[156] = typeflag
	copy(h[257:], "ustar\x0000")
	sum(h)
	h = append(h, data...)
	return append(h, make([]byte, int(blockUp(int64(len(data))))-len(data))...)
}

// A sparse file reads as the expanded file, in each of the four forms. What follows it is found.
func TestSparse(t *testing.T) {
	many := make([]piece, 60)
	for i := range many {
		many[i] = piece{int64(i) * 10, fmt.Sprintf("%03d", i)}
	}
	long := strings.Repeat("dir/", 40) + "f"
	for name, c := range map[string]struct {
		size   int64
		pieces []piece
	}{
		"pieces":      {20, []piece{{2, "ab"}, {10, "cde"}}},
		"to the ends": {13, []piece{{0, "ab"}, {10, "cde"}}},
		"touching":    {6, []piece{{1, "ab"}, {3, "cde"}}},
		"all hole":    {600, nil},
		"empty":       {0, nil},
		"end mark":    {700, []piece{{3, "ab"}, {700, ""}}},
		"many":        {1000, many},
	} {
		want := make([]byte, c.size)
		for _, p := range c.pieces {
			copy(want[p.at:], p.data)
		}
		for form, b := range map[string][]byte{
			"S":           sparseOldGNU(t, "f", c.size, c.pieces...),
			"S long name": sparseOldGNU(t, long, c.size, c.pieces...),
			"0.0":         sparsePAX("0.0", "f", c.size, c.pieces...),
			"0.1":         sparsePAX("0.1", "f", c.size, c.pieces...),
			"1.0":         sparsePAX("1.0", "f", c.size, c.pieces...),
		} {
			if form < "1" && len(c.pieces) == 0 {
				continue // archive/tar knows these forms by their map, and there is none
			}
			t.Run(name+" "+form, func(t *testing.T) {
				front := archive(t, file("a", "1"))
				raw := append(front[:len(front)-2*block], b...)
				raw = append(raw, b...) // once more: the second one begins where the first ends
				raw = append(raw, archive(t, file("z", "2"))...)
				path := "f"
				if form == "S long name" {
					path = long
				}
				// archive/tar is the judge of the archive itself.
				r := tar.NewReader(bytes.NewReader(raw))
				for range 2 {
					if _, err := r.Next(); err != nil {
						t.Fatal(err)
					}
				}
				var std bytes.Buffer
				if _, err := std.ReadFrom(r); err != nil || !bytes.Equal(std.Bytes(), want) {
					t.Fatalf("archive/tar reads %q, %v", std.Bytes(), err)
				}
				x := index(t, raw)
				if got := content(t, x, find(t, x, path), raw); got != string(want) {
					t.Errorf("got %q, want %q", got, want)
				}
				if got := content(t, x, find(t, x, "z"), raw); got != "2" {
					t.Errorf("the next file has %q", got)
				}
			})
		}
	}
}

// A hole of a tebibyte costs nothing.
func TestSparseHoleIsFree(t *testing.T) {
	const tib = 1 << 40
	for form, raw := range map[string][]byte{
		"S":   sparseOldGNU(t, "f", tib+3, piece{0, "x"}, piece{tib, "end"}),
		"1.0": sparsePAX("1.0", "f", tib+3, piece{0, "x"}, piece{tib, "end"}),
	} {
		x := index(t, raw)
		if a := attr(t, x, "f"); a.Size != tib+3 {
			t.Errorf("%s: size %d", form, a.Size)
		}
		d, err := x.Data(find(t, x, "f"))
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 8)
		n, err := d.ReadAt(bytes.NewReader(raw), p, tib-5)
		if n != 8 || string(p) != "\x00\x00\x00\x00\x00end" {
			t.Errorf("%s: %q, %v", form, p[:n], err)
		}
	}
}

// A map that doesn't fit the bytes that are there is malformed.
func TestSparseMalformed(t *testing.T) {
	raw := sparsePAX("1.0", "f", 20, piece{2, "ab"}, piece{10, "cde"})
	for _, c := range []struct{ from, to string }{
		{"2\n2\n2\n", "2\n2\n1\n"}, {"2\n2\n2\n", "2\n2\n9\n"}, {"2\n2\n2\n", "3\n2\n2\n"}, {"2\n2\n2\n", "2\n11\n2"}, {"2\n2\n2\n", "x\n2\n2\n"},
	} {
		bad := bytes.Replace(raw, []byte(c.from), []byte(c.to), 1)
		if _, err := indexOf(bytes.NewReader(bad), bad); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%q: %v", c.to, err)
		}
	}
}

// The name of a sparse file is the only one that could have a NUL.
func TestSparseNameWithNUL(t *testing.T) {
	raw := sparsePAX("1.0", "a\x00b", 5, piece{0, "x"})
	if got, want := show(t, index(t, raw), raw), "! a\x00b: its name has a NUL"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
