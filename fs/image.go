package fs

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry"
)

// image is an image directory: one manifest or index, shown as a complete OCI
// image layout with shortcuts beside it. All that isn't part of the layout is a
// symlink or small, so that a copy has each byte once.
//
// It is small itself: the kernel may hold a hundred thousand of them. The manifest
// comes from memory, from the cache, or once more from the registry.
type image struct {
	place
	repo  *repository
	id    digest.Digest // what tells this directory from others that stood here
	desc  v1.Descriptor // of the manifest: media type, digest and size
	name  string        // org.opencontainers.image.ref.name
	base  place         // the repository's directory
	mtime time.Time     // of its files and symlinks; directories have epoch, as a listing of tags knows no manifest
}

// newImage makes the image directory of m whose inode is that of id. Directories in it
// are of that id as well: the kernel has each directory in one place alone, and one
// that two of the same tag had in common would be moved from one to the other, which
// fails with ESTALE while anyone looks into either.
func newImage(at, base place, r *repository, m *registry.Manifest, id digest.Digest, name string) *image {
	return &image{place: at, base: base, repo: r, id: id, desc: m.Descriptor(), name: name, mtime: created(m.Annotations)}
}

func (i *image) stat() stat { return i.dirStat(i.id) }

// load gives the manifest. That this directory is there says that the repository
// showed it, so nobody is asked where the cache has it.
func (i *image) load(ctx context.Context) (*registry.Manifest, error) {
	return i.repo.held(ctx, i.desc.Digest)
}

func (i *image) lookup(ctx context.Context, name string) (child, error) {
	if !isImageEntry(name) {
		return child{}, errNotExist
	}
	d, err := i.children(ctx)
	if err != nil {
		return child{}, err
	}
	return d.lookup(ctx, name)
}

func (i *image) list(ctx context.Context) (listing, error) {
	d, err := i.children(ctx)
	if err != nil {
		return listing{}, err
	}
	return d.list(ctx)
}

// The entries of an image directory, beside the shortcuts that some have.
const (
	manifestName  = "manifest.json"
	digestName    = "digest"
	layoutName    = "oci-layout"
	indexName     = "index.json"
	platformsName = "platforms"
	configName    = "config.json"
	layersName    = "layers"
	filesName     = "files"
)

// isImageEntry says whether any image directory has an entry of that name.
func isImageEntry(name string) bool {
	switch name {
	case manifestName, digestName, layoutName, indexName, blobsName, referrersName, platformsName, configName, layersName, filesName:
		return true
	}
	return false
}

// children makes the entries of the directory.
func (i *image) children(ctx context.Context) (*fixed, error) {
	m, err := i.load(ctx)
	if err != nil {
		return nil, err
	}
	d := &fixed{place: i.place, version: i.id}
	add := func(name string, e entry) { d.children = append(d.children, child{name, e, forever}) }
	file := func(name string, b []byte) {
		add(name, &small{i.at(name), b, i.desc.Digest, i.mtime})
	}
	symlink := func(name, to string) { add(name, &link{i.at(name), to, i.mtime}) }
	shortcuts := func(name string) { add(name, &shortcutsDir{place: i.at(name), image: i, in: name}) }

	add(manifestName, i.manifestFile(i.at(manifestName), i.desc))
	file(digestName, []byte(i.desc.Digest+"\n"))
	file(layoutName, []byte(`{"imageLayoutVersion":"`+v1.ImageLayoutVersion+`"}`))
	file(indexName, i.index())
	add(blobsName, &layoutDir{i.at(blobsName), i})
	symlink(referrersName, i.to(i.base.at(referrersName).at(hexPath(i.desc.Digest))))
	if m.IsIndex() {
		shortcuts(platformsName)
		return d, nil
	}
	if m.Config != nil && canBeAsked(m.Config.Digest) {
		c, _, err := i.repo.seek(ctx, i.place, layerPiece(*m.Config))
		if err != nil && ctx.Err() != nil {
			return nil, err
		}
		if c.kind != absentPiece {
			symlink(configName, "blobs/"+hexPath(c.digest))
		}
	}
	shortcuts(layersName)
	if hasFiles(m) {
		shortcuts(filesName)
	}
	return d, nil
}

// index makes index.json: one descriptor, under one name.
func (i *image) index() []byte {
	desc := i.desc
	desc.Annotations = map[string]string{v1.AnnotationRefName: i.name}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageIndex,
		Manifests: []v1.Descriptor{desc},
	}); err != nil {
		panic(err) // made of plain values by ourselves
	}
	return b.Bytes()
}

// manifestFile is the bytes of the manifest, or of one that it names.
func (i *image) manifestFile(at place, d v1.Descriptor) *manifestFile {
	return &manifestFile{at, i.repo, d, i.mtime}
}

func (i *image) xattrs() map[string]string { return described(i.desc) }

// described is a descriptor as extended attributes.
func described(d v1.Descriptor) map[string]string {
	x := map[string]string{"user.oci.digest": d.Digest.String()}
	if d.MediaType != "" {
		x["user.oci.mediaType"] = d.MediaType
	}
	return x
}

// hexPath is a digest as paths have it.
func hexPath(d digest.Digest) string { return d.Algorithm().String() + "/" + d.Encoded() }
