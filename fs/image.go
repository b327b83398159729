package fs

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/fs/internal/known"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry"
)

// image is an image directory. It shows one manifest or index as a complete OCI image layout,
// with shortcuts next to it. Everything outside of the layout is small or a symlink, so that a
// copy has each byte once.
//
// An image needs little memory, because the kernel may hold many thousands of them.
type image struct {
	place
	lazy
	known.Image
	// id is different for each directory that stood at this place.
	id   digest.Digest
	tag  string // the tag by which it was found; "": it was found by digest
	base place  // the directory of the repository
	// mtime is the time of its files and symlinks. Directories have epoch, because a listing
	// of tags doesn't know the manifests.
	mtime time.Time
}

// newImage makes the image directory of m. id goes into the identities of it and of the
// directories in it. The kernel has each directory in one place only. If two image directories of
// a tag shared a directory, the kernel would move it, and fail with ESTALE while somebody looks
// into either.
func newImage(at, base place, r known.Repository, m *registry.Manifest, id digest.Digest, tag string) *image {
	i := &image{place: at, base: base, Image: r.Image(m), id: id, tag: tag, mtime: created(m.Annotations)}
	i.lazy = lazy{isImageEntry, i.entries}
	return i
}

func (i *image) Attr() node.Attr { return i.dirAttr(i.id) }

// Names in an image directory.
const (
	manifestName  = "manifest.json"
	digestName    = "digest"
	layoutName    = "oci-layout"
	indexName     = "index.json"
	platformsName = "platforms"
	configName    = "config.json"
	layersName    = "layers"
	filesName     = "files"
	imageTarName  = "image.tar"
)

// isImageEntry says whether an image directory can have an entry with that name.
func isImageEntry(name string) bool {
	switch name {
	case manifestName, digestName, layoutName, indexName, blobsName, referrersName, platformsName, configName, layersName, unpackedName, filesName, rootfsName, imageTarName:
		return true
	}
	return false
}

// entries makes the entries of the image directory.
func (i *image) entries(ctx context.Context) (view, error) {
	m, err := i.Manifest(ctx)
	if err != nil {
		return nil, err
	}
	var d children
	file := func(name string, b []byte) {
		d.add(name, &small{i.at(name), b, i.Descriptor.Digest, i.mtime})
	}
	symlink := func(name, to string) { d.add(name, &link{i.at(name), to, i.mtime}) }
	shortcuts := func(name string) { d.add(name, &shortcutsDir{place: i.at(name), image: i, in: name}) }

	d.add(manifestName, i.manifestFile(i.at(manifestName), i.Descriptor))
	file(digestName, []byte(i.Descriptor.Digest+"\n"))
	file(layoutName, layoutFile)
	file(indexName, i.index(map[string]string{v1.AnnotationRefName: cmp.Or(i.tag, untagged)}))
	d.add(blobsName, &layoutBlobs{i.at(blobsName), i})
	symlink(referrersName, i.to(i.base.at(referrersName).at(hexPath(i.Descriptor.Digest))))
	of, archived, files := i.Descriptor.Digest, isImage(m), hasRootfs(m)
	if m.IsIndex() {
		child, ok, err := i.child(ctx)
		if err != nil {
			return nil, err
		}
		of, archived, files = child.Digest, ok, ok
	}
	if archived {
		symlink(imageTarName, i.to(i.base.at(archivesName).at(archiveName(i.tag, i.Descriptor.Digest))))
	}
	if files {
		d.add(rootfsName, i.entrance(i.at(rootfsName), i.to(i.base.at(rootfsName).at(hexPath(of)))))
	}
	if m.IsIndex() {
		shortcuts(platformsName)
		return d, nil
	}
	if m.Config != nil && known.CanBeAsked(m.Config.Digest) {
		c, _, err := i.Repository.Seek(ctx, known.LayerPiece(*m.Config))
		if err != nil && ctx.Err() != nil {
			return nil, err
		}
		if c.Kind != known.AbsentPiece {
			symlink(configName, "blobs/"+hexPath(c.Digest))
		}
	}
	shortcuts(layersName)
	if hasFiles(m) {
		shortcuts(filesName)
	}
	if slices.ContainsFunc(m.Layers, isArchive) {
		shortcuts(unpackedName)
	}
	return d, nil
}

// untagged is the org.opencontainers.image.ref.name of an image directory by digest. Tools assume
// it for an image that has no tag.
const untagged = "latest"

// layoutFile is the content of oci-layout.
var layoutFile = []byte(`{"imageLayoutVersion":"` + v1.ImageLayoutVersion + `"}`)

// index makes index.json: one descriptor, with these annotations.
func (i *image) index(annotations map[string]string) []byte {
	desc := i.Descriptor
	desc.Annotations = annotations
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageIndex,
		Manifests: []v1.Descriptor{desc},
	}); err != nil {
		panic(err) // it has only plain values of this package
	}
	return b.Bytes()
}

// manifestFile makes a file of the image's manifest, or of one of its children.
func (i *image) manifestFile(at place, d v1.Descriptor) *manifestFile {
	return &manifestFile{at, i.Repository, d, i.mtime}
}

// pieceFile makes a file of a piece of the image, with the time of the image.
func (i *image) pieceFile(at place, p known.Piece) node.File {
	if p.Kind == known.ManifestPiece {
		return i.manifestFile(at, p.Descriptor())
	}
	return &blobFile{at, i.Repository, p.Digest, p.Size, i.mtime, p.MediaType}
}

func (i *image) Xattrs() map[string]string { return described(i.Descriptor) }

// described gives a descriptor as extended attributes.
func described(d v1.Descriptor) map[string]string {
	x := map[string]string{"user.oci.digest": d.Digest.String()}
	if d.MediaType != "" {
		x["user.oci.mediaType"] = d.MediaType
	}
	return x
}

// hexPath gives a digest as a path: <algorithm>/<hex>.
func hexPath(d digest.Digest) string { return d.Algorithm().String() + "/" + d.Encoded() }
