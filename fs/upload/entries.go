package upload

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// entry is one descriptor of an index.json, and the state of its push.
type entry struct {
	// target is the key of the push's Record: a tag, a digest, or a ref.name that is
	// neither.
	target string
	// tag is the tag to push it under; "": it is pushed by digest.
	tag string
	// name is the tag that the ref.name gives; "": it gives none.
	name string
	desc v1.Descriptor
	// subject is set for a fallback tag only: the digest that all its children refer to
	// (distribution specification, "Referrers Tag Schema").
	subject digest.Digest
	// sign says that the entry holds signatures or attestations of another entry.
	sign bool
	// err is why the entry can't be pushed; nil: it can.
	err error

	// The fields below are written by the holder of the layout's turn, under Root.mu.
	tried  bool // a push was tried
	pushed bool // the last push succeeded
	// missing are the pieces that the entry waits for; nil: none.
	missing pieces
}

// means says whether two entries ask for the same push.
func (e *entry) means(other *entry) bool {
	a, b := e.desc, other.desc
	same := a.Digest == b.Digest && a.Size == b.Size && a.MediaType == b.MediaType
	return same && e.tag == other.tag && e.err == nil && other.err == nil
}

// Annotations in which other programs write the kind and the name of an entry.
const (
	// AnnotationImageName is set by containerd and docker to the full name of an image.
	// Their ref.name is only the tag.
	AnnotationImageName = "io.containerd.image.name"
	// annotationKind is set by cosign save, since cosign 1.3.
	annotationKind   = "kind"
	cosignImage      = "dev.cosignproject.cosign/image"
	cosignImageIndex = "dev.cosignproject.cosign/imageIndex"
)

// cosignTag matches the tags under which cosign looks for signatures, attestations and SBOMs.
var cosignTag = regexp.MustCompile(`^sha(256-[0-9a-f]{64}|512-[0-9a-f]{128})\.(sig|att|sbom)$`)

// cosignTags has, for each kind that cosign writes, the suffix of the tag under which cosign
// looks for it. The tag is <algorithm>-<digest of the image> and then the suffix.
var cosignTags = map[string]string{
	"dev.cosignproject.cosign/sigs":  ".sig",
	"dev.cosignproject.cosign/atts":  ".att",
	"dev.cosignproject.cosign/sboms": ".sbom",
}

