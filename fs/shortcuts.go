package fs

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/fs/internal/known"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry"
)

// shortcut is a name in platforms/, layers/, unpacked/ or files/, and the piece to which it leads.
type shortcut struct {
	name   string // a path in files/
	equal  string // normalPlatform of a platform's name, else ""
	piece  known.Piece
	inside bool // it leads to what is in the piece, which is an archive
}

// shortcuts are all shortcuts of one of these directories, sorted by name, each name once. They
// depend on the manifest alone. A directory leaves out those whose piece the registry lacks.
type shortcuts []shortcut

func (s shortcuts) sorted() shortcuts {
	slices.SortFunc(s, func(a, b shortcut) int { return strings.Compare(a.name, b.name) })
	return s
}

// from gives the index of the first name that doesn't sort before prefix.
func (s shortcuts) from(prefix string) int {
	return sort.Search(len(s), func(k int) bool { return s[k].name >= prefix })
}

// get gives the shortcut with a name.
func (s shortcuts) get(name string) (shortcut, bool) {
	if k := s.from(name); k < len(s) && s[k].name == name {
		return s[k], true
	}
	return shortcut{}, false
}

// below gives the shortcuts whose names begin with prefix.
func (s shortcuts) below(prefix string) shortcuts {
	first := s.from(prefix)
	n := sort.Search(len(s)-first, func(k int) bool { return !strings.HasPrefix(s[first+k].name, prefix) })
	return s[first : first+n]
}

// equals gives the shortcuts whose platform has the same meaning as a name. The one in
// containerd's spelling comes first.
func (s shortcuts) equals(name string) shortcuts {
	normal := normalPlatform(name)
	var equal shortcuts
	for _, c := range s {
		switch {
		case normal == "" || c.equal != normal:
		case c.name == normal:
			equal = slices.Insert(equal, 0, c)
		default:
			equal = append(equal, c)
		}
	}
	return equal
}

// shortcutsKey is the key of shortcuts in memory: the manifest, and the name of the directory.
type shortcutsKey struct {
	digest digest.Digest
	in     string
}

// maxShortcutBytes is the size, in bytes, of the shortcuts kept in memory. They are kept because
// a walk through a directory asks for the same ones again and again.
const maxShortcutBytes = 4 << 20

func newShortcuts() *known.Bounded[shortcutsKey, shortcuts] {
	return known.NewBounded[shortcutsKey](maxShortcutBytes, func(s shortcuts) int {
		n := known.Overhead
		for _, c := range s {
			n += len(c.name) + 256 // the digest, and the fields
		}
		return n
	})
}

// shortcuts gives the shortcuts of one directory of the image: platforms/, layers/, unpacked/ or files/.
func (i *image) shortcuts(ctx context.Context, in string) (shortcuts, error) {
	key := shortcutsKey{i.Descriptor.Digest, in}
	if s := i.tree.shortcuts.Get(key); s != nil {
		return s, nil
	}
	m, err := i.Manifest(ctx)
	if err != nil {
		return nil, err
	}
	s := shortcuts{}
	switch in {
	case platformsName:
		s = append(s, platformShortcuts(m)...)
	case layersName:
		s = append(s, layerShortcuts(m)...)
	case unpackedName:
		s = append(s, unpackedShortcuts(m)...)
	case filesName:
		chart, err := i.chartName(ctx, m)
		if err != nil {
			return nil, err
		}
		s = append(s, fileShortcuts(m, chart)...)
	}
	i.tree.shortcuts.Add(key, s)
	return s, nil
}

// shortcutsDir is platforms/, layers/, unpacked/ or files/ of an image directory, or a directory
// below files/. Its names lead to pieces elsewhere in the tree. A name is left out only if the registry
// denies its piece. If the registry can't be asked, a read through the name fails with the error.
type shortcutsDir struct {
	place
	image *image
	in    string // platformsName, layersName, unpackedName or filesName
	under string // the path below files/ with a slash at its end, else ""
}

func (d *shortcutsDir) Attr() node.Attr { return d.dirAttr(d.image.id) }

func (d *shortcutsDir) Lookup(ctx context.Context, name string) (node.Child, error) {
	all, err := d.image.shortcuts(ctx, d.in)
	if err != nil {
		return node.Child{}, err
	}
	var fit shortcuts
	if s, ok := all.get(d.under + name); ok {
		fit = append(fit, s)
	}
	if d.in == platformsName {
		fit = append(fit, all.equals(name)...)
	}
	for _, s := range fit {
		p, _, err := d.image.Repository.Seek(ctx, s.piece)
		if err != nil && ctx.Err() != nil {
			return node.Child{}, err
		}
		if d.shows(p) {
			return d.link(name, s, p), nil
		}
	}
	if len(all.below(d.under+name+"/")) > 0 {
		return d.dir(name), nil
	}
	return node.Child{}, node.ErrNotExist
}

