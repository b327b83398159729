package upload

import (
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// The index.json of upload/<name>/ may list more than its image: also children, referrers and
// signatures. The image is the entry whose ref.name is the directory's name. If no entry has
// that name, the image is the only entry that can be one. Two such entries are an error.

// choice says which entry of a directory's index.json is the image.
type choice struct {
	// tagged is the image, as an entry under the directory's name. nil means that there
	// is none, or that it isn't known yet.
	tagged *entry
	sure   certainty
	// missing are the manifests that must arrive before the image is known; nil: none.
	missing pieces
}

// none says that no entry is an image.
func (c choice) none() bool { return c.tagged == nil && len(c.missing) == 0 && c.sure != sure }

// certainty says how far the names of the entries tell which one is the image.
type certainty int

const (
	// guessed: an entry without a name could be the image. oras lists the pieces of an
	// image without names while it writes the image (oras 1.3, seen 2026).
	guessed certainty = iota
	// likely: every entry that could be the image has a name, but not the directory's.
	likely
	// sure: an entry has the directory's name, or that name is the digest of the entry.
	sure
)

// loader loads a manifest that an index.json lists. It fails with registry.ErrNotFound if the
// manifest is neither staged nor at the registry.
type loader func(v1.Descriptor) (*registry.Manifest, error)

// chooseImage finds the image among the entries of an index.json. name is the name of its
// directory.
func chooseImage(es []*entry, name string, load loader) (choice, error) {
	own, isDigest := ref.ParseDigestName(name)
	var namesakes, could []*entry
	c := choice{sure: likely}
	for _, e := range es {
		switch {
		case e.subject != "" && e.target == name:
			// The directory is the fallback tag itself, which is pushed as one.
			return choice{sure: sure}, nil
		case isDigest && e.desc.Digest == own && e.err == nil:
			return choice{tagged: &entry{target: own.String(), desc: e.desc}, sure: sure}, nil
		case e.err != nil, e.sign, e.subject != "", !canBeManifest(e.desc):
		case e.name == name:
			namesakes = append(namesakes, e)
		default:
			could = append(could, e)
			if e.name == "" {
				c.sure = guessed
			}
		}
	}
	if len(namesakes) > 0 {
		image, err := lastOf(namesakes)
		if err == nil {
			c.tagged = underTag(image.desc, name)
		}
		c.sure = sure
		return c, err
	}
	image, missing, err := onlyImage(could, load)
	if image != nil {
		c.tagged = underTag(image.desc, name)
	}
	c.missing = missing
	return c, err
}

// canBeManifest says whether the media type of d allows a manifest. No media type allows it
// too.
func canBeManifest(d v1.Descriptor) bool {
	return d.MediaType == "" || registry.IsManifestType(d.MediaType)
}

// underTag makes the entry that pushes an image under a tag. An index whose tag has the form
// of a digest is the fallback tag of that digest.
func underTag(image v1.Descriptor, tag string) *entry {
	e := &entry{target: tag, tag: tag, name: tag, desc: image}
	if subject, ok := ref.ParseDigestName(tag); ok && registry.IsIndexType(image.MediaType) {
		e.subject = subject
	}
	return e
}

// onlyImage gives the one entry that isn't a child of another entry and has no subject. If
// there is a single entry and it has a name, that entry is the image even if it has a
// subject, because the name was a tag.
func onlyImage(could []*entry, load loader) (image *entry, missing pieces, err error) {
	if len(could) == 0 {
		return nil, nil, nil
	}
	if len(could) == 1 && could[0].name != "" {
		return could[0], nil, nil
	}
	missing = pieces{}
	children := map[digest.Digest]bool{}
	refers := map[digest.Digest]bool{}
	for _, e := range could {
		m, err := load(e.desc)
		switch {
		case errors.Is(err, registry.ErrNotFound):
			missing[e.desc.Digest] = "manifest " + e.desc.Digest.String()
			continue
		case err != nil:
			return nil, nil, err
		}
		refers[e.desc.Digest] = m.Subject != nil
		for _, child := range m.Manifests {
			children[child.Digest] = true
		}
	}
	if len(missing) > 0 {
		return nil, missing, nil
	}
	for _, e := range could {
		switch {
		case children[e.desc.Digest] || refers[e.desc.Digest]:
		case image == nil || image.desc.Digest == e.desc.Digest:
			image = e
		default:
			return nil, nil, fmt.Errorf("%w: both %s and %s could be the image", ErrAmbiguous, nameOf(image), nameOf(e))
		}
	}
	if image == nil {
		return nil, nil, fmt.Errorf("%w: each entry of index.json refers to another image, or is part of one: %s", ErrAmbiguous, nameOf(could[0]))
	}
	return image, nil, nil
}

// nameOf is the name of an entry in messages.
func nameOf(e *entry) string {
	if name := e.desc.Annotations[v1.AnnotationRefName]; name != "" {
		return fmt.Sprintf("%s (%s)", name, e.desc.Digest)
	}
	return e.desc.Digest.String()
}