// parseIndex reads an index.json.
func parseIndex(raw []byte) (v1.Index, error) {
	var index v1.Index
	switch {
	case bytes.HasPrefix(raw, []byte("\xef\xbb\xbf")):
		return index, fmt.Errorf("%w: it begins with a byte order mark, which JSON doesn't allow", ErrUnreadable)
	case bytes.HasPrefix(raw, []byte("\xff\xfe")), bytes.HasPrefix(raw, []byte("\xfe\xff")):
		return index, fmt.Errorf("%w: it is UTF-16, and JSON is UTF-8", ErrUnreadable)
	case len(raw) == 0:
		return index, fmt.Errorf("%w: it is empty", ErrUnreadable)
	}
	if err := json.Unmarshal(raw, &index); err != nil {
		return index, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return index, nil
}

// layoutKind says how the entries of an index.json get their tags.
type layoutKind int

const (
	// oneImage is the kind of upload/<name>/: all entries are pushed by digest, and the
	// one that chooseImage finds also under the directory's name.
	oneImage layoutKind = iota
	// anyImages is the kind of upload/ itself: each entry's tag comes from its ref.name.
	anyImages
)

// readEntries makes entries from the descriptors of an index.json. An entry that can't be
// pushed has its err set.
func readEntries(ds []v1.Descriptor, kind layoutKind) []*entry {
	var es []*entry
	for _, d := range ds {
		es = append(es, readEntry(d, kind, ds))
	}
	if kind == anyImages {
		es = lastOfEach(es)
	}
	return es
}

// eachOnce keeps the first entry of each target.
func eachOnce(es []*entry) (each []*entry) {
	seen := map[string]bool{}
	for _, e := range es {
		if !seen[e.target] {
			seen[e.target] = true
			each = append(each, e)
		}
	}
	return each
}

func readEntry(d v1.Descriptor, kind layoutKind, all []v1.Descriptor) *entry {
	e := &entry{target: d.Digest.String(), desc: d}
	refName := d.Annotations[v1.AnnotationRefName]
	if _, err := ref.ParseDigest(d.Digest.String()); err != nil {
		e.err = fmt.Errorf("%w: index.json has a descriptor whose digest is %q", ErrNoManifest, d.Digest)
		return e
	}
	if d.Size < 0 {
		e.err = fmt.Errorf("%w: index.json says that %s has %d bytes", ErrNoManifest, d.Digest, d.Size)
		return e
	}
	end, isSignature := cosignTags[d.Annotations[annotationKind]]
	if isSignature {
		e.sign = true
		if of, ok := cosignSubject(all); ok {
			e.tag = ref.DigestName(of) + end
			e.target = e.tag
		}
		return e
	}
	if d.Annotations[registry.AnnotationReferenceType] != "" {
		e.sign = true
	}
	tag, err := tagOf(refName)
	// regctl image copy --digest-tags writes such names.
	if kind == oneImage && err == nil && cosignTag.MatchString(tag) {
		e.sign, e.target, e.tag = true, tag, tag
		return e
	}
	switch {
	case err != nil && kind == anyImages:
		e.target, e.err = refName, err
		return e
	case err != nil:
		return e
	}
	e.name = tag
	if subject, ok := ref.ParseDigestName(tag); ok && registry.IsIndexType(d.MediaType) && subject != d.Digest {
		e.target, e.tag, e.subject = tag, tag, subject
		return e
	}
	if kind == anyImages && tag != "" {
		e.target, e.tag = tag, tag
	}
	return e
}

// cosignSubject gives the digest of the image that cosign saved into an index. ok is false if
// the index has no such image, or several.
func cosignSubject(ds []v1.Descriptor) (found digest.Digest, ok bool) {
	for _, d := range ds {
		switch d.Annotations[annotationKind] {
		case cosignImage, cosignImageIndex:
			if ok && found != d.Digest {
				return "", false
			}
			found, ok = d.Digest, true
		}
	}
	return found, ok
}

// lastOfEach keeps the last entry of each tag, because programs that write into a layout
// again append. Two entries with the same tag but different full image names are an error,
// because nothing says which one is meant. All entries that lose their tag are pushed by
// digest.
func lastOfEach(es []*entry) []*entry {
	byTag := map[string][]*entry{}
	for _, e := range es {
		if e.err == nil && e.tag != "" {
			byTag[e.tag] = append(byTag[e.tag], e)
		}
	}
	var each []*entry
	for _, e := range es {
		same := byTag[e.tag]
		if e.err != nil || len(same) < 2 {
			each = append(each, e)
			continue
		}
		last, err := lastOf(same)
		if err == nil && e == last {
			each = append(each, e)
			continue
		}
		if err != nil && e == same[0] {
			each = append(each, &entry{target: e.target, desc: e.desc, name: e.name, err: err})
		}
		each = append(each, &entry{target: e.desc.Digest.String(), desc: e.desc})
	}
	return each
}

// lastOf gives the last of the entries of one tag. It fails if they have different digests
// and different full names.
func lastOf(es []*entry) (*entry, error) {
	last := es[len(es)-1]
	for _, e := range es {
		if e.desc.Digest != last.desc.Digest && fullName(e.desc) != fullName(last.desc) {
			return nil, fmt.Errorf("%w: both %s (%s) and %s (%s) are called %q", ErrAmbiguous,
				e.desc.Digest, fullName(e.desc), last.desc.Digest, fullName(last.desc), last.name)
		}
	}
	return last, nil
}

// fullName gives the name of an image with registry and repository; "" if the entry has none.
func fullName(d v1.Descriptor) string {
	if full := d.Annotations[AnnotationImageName]; full != "" {
		return full
	}
	if name := d.Annotations[v1.AnnotationRefName]; strings.ContainsAny(name, "/:@") {
		return name
	}
	return ""
}

// tagOf gives the tag of a ref.name, which is a tag or a full reference; "" if it has no tag.
func tagOf(name string) (string, error) {
	if name == "" || ref.ValidTag(name) {
		return name, nil
	}
	rest, _, hasDigest := strings.Cut(name, "@")
	last := rest[strings.LastIndexByte(rest, '/')+1:]
	_, tag, ok := strings.Cut(last, ":")
	switch {
	case ok && ref.ValidTag(tag):
		return tag, nil
	case !ok && (hasDigest || strings.Contains(rest, "/")):
		return "", nil
	}
	return "", fmt.Errorf("%w: %q, the name of an image in index.json, is no tag", ref.ErrInvalid, name)
}

// byDigest groups entries by digest, in their order. A fallback tag is a group of its own.
func byDigest(es []*entry) [][]*entry {
	type key struct{ digest, subject digest.Digest }
	var groups [][]*entry
	group := map[key]int{} // key to position in groups
	for _, e := range es {
		k := key{e.desc.Digest, e.subject}
		i, ok := group[k]
		if !ok {
			i = len(groups)
			group[k] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], e)
	}
	return groups
}
