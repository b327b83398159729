package rootfs

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"
)

func scan(raw []byte) error {
	_, err := Scan(bytes.NewReader(raw), bytes.NewReader(raw))
	return err
}

// An archive that breaks off within an entry is malformed as a whole. One that ends after a whole
// entry, without the mark of its end, is accepted.
func TestScanTruncated(t *testing.T) {
	raw := archive(t, dir("d"), file("d/f", strings.Repeat("x", 700)), file("g", "1"))
	const d, f, g = 512, 512 + 512 + 1024, 512 + 512 + 1024 + 512 + 1 // the ends of what the entries have
	for n := range len(raw) {
		err := scan(raw[:n])
		switch {
		case n > 0 && n < 512:
			if !errors.Is(err, ErrNoArchive) {
				t.Errorf("%d bytes: %v", n, err)
			}
		case n == 0, n == d, n >= d+512+700 && n <= f, n >= g && n <= g+511, n == len(raw)-512:
			if err != nil {
				t.Errorf("%d bytes: %v", n, err)
			}
		default:
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("%d bytes: %v", n, err)
			}
		}
	}
}

// Nothing at all, and zeros alone, are empty archives. Anything else without a tar header is none.
func TestScanNoArchive(t *testing.T) {
	for _, raw := range [][]byte{nil, make([]byte, 512), make([]byte, 1024), make([]byte, 10240)} {
		if x, err := indexOf(bytes.NewReader(raw), raw); err != nil || x.Len() != 1 {
			t.Errorf("%d zeros: %v", len(raw), err)
		}
	}
	wrong := archive(t, file("f", "1"))
	wrong[148]++
	for _, raw := range [][]byte{[]byte("x"), []byte(strings.Repeat("{}", 1000)), wrong, bytes.Repeat([]byte{0xff}, 2048), make([]byte, 100)} {
		if err := scan(raw); !errors.Is(err, ErrNoArchive) {
			t.Errorf("%.10q: %v", raw, err)
		}
	}
}

