package fs

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/fs/internal/caller"
	"github.com/ocifs/ocifs/fs/internal/imagetar"
	"github.com/ocifs/ocifs/fs/internal/known"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/fs/upload"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// archivesDir is archives/: it has each image as one file, <name>.tar. The name is a tag, a digest
// as ref.DigestName spells it, or both with a dot between them. A name with a digest means that
// digest, and the tag in it is only the name that the archive gives the image. archives/ lists
// nothing, so that no walk over a mount reads an image twice.
type archivesDir struct {
	place
	repo known.Repository
}

func newArchivesDir(at place, r known.Repository) node.Directory { return &archivesDir{at, r} }

func (d *archivesDir) Attr() node.Attr { return d.dirAttr("") }

// Lookup finds the archive of an image. It needs the manifests of all children of an index, as the
// size of the archive depends on them.
func (d *archivesDir) Lookup(ctx context.Context, name string) (node.Child, error) {
	tag, dgst, ok := parseArchiveName(name)
	if !ok {
		return node.Child{}, node.ErrNotExist
	}
	m, ttl, err := d.manifest(ctx, tag, dgst)
	if err != nil {
		return node.Child{}, err
	}
	i := newImage(d.at(name), d.up(1), d.repo, m, m.Digest, tag)
	l, err := i.archiveLayout(ctx)
	if err != nil {
		return node.Child{}, err
	}
	return node.Child{Name: name, Entry: &archiveFile{i.place, i, l.tar.Size(), l.tar.Sum()}, TTL: ttl}, nil
}

// manifest gives the manifest that a name means, and for how long: that of the digest or, if there
// is none, of the tag.
func (d *archivesDir) manifest(ctx context.Context, tag string, dgst digest.Digest) (*registry.Manifest, time.Duration, error) {
	if dgst != "" {
		m, old, err := d.repo.LookUpManifest(ctx, dgst)
		return m, believedFor(old), err
	}
	tags := &tagsDir{d.up(1).at(tagsName), d.repo}
	t, err := tags.find(ctx, tag)
	if err == nil && t.Manifest == nil { // a list named the tag
		t, err = d.repo.Tag(ctx, tag)
	}
	return t.Manifest, t.Until.Sub(d.tree.opts.now()), err
}

func (d *archivesDir) List(context.Context) (node.Listing, error) { return node.Listing{}, nil }

const (
	archiveSuffix = ".tar"
	// maxName is Linux' NAME_MAX, in bytes. macOS has the same limit.
	maxName = 255
)

// archiveName gives the name in archives/ of an image. It is bound to the digest. The name has the
// tag as well, unless there is none or the name gets too long.
func archiveName(tag string, d digest.Digest) string {
	name := ref.DigestName(d) + archiveSuffix
	if tag != "" && len(tag)+1+len(name) <= maxName {
		return tag + "." + name
	}
	return name
}

// parseArchiveName parses a name in archives/. d is "" for the name of a tag alone, and tag is ""
// for that of a digest alone. ok is false for any other name.
func parseArchiveName(name string) (tag string, d digest.Digest, ok bool) {
	name, ok = strings.CutSuffix(name, archiveSuffix)
	if !ok {
		return "", "", false
	}
	if d, ok = ref.ParseDigestName(name); ok {
		return "", d, true
	}
	if dot := strings.LastIndexByte(name, '.'); dot >= 0 {
		if d, ok = ref.ParseDigestName(name[dot+1:]); ok {
			return name[:dot], d, ref.ValidTag(name[:dot])
		}
	}
	return name, "", ref.ValidTag(name)
}

// isImage says whether a manifest is that of an image whose config can be requested. Docker's list
// of the images in an archive needs a config, which artifact manifests and Docker's schema 1 don't
// have.
func isImage(m *registry.Manifest) bool {
	return registry.IsImageType(m.MediaType) && m.Config != nil && known.CanBeAsked(m.Config.Digest)
}

// archiveLayout is what the archive of an image is made of. It doesn't change.
type archiveLayout struct {
	tar *imagetar.Archive
	// pieces are the last members of tar. The members before them are in memory.
	pieces []known.Piece
}

