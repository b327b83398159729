package imagetar

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

var mtime = time.Date(1980, time.January, 1, 0, 0, 0, 0, time.UTC)

// letter is the byte at an offset of a member's content.
func letter(member int, off int64) byte { return byte('a' + (int64(member)+off)%26) }

// letters is a Content of letters.
func letters(member int, p []byte, off int64) error {
	for k := range p {
		p[k] = letter(member, off+int64(k))
	}
	return nil
}

// reader is an archive as an io.ReaderAt.
type reader struct {
	*Archive
	content Content
}

func (r reader) ReadAt(p []byte, off int64) (int, error) { return r.Archive.ReadAt(p, off, r.content) }

// whole is all bytes of an archive.
func whole(t testing.TB, a *Archive) []byte {
	t.Helper()
	b, err := io.ReadAll(io.NewSectionReader(reader{a, letters}, 0, math.MaxInt64))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func laidOut(t testing.TB, members ...Member) *Archive {
	t.Helper()
	a, err := New(members, mtime)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// The standard library's reader finds each member with its name, size, content and fixed
// attributes, and the size is known before.
func TestAnArchiveIsATar(t *testing.T) {
	long := "blobs/sha512/" + strings.Repeat("0123456789abcdef", 8)
	for name, members := range map[string][]Member{
		"nothing":               nil,
		"an empty member":       {{Name: "empty"}},
		"bytes":                 {{Name: "oci-layout", Size: 2, Bytes: []byte("{}")}},
		"no bytes":              {{Name: "oci-layout", Bytes: []byte{}}},
		"a block":               {{Name: "block", Size: blockSize}},
		"more than a block":     {{Name: "a/b", Size: blockSize + 1}, {Name: "c", Size: blockSize - 1}},
		"a name that is long":   {{Name: long, Size: 3}, {Name: "behind", Size: 1}},
		"a name that has signs": {{Name: "größe", Size: 3}},
		"many": {{Name: "oci-layout", Size: 2, Bytes: []byte("{}")}, {Name: "a", Size: 1000}, {Name: "b"}, {Name: "c"},
			{Name: "d", Size: 5}, {Name: "e", Size: 4096}},
	} {
		t.Run(name, func(t *testing.T) {
			a := laidOut(t, members...)
			b := whole(t, a)
			if int64(len(b)) != a.Size() {
				t.Errorf("it has %d bytes, but its size is %d", len(b), a.Size())
			}
			r := tar.NewReader(bytes.NewReader(b))
			for k, m := range members {
				h, err := r.Next()
				if err != nil {
					t.Fatalf("%s: %v", m.Name, err)
				}
				if h.Name != m.Name || h.Size != m.Size || h.Mode != 0o644 || h.Uid != 0 || h.Gid != 0 || h.Uname != "" || !h.ModTime.Equal(mtime) || h.Typeflag != tar.TypeReg {
					t.Errorf("the header of %s is %+v", m.Name, h)
				}
				want := m.Bytes
				if want == nil {
					want = make([]byte, m.Size)
					_ = letters(k, want, 0)
				}
				if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s has %q, %v; want %q", m.Name, got, err, want)
				}
			}
			if _, err := r.Next(); err != io.EOF {
				t.Errorf("behind the members is %v", err)
			}
		})
	}
}

// The bytes are the same on each machine, and with each version of Go: what is loaded by its digest
// today is found by it tomorrow.
func TestTheBytesNeverChange(t *testing.T) {
	a := laidOut(t, Member{Name: "oci-layout", Size: 2, Bytes: []byte("{}")}, Member{Name: "blobs/sha256/" + strings.Repeat("0f", 32), Size: 600},
		Member{Name: "blobs/sha512/" + strings.Repeat("0f", 64), Size: 1})
	const want = "sha256:dd58128a55826dbec0c684487ba861dbd085f1ace2b6a779b6acf3f316867ada"
	if got := digest.FromBytes(whole(t, a)); got != want {
		t.Errorf("the archive is %s, want %s", got, want)
	}
}

// A part of an archive is the same part of the whole, and only the members in it are read.
func TestPartsAreThoseOfTheWhole(t *testing.T) {
	a := laidOut(t, Member{Name: "a", Size: 3, Bytes: []byte("abc")}, Member{Name: "b", Size: 700}, Member{Name: "c"},
		Member{Name: strings.Repeat("n", 200), Size: 513}, Member{Name: "e", Size: 1})
	b := whole(t, a)
	for off := 0; off <= len(b)+1; off += 7 {
		for _, n := range []int{0, 1, 100, 511, 512, 513, 1500, len(b), len(b) + 1} {
			samePart(t, a, b, int64(off), n)
		}
	}
}

// samePart checks a read against the whole.
func samePart(t *testing.T, a *Archive, whole []byte, off int64, n int) {
	t.Helper()
	p := bytes.Repeat([]byte{'?'}, n)
	touched := -1
	got, err := a.ReadAt(p, off, func(member int, part []byte, within int64) error {
		m := a.placed[member]
		switch {
		case member <= touched:
			t.Fatalf("member %d is read after member %d", member, touched)
		case m.Bytes != nil || len(part) == 0 || within < 0 || within+int64(len(part)) > m.Size:
			t.Fatalf("%d bytes at %d are read of %+v", len(part), within, m)
		case m.content+m.Size <= off || off+int64(n) <= m.content:
			t.Fatalf("%d bytes at %d read %+v", n, off, m)
		}
		touched = member
		return letters(member, part, within)
	})
	want := whole[min(off, int64(len(whole))):]
	want = want[:min(n, len(want))]
	if !bytes.Equal(p[:got], want) || (err == io.EOF) != (len(want) < n) || err != nil && err != io.EOF {
		t.Errorf("%d bytes at %d are %d, %v; want %d of the whole", n, off, got, err, len(want))
	}
}

func FuzzReadAt(f *testing.F) {
	f.Add(int64(0), uint16(512), uint16(0), uint16(1), uint16(600), "name")
	f.Add(int64(1024), uint16(2000), uint16(512), uint16(511), uint16(513), strings.Repeat("x", 150))
	f.Fuzz(func(t *testing.T, off int64, n, first, second, third uint16, name string) {
		a, err := New([]Member{{Name: "a", Size: int64(first)}, {Name: name, Size: int64(second)}, {Name: "c", Size: int64(third)}}, mtime)
		if err != nil || off < 0 {
			return // a name that no header can have
		}
		samePart(t, a, whole(t, a), off%(a.Size()+2), int(n))
	})
}

// An archive can be larger than all memory and all disks: nothing of it is read to know its layout.
func TestMembersMayBeHuge(t *testing.T) {
	const huge = 10 << 30
	a := laidOut(t, Member{Name: "huge", Size: huge}, Member{Name: "huger", Size: 1 << 60}, Member{Name: "last", Size: 1})
	r := tar.NewReader(io.NewSectionReader(reader{a, letters}, 0, a.Size()))
	for _, m := range a.placed {
		h, err := r.Next()
		if err != nil || h.Name != m.Name || h.Size != m.Size {
			t.Fatalf("%s is %+v, %v", m.Name, h, err)
		}
	}
	p := make([]byte, 2*blockSize)
	at := a.placed[0].content + huge - blockSize
	if _, err := a.ReadAt(p, at, letters); err != nil || p[blockSize-1] != letter(0, huge-1) {
		t.Errorf("the end of a huge member is %q, %v", p[:blockSize], err)
	}
	if !bytes.Equal(p[blockSize:], must(a.header(a.placed[1].Member))[:blockSize]) {
		t.Error("the next header isn't behind it")
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// What no archive can have is refused when it is laid out.
func TestImpossibleMembers(t *testing.T) {
	for name, members := range map[string][]Member{
		"a negative size":     {{Name: "a", Size: -1}},
		"another size":        {{Name: "a", Size: 1, Bytes: []byte("ab")}},
		"a zero in its name":  {{Name: "a\x00b"}},
		"one that is endless": {{Name: "a", Size: math.MaxInt64}},
	} {
		if a, err := New(members, mtime); err == nil {
			t.Errorf("%s: it is laid out in %d bytes", name, a.Size())
		}
	}
	half := Member{Name: "half", Size: math.MaxInt64 / 2}
	if _, err := New([]Member{half, half, half}, mtime); !errors.Is(err, ErrTooLarge) {
		t.Errorf("three halves: %v, want ErrTooLarge", err)
	}
}

// What can't be read ends the read with its error, and what came before it is there.
func TestAReadFailsWithTheErrorOfAMember(t *testing.T) {
	boom := errors.New("boom")
	a := laidOut(t, Member{Name: "a", Size: 3, Bytes: []byte("abc")}, Member{Name: "b", Size: 3})
	b := whole(t, a)
	p := make([]byte, a.Size())
	n, err := a.ReadAt(p, 0, func(int, []byte, int64) error { return boom })
	if !errors.Is(err, boom) || int64(n) != a.placed[1].content || !bytes.Equal(p[:n], b[:n]) {
		t.Errorf("%d bytes and %v, want %d and %v", n, err, a.placed[1].content, boom)
	}
	if _, err := a.ReadAt(p, -1, letters); !errors.Is(err, errOffset) {
		t.Errorf("at a negative offset: %v", err)
	}
}

// Archives of other names, sizes or bytes have another Sum.
func TestSumsTellArchivesApart(t *testing.T) {
	seen := map[digest.Digest]string{}
	for _, members := range [][]Member{
		nil,
		{{Name: "a", Size: 1}},
		{{Name: "b", Size: 1}},
		{{Name: "a", Size: 2}},
		{{Name: "a", Size: 1}, {Name: "b", Size: 1}},
		{{Name: "b", Size: 1}, {Name: "a", Size: 1}},
		{{Name: "a", Size: 1, Bytes: []byte("x")}},
		{{Name: "a", Size: 1, Bytes: []byte("y")}},
	} {
		a := laidOut(t, members...)
		if again := laidOut(t, members...); again.Sum() != a.Sum() {
			t.Errorf("%+v has two sums", members)
		}
		if other, twice := seen[a.Sum()]; twice {
			t.Errorf("%+v has the sum of %s", members, other)
		}
		seen[a.Sum()] = fmt.Sprintf("%+v", members)
	}
}
