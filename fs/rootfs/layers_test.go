package rootfs

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	digest "github.com/opencontainers/go-digest"
)

// item is one entry of an archive, as a test writes it:
//
//	usr/             a directory, 0755
//	usr/ 0700        with permission bits
//	usr/x=text       a file with its content, 0644
//	usr/x->../y      a symlink
//	usr/x=>usr/y     a hard link
//	usr/x|           a fifo, 0600
//	usr/x%5,1        a character device with its number, 0600
type item string

func (e item) ent(t testing.TB) ent {
	s, mode := string(e), int64(-1)
	if i := strings.LastIndexByte(s, ' '); i >= 0 {
		m, err := strconv.ParseInt(s[i+1:], 8, 32)
		if err != nil {
			t.Fatal(err)
		}
		s, mode = s[:i], m
	}
	var to ent
	switch i := strings.IndexAny(s, "=-|%"); {
	case strings.HasSuffix(s, "/") && i < 0:
		to = dir(s)
	case i < 0:
		to = file(s, "")
	case strings.HasPrefix(s[i:], "=>"):
		to = link(s[:i], s[i+2:])
	case strings.HasPrefix(s[i:], "->"):
		to = symlink(s[:i], s[i+2:])
	case s[i] == '=':
		to = file(s[:i], s[i+1:])
	case s[i] == '|':
		to = special(s[:i], tar.TypeFifo, 0, 0)
	default:
		var major, minor int64
		if _, err := fmt.Sscanf(s[i+1:], "%d,%d", &major, &minor); err != nil {
			t.Fatal(err)
		}
		to = special(s[:i], tar.TypeChar, major, minor)
	}
	if mode >= 0 {
		to.Mode = mode
	}
	return to
}

// layer is one archive and its index.
type layer struct {
	archive []byte
	*Index
}

// newLayer makes an archive of items, and its index.
func newLayer(t testing.TB, items ...item) *layer {
	t.Helper()
	var entries []ent
	for _, e := range items {
		entries = append(entries, e.ent(t))
	}
	return layerOf(t, entries...)
}

func layerOf(t testing.TB, entries ...ent) *layer {
	t.Helper()
	raw := archive(t, entries...)
	s, err := Scan(bytes.NewReader(raw), bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := s.Encode(&b, Meta{Packed: "sha256:aa", DiffID: digest.FromBytes(raw), Size: int64(len(raw))}); err != nil {
		t.Fatal(err)
	}
	x, err := Open(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return &layer{raw, x}
}

// image is layers in memory, the lowest first. It records what is asked for.
type image struct {
	layers []*layer
	fetch  func(ctx context.Context, n int) error // nil: every layer is at hand

	mu    sync.Mutex
	asked []int // each layer once, in the order in which they were asked for first
	ahead []int
}

func newImage(t testing.TB, layers ...[]item) *image {
	t.Helper()
	m := &image{}
	for _, l := range layers {
		m.layers = append(m.layers, newLayer(t, l...))
	}
	return m
}

func (m *image) Len() int { return len(m.layers) }

func (m *image) Layer(ctx context.Context, n int) (*Index, error) {
	m.mu.Lock()
	if !slices.Contains(m.asked, n) {
		m.asked = append(m.asked, n)
	}
	m.mu.Unlock()
	if m.fetch != nil {
		if err := m.fetch(ctx, n); err != nil {
			return nil, err
		}
	}
	return m.layers[n].Index, nil
}

func (m *image) Ahead(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ahead = append(m.ahead, n)
}

// findPath looks a path up, name by name, without following symlinks.
func findPath(d *Dir, path string) (Found, bool, error) {
	f := Found{Dir: d}
	for name := range strings.SplitSeq(path, "/") {
		if name == "" {
			continue
		}
		if f.Dir == nil {
			return Found{}, false, nil
		}
		var ok bool
		var err error
		if f, ok, err = f.Dir.Lookup(context.Background(), name); !ok || err != nil {
			return Found{}, false, err
		}
	}
	return f, true, nil
}

// dirAt gives the directory of a path.
func dirAt(t testing.TB, tree *Tree, path string) *Dir {
	t.Helper()
	f, ok, err := findPath(tree.Root(), path)
	if err != nil || !ok || f.Dir == nil {
		t.Fatalf("%s: no directory (%v)", path, err)
	}
	return f.Dir
}

// show describes a name: an entry as in a test's archive, and behind " @" the layer that it is
// from, or " ?" if no layer describes it.
func (m *image) show(d *Dir, f Found) (string, error) {
	ctx := context.Background()
	if f.Dir != nil {
		a, n, err := f.Dir.Attr(ctx)
		if err != nil {
			return "", err
		}
		s := f.Dir.Path() + "/"
		if !a.Described {
			return s + " ?", nil
		}
		return fmt.Sprintf("%s%s @%d", s, showMode(a, 0o755), n), nil
	}
	path, x := d.join(f.Name), m.layers[f.Layer]
	s, mode := "", uint32(0o600)
	switch f.Attr.Mode & 0o170000 {
	case 0o100000:
		data, err := x.Data(f.Ino)
		if err != nil {
			return "", err
		}
		b := make([]byte, f.Attr.Size)
		if n, err := data.ReadAt(bytes.NewReader(x.archive), b, 0); n < len(b) {
			return "", fmt.Errorf("%s: %w", path, err)
		}
		s, mode = "="+string(b), 0o644
	case 0o120000:
		target, err := d.Target(ctx, f)
		if err != nil {
			return "", err
		}
		s, mode = "->"+target, 0o777
	case 0o010000:
		s = "|"
	case 0o020000:
		s = fmt.Sprintf("%%%d,%d", f.Attr.Rdev>>8&0xfff, f.Attr.Rdev&0xff)
	default:
		return "", fmt.Errorf("%s: mode %o", path, f.Attr.Mode)
	}
	return fmt.Sprintf("%s%s%s @%d", path, s, showMode(f.Attr, mode), f.Layer), nil
}

func showMode(a Attr, usual uint32) string {
	if a.Mode&0o7777 == usual {
		return ""
	}
	return fmt.Sprintf(" %04o", a.Mode&0o7777)
}

// walk describes all names below a directory in byte order, each directory before what is in it.
// byLookup finds each name once more by Lookup: a name has to be the same both ways.
func (m *image) walk(d *Dir, byLookup bool) ([]string, error) {
	all, err := d.List(context.Background())
	if err != nil {
		return nil, err
	}
	var shown []string
	for i, f := range all {
		if i > 0 && all[i-1].Name >= f.Name {
			return nil, fmt.Errorf("%q is listed behind %q", f.Name, all[i-1].Name)
		}
		if byLookup {
			g, ok, err := d.Lookup(context.Background(), f.Name)
			if err != nil || !ok {
				return nil, fmt.Errorf("%s is listed, and isn't found: %v", d.join(f.Name), err)
			}
			f = g
		}
		s, err := m.show(d, f)
		if err != nil {
			return nil, err
		}
		shown = append(shown, s)
		if f.Dir != nil {
			below, err := m.walk(f.Dir, byLookup)
			if err != nil {
				return nil, err
			}
			shown = append(shown, below...)
		}
	}
	return shown, nil
}

// errFetch is what a layer fails with in tests.
var errFetch = errors.New("the registry is away")