// archiveLayout lays out the archive of the image: an OCI image layout of everything that the image
// directory has in blobs/, and Docker's list of images. The small files come first, so that a
// program that only looks for them reads no layer. If the image has no archive, archiveLayout fails
// with node.ErrNotExist.
//
// The tag is the name of the image in both lists. Without a tag, index.json has no ref.name either,
// because containerd takes a ref.name for the name of the image (client.Import, 2.0).
func (i *image) archiveLayout(ctx context.Context) (*archiveLayout, error) {
	c, err := i.Reachable(ctx)
	if err != nil {
		return nil, err
	}
	m, err := i.Manifest(ctx)
	if err != nil {
		return nil, err
	}
	if m.IsIndex() {
		child, ok, err := i.child(ctx)
		if err == nil && !ok {
			err = node.ErrNotExist
		}
		if err != nil {
			return nil, err
		}
		if m, err = i.Repository.Child(ctx, child.Descriptor()); err != nil {
			return nil, err
		}
	}
	if !isImage(m) {
		return nil, node.ErrNotExist
	}
	var annotations map[string]string
	if i.tag != "" {
		annotations = map[string]string{upload.AnnotationImageName: i.fullName(), v1.AnnotationRefName: i.tag}
	}
	var members []imagetar.Member
	for _, f := range []struct {
		name  string
		bytes []byte
	}{
		{layoutName, layoutFile},
		{indexName, i.index(annotations)},
		{dockerListName, i.dockerList(m)},
	} {
		members = append(members, imagetar.Member{Name: f.name, Size: int64(len(f.bytes)), Bytes: f.bytes})
	}
	for _, p := range c.Pieces {
		members = append(members, imagetar.Member{Name: blobsName + "/" + hexPath(p.Digest), Size: p.Size})
	}
	t, err := imagetar.New(members, epoch)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", i.Descriptor.Digest, registry.ErrCorrupt, err)
	}
	return &archiveLayout{t, c.Pieces}, nil
}

// dockerListName is the name of Docker's list in an archive. Programs that read Docker's archives
// look for it (moby's image/spec, v1.2, "Combined Image JSON + Filesystem Changeset Format").
const dockerListName = "manifest.json"

// fullName gives the full name of a tagged image, as docker spells it in full.
func (i *image) fullName() string {
	return ref.Reference{Repository: i.Repository.Repository, Object: i.tag}.String()
}

// dockerList makes Docker's list of images: one image with the manifest m.
func (i *image) dockerList(m *registry.Manifest) []byte {
	listed := struct {
		Config   string
		RepoTags []string `json:",omitempty"`
		Layers   []string
	}{blobsName + "/" + hexPath(m.Config.Digest), nil, []string{}}
	if i.tag != "" {
		listed.RepoTags = []string{i.fullName()}
	}
	for _, l := range m.Layers {
		listed.Layers = append(listed.Layers, blobsName+"/"+hexPath(l.Digest))
	}
	b, err := json.Marshal([]any{listed})
	if err != nil { // it has only plain values of this package
		panic(err)
	}
	return append(b, '\n')
}

// archiveFile is the archive of an image, as a file. It holds neither the layout nor a blob, as the
// kernel may hold many of them.
type archiveFile struct {
	place
	image *image
	size  int64 // in bytes
	// sum tells what is in it: a piece that the registry gets or loses makes another archive.
	sum digest.Digest
}

func (f *archiveFile) Attr() node.Attr { return f.fileAttr(f.sum, f.size, f.image.mtime) }

// Open sends no request, unless manifests were evicted. If the registry got or lost a piece since
// the lookup, Open fails with ESTALE, and the kernel looks the name up again.
func (f *archiveFile) Open(ctx context.Context, _ caller.Caller) (node.Content, error) {
	l, err := f.image.archiveLayout(ctx)
	if err != nil {
		return nil, err
	}
	if l.tar.Sum() != f.sum {
		return nil, syscall.ESTALE
	}
	return &archiveContent{archiveLayout: l, file: f, way: f.tree.wayOf(l.pieces)}, nil
}
