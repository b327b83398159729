package fs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/fs/internal/known"
	"github.com/ocifs/ocifs/fs/internal/layers"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/fs/rootfs"
	"github.com/ocifs/ocifs/registry"
)

// errNoTree is the error of something that has no tree of files.
var errNoTree = errors.New("no tree of files")

func newRootfsDir(at place, r known.Repository) node.Directory {
	return newDigestsDir(at, r, byDigest{find: findRootfs})
}

func newUnpackedDir(at place, r known.Repository) node.Directory {
	return newDigestsDir(at, r, byDigest{find: findUnpacked})
}

// entrance is a symlink in an image directory, on the way to a tree of files.
type entrance struct {
	link
	image *image
}

func (i *image) entrance(at place, to string) *entrance { return &entrance{link{at, to, i.mtime}, i} }

// Target keeps the image's manifest as long as the indexes of its layers, because the next who
// comes this way needs it. findRootfs doesn't meet each such manifest: an index isn't the one whose
// tree it finds, nor is the manifest that leads to unpacked/.
func (e *entrance) Target() string {
	e.image.Repository.KeepManifest(e.image.Descriptor.Digest)
	return e.link.Target()
}

// hasRootfs says whether an image has a tree of files: an image manifest whose config is an
// image's, and that has layers. An index has no tree of its own.
func hasRootfs(m *registry.Manifest) bool {
	return registry.IsImageType(m.MediaType) && m.Config != nil && len(m.Layers) > 0 && isImageConfig(m.Config.MediaType)
}

// isImageConfig says whether a config is that of an image, which has diff IDs.
func isImageConfig(mediaType string) bool {
	return mediaType == v1.MediaTypeImageConfig || mediaType == dockerConfig
}

// dockerConfig is the media type of the config of Docker's image manifest, schema 2.
const dockerConfig = "application/vnd.docker.container.image.v1+json"

// findRootfs finds the tree of an image.
func findRootfs(ctx context.Context, at place, r known.Repository, d digest.Digest) (node.Entry, time.Duration, error) {
	m, old, err := r.LookUpManifest(ctx, d)
	if err != nil {
		return nil, 0, err
	}
	if !hasRootfs(m) {
		return nil, 0, fmt.Errorf("%s@%s is no image with layers, but %s: %w", r, d, m.MediaType, errNoTree)
	}
	r.KeepManifest(d)
	image := at.tree.layers.Image(r, m, r.String()+"@"+d.String())
	return newFiles(at, image, created(m.Annotations), false), believedFor(old), nil
}

// findUnpacked finds the tree of one archive.
func findUnpacked(ctx context.Context, at place, r known.Repository, d digest.Digest) (node.Entry, time.Duration, error) {
	b, err := r.LookUpBlob(ctx, d)
	if err != nil {
		return nil, 0, err
	}
	image := at.tree.layers.Single(layers.Layer{Repository: r, Packed: d, Size: b.Size, Name: "blob " + d.String() + " of " + r.String()})
	return newFiles(at, image, epoch, true), believedFor(b.Old), nil
}

// files is what all entries of one tree share.
type files struct {
	image *layers.Image
	// mtime is the time of directories that no entry of the archives describes.
	mtime time.Time
	// raw shows an archive as it is, with its whiteouts.
	raw bool

	mu sync.Mutex // guards told
	// told are names of which somebody was told that they aren't shown: maxTold at most, so that
	// a tree that is full of them fills no log.
	told map[string]bool
}

const (
	maxTold = 100
	// maxTellings is how many of them errors.jsonl has, so that no image pushes other failures
	// out of it. The log has all.
	maxTellings = 3
)

// newFiles makes the root of a tree. raw is files.raw.
func newFiles(at place, image *layers.Image, mtime time.Time, raw bool) *treeDir {
	f := &files{image: image, mtime: mtime, raw: raw, told: map[string]bool{}}
	tree := rootfs.NewTree(image, rootfs.TreeOptions{
		Raw: raw, Verbatim: at.tree.opts.VerbatimSymlinks, Note: func(n rootfs.Note) { f.tell(at, n) },
	})
	return &treeDir{place: at, files: f, dir: tree.Root()}
}

// tell tells once of a name that isn't shown.
func (f *files) tell(root place, n rootfs.Note) {
	f.mu.Lock()
	before := f.told[n.Name] || len(f.told) >= maxTold
	if !before {
		f.told[n.Name] = true
	}
	told := len(f.told)
	f.mu.Unlock()
	if before {
		return
	}
	if told > maxTellings {
		root.tree.log.Warn("a name isn't shown", "path", node.Join(root.path, n.Name), "why", n.Why)
		return
	}
	root.tree.kernel.Tell(node.Join(root.path, n.Name), "lookup", notShownHint,
		fmt.Errorf("%q isn't shown: %s: %w", n.Name, n.Why, fs.ErrNotExist))
}

// notShownHint is the hint for names in layers that can't be shown.
const notShownHint = "runtimes may refuse such a layer: tell those who built the image"

// left reports what isn't shown of a layer that was just unpacked.
func (t *Tree) left(l layers.Layer, first []rootfs.Note, all int) {
	for _, n := range first {
		t.log.Warn("an entry of a layer isn't shown", "layer", l.Name, "entry", n.Name, "why", n.Why)
	}
	said := first[:min(3, len(first))]
	var b strings.Builder
	for _, n := range said {
		fmt.Fprintf(&b, "; %q: %s", n.Name, n.Why)
	}
	if more := all - len(said); more > 0 {
		fmt.Fprintf(&b, "; and %d more", more)
	}
	at := t.pathOf(l.Repository.Host, l.Repository.Path, node.Join(unpackedName, hexPath(l.Packed)))
	t.kernel.Tell(at, "unpack", notShownHint,
		fmt.Errorf("%s: %w%s", l.Name, errNotShown, b.String()))
}

// errNotShown is the error of entries of an archive that can't be shown.
var errNotShown = fmt.Errorf("entries aren't shown: %w", fs.ErrNotExist)