func (d *shortcutsDir) List(ctx context.Context) (node.Listing, error) {
	all, err := d.image.shortcuts(ctx, d.in)
	if err != nil {
		return node.Listing{}, err
	}
	var cs []node.Child
	var leads shortcuts
	var names []string
	var ps []known.Piece
	for rest := all.below(d.under); len(rest) > 0; {
		name, _, isDir := strings.Cut(rest[0].name[len(d.under):], "/")
		if isDir {
			cs = append(cs, d.dir(name))
			rest = rest[len(rest.below(d.under+name+"/")):]
			continue
		}
		leads, names, ps = append(leads, rest[0]), append(names, name), append(ps, rest[0].piece)
		rest = rest[1:]
	}
	if ps, err = d.image.Repository.NotDenied(ctx, ps); err != nil {
		return node.Listing{}, err
	}
	for k, p := range ps {
		if d.shows(p) {
			cs = append(cs, d.link(names[k], leads[k], p))
		}
	}
	return node.List(cs), nil
}

// shows says whether a piece gets a name here. In platforms/, only manifests do.
func (d *shortcutsDir) shows(p known.Piece) bool {
	return p.Kind != known.AbsentPiece && (d.in != platformsName || p.Kind != known.BlobPiece)
}

// link makes the symlink of a shortcut whose piece is p: to the image directory of a child, to the
// files in an archive, or to a blob of the layout.
func (d *shortcutsDir) link(name string, s shortcut, p known.Piece) node.Child {
	to := func(in place) string { return d.to(in.at(hexPath(p.Digest))) }
	var e node.Entry
	switch {
	case d.in == platformsName:
		e = d.image.entrance(d.at(name), to(d.image.base.at(manifestsName)))
	case s.inside:
		e = d.image.entrance(d.at(name), to(d.image.base.at(unpackedName)))
	default:
		e = &link{d.at(name), to(d.image.at(blobsName)), d.image.mtime}
	}
	return node.Child{Name: name, Entry: e, TTL: forever}
}

// dir makes a directory below this one.
func (d *shortcutsDir) dir(name string) node.Child {
	return node.Child{Name: name, Entry: &shortcutsDir{d.at(name), d.image, d.in, d.under + name + "/"}, TTL: forever}
}

// layerShortcuts makes layers/: the layers, numbered in their order.
func layerShortcuts(m *registry.Manifest) shortcuts {
	var all shortcuts
	for n, l := range m.Layers {
		if known.CanBeAsked(l.Digest) {
			all = append(all, shortcut{name: layerName(m, n) + extension(l.MediaType), piece: known.LayerPiece(l)})
		}
	}
	return all.sorted()
}

// unpackedShortcuts makes unpacked/: the archives among the layers, by the layers' numbers.
func unpackedShortcuts(m *registry.Manifest) shortcuts {
	var all shortcuts
	for n, l := range m.Layers {
		if isArchive(l) {
			all = append(all, shortcut{name: layerName(m, n), piece: known.LayerPiece(l), inside: true})
		}
	}
	return all.sorted()
}

// layerName gives the name of the n-th layer, without an extension. Names sort as the layers are
// ordered.
func layerName(m *registry.Manifest, n int) string {
	width := max(2, len(fmt.Sprint(len(m.Layers)-1)))
	return fmt.Sprintf("%0*d-%.12s", width, n, m.Layers[n].Digest.Encoded())
}

// isArchive says whether a layer is an archive that can be unpacked, as far as its media type
// tells. Bare application/gzip is met in artifacts, for archives.
func isArchive(l v1.Descriptor) bool {
	ext := extension(l.MediaType)
	return known.CanBeAsked(l.Digest) && !strings.Contains(ext, ".enc") && (strings.HasPrefix(ext, ".tar") || ext == ".gz" && !strings.Contains(l.MediaType, "+"))
}

// extension gives the file name extension of a media type; "": none.
func extension(mediaType string) string {
	mediaType, _, _ = strings.Cut(mediaType, ";")
	base, suffix, _ := strings.Cut(mediaType, "+")
	ext := ""
	switch {
	case strings.HasSuffix(base, ".tar.gzip"): // Docker's spelling
		return ".tar.gz"
	case strings.HasSuffix(base, ".tar.zstd"):
		return ".tar.zst"
	case strings.HasSuffix(base, ".tar") || strings.HasSuffix(base, "/tar") || strings.HasSuffix(base, "/x-tar"):
		ext = ".tar"
	case base == "application/json":
		return ".json"
	case base == "application/wasm":
		return ".wasm"
	case base == "text/plain":
		return ".txt"
	case base == "application/gzip":
		return ".gz"
	}
	for s := range strings.SplitSeq(suffix, "+") {
		switch s {
		case "gzip":
			ext += ".gz"
		case "zstd":
			ext += ".zst"
		case "json", "xml", "yaml", "zip":
			ext += "." + s
		case "encrypted":
			ext += ".enc"
		}
	}
	return ext
}
