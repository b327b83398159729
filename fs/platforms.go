package fs

import (
	"context"
	"fmt"
	"runtime"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/fs/internal/known"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// attestation is the registry.AnnotationReferenceType of BuildKit's attestations. Their platform
// is unknown/unknown.
const attestation = "attestation-manifest"

// platformShortcuts makes platforms/: the children of an index by platform. If several children
// have one platform, as Windows images do, all but the first also have their digest in the name.
// A child with no platform or an unknown one gets its org.opencontainers.image.ref.name, if that
// is a safe and free name. Otherwise it gets its digest. Attestations are left out, because they
// are for no platform.
func platformShortcuts(index *registry.Manifest) shortcuts {
	var all shortcuts
	taken := map[string]bool{}
	add := func(name, equal string, d v1.Descriptor) {
		if safeName(name) && !taken[name] {
			taken[name] = true
			all = append(all, shortcut{name: name, equal: equal, piece: known.ChildPiece(d)})
		}
	}
	var others []v1.Descriptor
	for _, d := range index.Manifests {
		name, ok := platformName(d.Platform)
		switch {
		case !known.CanBeAsked(d.Digest) || d.Annotations[registry.AnnotationReferenceType] == attestation:
		case !ok:
			others = append(others, d)
		case taken[name]:
			add(name+"-"+d.Digest.Encoded()[:12], "", d)
		default:
			add(name, normalPlatform(name), d)
		}
	}
	for _, d := range others {
		name := d.Annotations[v1.AnnotationRefName]
		if !safeName(name) || taken[name] {
			name = "unknown-" + d.Digest.Encoded()[:12]
		}
		add(name, "", d)
	}
	return all.sorted()
}

func platformName(p *v1.Platform) (string, bool) {
	if p == nil || p.OS == "" || p.Architecture == "" || p.OS == "unknown" {
		return "", false
	}
	name := p.OS + "-" + p.Architecture
	if p.Variant != "" {
		name += "-" + p.Variant
	}
	return name, safeName(name)
}

// Spellings of platforms with the same meaning, in lower case, as in containerd (Normalize of
// github.com/containerd/platforms v1.0).
var (
	equalOS   = map[string]string{"macos": "darwin"}
	equalArch = map[string]string{"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64"}
	// equalVariant maps an architecture with a variant to the spelling that normalPlatform
	// gives.
	equalVariant = map[string]string{
		"amd64-v1": "amd64", "i386": "386",
		"arm64-8": "arm64", "arm64-v8": "arm64", "arm64-v8.0": "arm64", "arm64-9": "arm64-v9", "arm64-9.0": "arm64-v9", "arm64-v9.0": "arm64-v9",
		"arm": "arm-v7", "arm-7": "arm-v7", "armhf": "arm-v7", "armhf-v7": "arm-v7",
		"armel": "arm-v6", "armel-v6": "arm-v6", "arm-5": "arm-v5", "arm-6": "arm-v6", "arm-8": "arm-v8",
	}
)

// normalPlatform gives the same spelling for all names <os>-<arch>[-<variant>] with the same
// meaning. It gives "" for any other name.
func normalPlatform(name string) string {
	os, arch, ok := strings.Cut(strings.ToLower(name), "-")
	if !ok {
		return ""
	}
	if equal, ok := equalOS[os]; ok {
		os = equal
	}
	for spelled, equal := range equalArch {
		if variant, ok := strings.CutPrefix(arch, spelled); ok && (variant == "" || variant[0] == '-') {
			arch = equal + variant
		}
	}
	if equal, ok := equalVariant[arch]; ok {
		arch = equal
	}
	return os + "-" + arch
}

// ParsePlatform parses OS/ARCH or OS/ARCH/VARIANT, as --platform spells it. Each spelling that
// platforms/ knows is valid.
func ParsePlatform(s string) (v1.Platform, error) {
	os, rest, _ := strings.Cut(s, "/")
	arch, variant, withVariant := strings.Cut(rest, "/")
	p := v1.Platform{OS: os, Architecture: arch, Variant: variant}
	_, ok := platformName(&p)
	if !ok || strings.Contains(variant, "/") || withVariant && variant == "" {
		return v1.Platform{}, fmt.Errorf("%w: %q is no platform: write OS/ARCH or OS/ARCH/VARIANT, such as linux/arm64", ref.ErrInvalid, s)
	}
	return p, nil
}

// FormatPlatform writes a platform as ParsePlatform reads it. The zero platform is "".
func FormatPlatform(p v1.Platform) string {
	if p.OS == "" {
		return ""
	}
	return strings.TrimSuffix(p.OS+"/"+p.Architecture+"/"+p.Variant, "/")
}

// DefaultPlatform is the platform of a tree whose options name none: linux, because nearly all
// images are for linux, on this machine's architecture.
func DefaultPlatform() v1.Platform { return v1.Platform{OS: "linux", Architecture: runtime.GOARCH} }

// childFor gives the image of a platform. index is platforms/ of an index. Equal spellings count
// as they do in a lookup in platforms/: the same spelling is the best, then containerd's, then the
// first one. A child that only has the name of a platform as its ref.name is for no platform.
// lacks says that the registry lacks a child. ok is false if the index has no image for the
// platform.
func childFor(index shortcuts, p v1.Platform, lacks func(digest.Digest) bool) (child known.Piece, ok bool) {
	name, _ := platformName(&p)
	fit := index.equals(name)
	if s, ok := index.get(name); ok && s.equal != "" {
		fit = append(shortcuts{s}, fit...)
	}
	for _, s := range fit {
		if registry.IsImageType(s.piece.MediaType) && !lacks(s.piece.Digest) {
			return s.piece, true
		}
	}
	return known.Piece{}, false
}

// child gives the child of an index for Options.Platform. It sends no request beyond that for the
// index: a child counts unless the registry has denied it lately. ok is false if there is none.
func (i *image) child(ctx context.Context) (child known.Piece, ok bool, err error) {
	all, err := i.shortcuts(ctx, platformsName)
	if err != nil {
		return known.Piece{}, false, err
	}
	child, ok = childFor(all, i.tree.opts.Platform, i.Repository.LacksManifest)
	return child, ok, nil
}