// What archive/tar refuses after the first header is malformed.
func TestScanMalformed(t *testing.T) {
	one := archive(t, file("f", "1"))
	one = one[:1024]
	huge := rawEntry('x', "h", strings.Repeat("a", 1<<20+1))
	for name, raw := range map[string][]byte{
		"garbage after an entry":   append(bytes.Clone(one), bytes.Repeat([]byte("g"), 512)...),
		"one block of zeros":       append(append(bytes.Clone(one), make([]byte, 512)...), one...),
		"PAX records above 1 MiB":  append(huge, one...),
		"a broken PAX record":      append(rawEntry('x', "h", "99 a=b\n"), one...),
		"a long name and no entry": rawEntry('L', "l", "name\x00"),
	} {
		if err := scan(raw); !errors.Is(err, ErrCorrupt) {
			// A meta header alone ends the archive as the end of the input does.
			if name == "a long name and no entry" && err == nil {
				continue
			}
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What follows the end of an archive is read to its end, and not shown.
func TestScanDrains(t *testing.T) {
	first, second := archive(t, file("f", "1")), archive(t, file("g", "2"))
	for name, tail := range map[string][]byte{"padding": make([]byte, 10240), "another archive": second, "garbage": []byte("garbage")} {
		raw := append(bytes.Clone(first), tail...)
		r := bytes.NewReader(raw)
		x, err := indexOf(r, raw)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got := show(t, x, raw); got != `f "1"` || r.Len() != 0 {
			t.Errorf("%s: %s; %d bytes are left", name, got, r.Len())
		}
	}
}

// An error of the reader comes back as it is, wherever it happens.
func TestScanReaderError(t *testing.T) {
	mine := errors.New("mine")
	raw := archive(t, file("f", strings.Repeat("x", 1000)), file("g", "1"))
	for n := 0; n <= len(raw); n += 1 + n/40 {
		r := io.MultiReader(bytes.NewReader(raw[:n]), iotest.ErrReader(mine))
		if _, err := Scan(r, bytes.NewReader(raw)); err != mine {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
}

// Small reads give the same index.
func TestScanSmallReads(t *testing.T) {
	raw := append(sparsePAX("1.0", "s", 20, piece{2, "ab"}), archive(t, file("f", strings.Repeat("x", 1000)), link("h", "f"))...)
	want, err := encoded(bytes.NewReader(raw), raw)
	if err != nil {
		t.Fatal(err)
	}
	got, err := encoded(iotest.OneByteReader(bytes.NewReader(raw)), raw)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes and %d; %v", len(got), len(want), err)
	}
}

// endless repeats a block.
type endless struct {
	block []byte
	at    int
}

func (e *endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		k := copy(p[n:], e.block[e.at:])
		n, e.at = n+k, (e.at+k)%len(e.block)
	}
	return n, nil
}

// fewEntries stands for maxEntries in tests of what is refused.
const fewEntries = 20_000

// Headers without end are refused.
func TestScanEndlessHeaders(t *testing.T) {
	for name, b := range map[string][]byte{
		"one name":  archive(t, file("f", ""))[:block],
		"deep name": archive(t, file(strings.Repeat("d/", 49)+"f", ""))[:block],
	} {
		_, err := scanUpTo(fewEntries, &endless{block: b}, nil)
		if !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// counter writes entries with names of their own, without end.
type counter struct {
	entry func(i int) ent
	i     int
	rest  []byte
}

func (c *counter) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for range 500 {
			e := c.entry(c.i)
			if err := w.WriteHeader(&e.Header); err != nil {
				return 0, err
			}
			c.i++
		}
		c.rest = b.Bytes()
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// Symlinks that make each path long are refused before they make a scan slow.
func TestScanSymlinksAreBounded(t *testing.T) {
	slow := strings.Repeat("./", 2000)
	deep := strings.Repeat("d/", 2000)
	for name, entry := range map[string]func(i int) ent{
		"dots": func(i int) ent {
			if i < 39 {
				return symlink(string(rune('A'+i)), slow+string(rune('A'+i+1)))
			}
			return file("A/f", "")
		},
		"hard links below deep directories": func(i int) ent {
			if i < 30 {
				return symlink(strings.Repeat("d/", 2000*i)+"s", deep+"s")
			}
			return link("h"+string(rune('a'+i%26)), "s/x")
		},
	} {
		start := time.Now()
		_, err := scanUpTo(fewEntries, &counter{entry: entry}, nil)
		if !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
		t.Logf("%s: %v", name, time.Since(start))
	}
}

// A wide directory, a deep one, one that is replaced again and again, and long chains of hard
// links take linear time. Sixteen times as many entries take 16 times as long, or 256 times if a
// step is quadratic.
func TestScanIsLinear(t *testing.T) {
	name := func(i int) string { return "n" + octal(i, 8)[:7] }
	for what, entry := range map[string]func(n, i int) ent{
		"wide":   func(n, i int) ent { return file("d/"+name(i*7919%n), "") },
		"chain":  func(n, i int) ent { return link(name(i), name(i+1)) },
		"circle": func(n, i int) ent { return link(name(i), name((i+1)%n)) },
		"replaced": func(n, i int) ent {
			if i%2 == 0 {
				return file("d/e/"+name(i), "")
			}
			return file("d", "")
		},
		"deep": func(n, i int) ent {
			if i == 0 {
				return file(strings.Repeat("d/", 10*n)+"f", "")
			}
			return file("f", "")
		},
	} {
		cost := func(n int) time.Duration {
			var entries []ent
			for i := range n {
				entries = append(entries, entry(n, i))
			}
			raw := archive(t, entries...)
			least := time.Duration(1 << 62)
			for range 3 {
				start := processTime(t)
				index(t, raw)
				least = min(least, processTime(t)-start)
			}
			return least
		}
		few, many := cost(500), cost(16*500)
		if many > 80*few+100*time.Millisecond {
			t.Errorf("%s: %v for 16 times as many entries as %v", what, many, few)
		}
	}
}

// processTime is the processor time that this process used. Other processes don't change it.
func processTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
