package upload

import (
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/ref"
)

// Names with a meaning in upload/.
const (
	indexName     = v1.ImageIndexFile
	layoutName    = v1.ImageLayoutFile
	blobsName     = v1.ImageBlobsDir
	manifestsName = "manifests"
	// ingestName is the directory in which containerd's content library and oras write
	// blobs that aren't whole yet.
	ingestName = "ingest"

	// imageManifestName is the manifest of an image directory of this file system.
	imageManifestName = "manifest.json"
)

// imageDirs are the names of the directories in an image directory of this file system.
var imageDirs = map[string]bool{blobsName: true, "layers": true, "files": true, "platforms": true, "unpacked": true}

type roleKind int

const (
	onlyStaged roleKind = iota // never pushed from there
	blob                       // blobs/<algo>/<hex>: a blob or a manifest
	namedBlob                  // blobs/<name>
	manifest                   // manifests/<name>
	index                      // index.json
)

// role says as what a file is pushed, by its place in upload/.
type role struct {
	kind roleKind
	// layout is the directory of the layout; set for a blob and an index.
	layout *Dir
	// digest is set for a blob. For a manifest, "" means that it is pushed under tag.
	digest digest.Digest
	// tag is set for a manifest that is pushed under a tag.
	tag string
}

// roleAt gives the role of the place d/name. Root.mu is held.
func roleAt(d *Dir, name string) role {
	switch {
	case d == nil:
	case name == indexName && d.isLayout():
		return role{kind: index, layout: d}
	case d.parent == nil || temporary(name):
	case d.name == blobsName && d.parent == d.root.top && !ref.ValidAlgorithm(name):
		return role{kind: namedBlob}
	case d.name == manifestsName && d.parent == d.root.top:
		r := role{kind: manifest, tag: name}
		if dgst, ok := ref.ParseDigestName(name); ok {
			r.digest, r.tag = dgst, ""
		}
		return r
	case d.parent.name == blobsName && d.parent.parent != nil && d.parent.parent.isLayout():
		if dgst, err := ref.NewDigest(d.name, name); err == nil {
			return role{kind: blob, layout: d.parent.parent, digest: dgst}
		}
	}
	return role{}
}

// isLayout says whether d can be a layout: it is upload/ itself, or it stands in upload/ and
// its name can be a tag. Root.mu is held.
func (d *Dir) isLayout() bool {
	if d.parent == nil {
		return d == d.root.top
	}
	return d.parent == d.root.top && canBeTag(d.name)
}

// canBeTag says whether a directory in upload/ can be an image whose tag is the directory's
// name.
func canBeTag(name string) bool {
	switch name {
	case blobsName, manifestsName, ingestName:
		return false
	}
	return !temporary(name) && isTarget(name)
}

// isTarget says whether an image can be pushed under a name: a tag, or a digest written as
// <algorithm>-<hex>, which may be longer than a tag.
func isTarget(name string) bool {
	_, isDigest := ref.ParseDigestName(name)
	return isDigest || ref.ValidTag(name)
}

// checkName refuses names that could never be pushed, in the directories that are only for
// content to push. Root.mu is held.
func checkName(d *Dir, name string, isDir bool) error {
	within := d.parent == d.root.top
	switch {
	case temporary(name), d.parent == nil && !isDir:
		return nil
	case isDir && d == d.root.top && !isTarget(name):
		return fmt.Errorf("%w: a directory in upload/ is an image, and %q can be no tag", ref.ErrInvalid, name)
	case isDir && within && d.name == manifestsName:
		return fmt.Errorf("%w: manifests/ has files alone, and %q is a directory", ErrPlace, name)
	case isDir && within && d.name == blobsName && imageDirs[name]:
		return fmt.Errorf("%w: blobs/ has directories by digest algorithm, and %q is one of an image directory", ErrPlace, name)
	case !isDir && within && d.name == manifestsName:
		return checkManifestName(name)
	}
	return nil
}

// checkManifestName refuses a name that no manifest can have. It also refuses index.json and
// manifest.json: they could be tags, but they come from a copied image directory.
func checkManifestName(name string) error {
	if !isTarget(name) {
		return fmt.Errorf("%w: %q is neither a tag nor <algorithm>-<digest>", ref.ErrInvalid, name)
	}
	if name == indexName || name == imageManifestName {
		return fmt.Errorf("%w: %q is a file of an image directory, and not meant as a tag", ErrPlace, name)
	}
	return nil
}

// isUnnamed says whether a place makes its file a blob, under a name that promises no digest.
// Root.mu is held.
func isUnnamed(d *Dir, name string) bool { return roleAt(d, name).kind == namedBlob }

// promised gives the digest that a file's name promises for its bytes. The name of a blob is
// its digest. The names that crane, oras, rsync and rclone give to a blob until it is whole
// begin with the digest. "" means that the name promises nothing. Root.mu is held.
func promised(d *Dir, name string) digest.Digest {
	if role := roleAt(d, name); role.kind == blob {
		return role.digest
	}
	if d == nil || d.parent == nil || d.name != ingestName && d.parent.name != blobsName {
		return ""
	}
	algo := digest.Canonical
	if d.name != ingestName {
		algo = digest.Algorithm(d.name)
	}
	hex := strings.TrimPrefix(name, ".")
	if n := 2 * algo.Size(); algo.Available() && len(hex) >= n {
		if dgst, err := ref.NewDigest(algo.String(), hex[:n]); err == nil {
			return dgst
		}
	}
	return ""
}
