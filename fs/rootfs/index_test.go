package rootfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"
)

// The same archive gives the same bytes, and another program's version of it isn't read.
func TestEncodeIsStable(t *testing.T) {
	raw := manyFiles(t, 3000, 10)
	a, err := encoded(bytes.NewReader(raw), raw)
	if err != nil {
		t.Fatal(err)
	}
	b, err := encoded(bytes.NewReader(raw), raw)
	if err != nil || !bytes.Equal(a, b) {
		t.Fatalf("%d bytes and %d, %v", len(a), len(b), err)
	}
	for name, change := range map[string]func(b []byte) []byte{
		"another version": func(b []byte) []byte { b[8]++; return b },
		"another magic":   func(b []byte) []byte { b[0]++; return b },
		"another count":   func(b []byte) []byte { b[16]++; return b },
		"a byte less":     func(b []byte) []byte { return b[:len(b)-1] },
		"a byte more":     func(b []byte) []byte { return append(b, 0) },
		"nothing":         func(b []byte) []byte { return nil },
	} {
		b := change(bytes.Clone(a))
		if _, err := Open(bytes.NewReader(b), int64(len(b))); !errors.Is(err, ErrIndex) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMeta(t *testing.T) {
	s, err := Scan(bytes.NewReader(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Meta{Packed: digest.FromString("a"), DiffID: digest.FromString("b"), Size: 1 << 40}
	var b bytes.Buffer
	if err := s.Encode(&b, want); err != nil {
		t.Fatal(err)
	}
	x, err := Open(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	if got := x.Meta(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if names, err := x.List(Root); err != nil || len(names) > 0 {
		t.Errorf("%v, %v", names, err)
	}
}

// Every name of a directory of any size is found, and no other.
func TestLookup(t *testing.T) {
	for _, n := range []int{0, 1, 31, 32, 33, 64, 1000} {
		var entries []ent
		for i := range n {
			entries = append(entries, file(fmt.Sprintf("d/%04d", 2*i+1), ""))
		}
		x := index(t, archive(t, append(entries, dir("d"), file("e", ""))...))
		d := find(t, x, "d")
		for i := range 2*n + 2 {
			_, ok, err := x.Lookup(d, fmt.Sprintf("%04d", i))
			if err != nil || ok != (i%2 == 1 && i < 2*n) {
				t.Errorf("%d of %d: %v, %v", i, n, ok, err)
			}
		}
		for _, name := range []string{"", "\xff", ".", "..", "0001/", strings.Repeat("0", 1000)} {
			if _, ok, err := x.Lookup(d, name); ok || err != nil {
				t.Errorf("%q: %v, %v", name, ok, err)
			}
		}
		if _, ok, err := x.Lookup(find(t, x, "e"), "x"); ok || err != nil {
			t.Errorf("a name in a file: %v, %v", ok, err)
		}
		if names, err := x.List(d); err != nil || len(names) != n {
			t.Errorf("%d names of %d, %v", len(names), n, err)
		}
	}
}

// What an Ino hasn't got is an error, and no success.
func TestIndexWrongKind(t *testing.T) {
	x := index(t, archive(t, file("f", "1"), symlink("l", "f"), dir("d")))
	f, l, d := find(t, x, "f"), find(t, x, "l"), find(t, x, "d")
	for what, err := range map[string]error{
		"list a file":    second(x.List(f)),
		"list a symlink": second(x.List(l)),
		"target":         second(x.Target(f)),
		"data of a link": second(x.Data(l)),
		"data of a dir":  second(x.Data(d)),
		"attr":           second(x.Attr(Ino(x.Len()))),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// The first hundred Notes are kept, and all are counted.
func TestNotes(t *testing.T) {
	var entries []ent
	for i := range 250 {
		entries = append(entries, link(fmt.Sprintf("l%03d", i), fmt.Sprintf("./l%03d", i)))
	}
	notes, n, err := index(t, archive(t, entries...)).Notes()
	if err != nil || n != 250 || len(notes) != 100 || notes[99] != (Note{"l099", "a hard link to itself, or in a circle"}) {
		t.Errorf("%d of %d: %+v, %v", len(notes), n, notes, err)
	}
}

// An error of the reader comes back as it is.
func TestIndexReaderError(t *testing.T) {
	mine := errors.New("mine")
	if _, err := Open(&failing{err: mine}, 1000); err != mine {
		t.Errorf("Open: %v", err)
	}
	raw := archive(t, file("d/f", "1"), symlink("d/l", "f"))
	b, err := encoded(bytes.NewReader(raw), raw)
	if err != nil {
		t.Fatal(err)
	}
	r := &failing{ReaderAt: bytes.NewReader(b)}
	x, err := Open(r, int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	r.err = mine
	_, _, lerr := x.Lookup(Root, "d")
	for _, err := range []error{lerr, second(x.List(Root)), second(x.Attr(1)), second(x.Data(2)), second(x.Target(3)), second(x.Xattrs(1))} {
		if err != mine {
			t.Errorf("%v", err)
		}
	}
}

// failing is a reader that fails once it has an error.
type failing struct {
	io.ReaderAt
	err error
}

func (f *failing) ReadAt(p []byte, off int64) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return f.ReaderAt.ReadAt(p, off)
}

// An Index may be used by many at once.
func TestIndexConcurrently(t *testing.T) {
	raw := manyFiles(t, 2000, 1)
	x := index(t, raw)
	want := show(t, x, raw)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if got := show(t, x, raw); got != want {
				t.Error("another tree")
			}
		})
	}
	all.Wait()
}

// ReadAt is as io.ReaderAt has it, across holes too.
func TestDataReadAt(t *testing.T) {
	archive := []byte("0123456789")
	d := Data{Size: 14, Extents: []Extent{{At: 2, From: 1, Len: 3}, {At: 5, From: 6, Len: 1}, {At: 9, From: 7, Len: 2}}}
	want := "\x00\x001236\x00\x00\x0078\x00\x00\x00"
	r := io.NewSectionReader(readerAt{d, archive}, 0, d.Size)
	if err := iotest.TestReader(r, []byte(want)); err != nil {
		t.Error(err)
	}
	for off := range int64(16) {
		for n := range 18 {
			p := bytes.Repeat([]byte{'?'}, n)
			got, err := d.ReadAt(bytes.NewReader(archive), p, off)
			part := want[min(off, 14):min(off+int64(n), 14)]
			if string(p[:got]) != part || (err == io.EOF) != (got < n) || err != nil && err != io.EOF {
				t.Errorf("%d bytes at %d: %q, %v", n, off, p[:got], err)
			}
		}
	}
	if _, err := d.ReadAt(bytes.NewReader(archive), make([]byte, 1), -1); err == nil {
		t.Error("no error before the start")
	}
	if n, err := d.ReadAt(bytes.NewReader(archive[:8]), make([]byte, 14), 0); n != 10 || err != io.ErrUnexpectedEOF {
		t.Errorf("an archive that ends early: %d, %v", n, err)
	}
}
