package fs

import (
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry"
)

// platformShortcuts makes platforms/: the children of an index by their platforms. Of several
// for one platform, as Windows has them, the later ones carry their digest. Attestations,
// which are for no platform, are left out.
func platformShortcuts(index *registry.Manifest) shortcuts {
	var all shortcuts
	taken := map[string]bool{}
	for _, d := range index.Manifests {
		name, ok := platformName(d.Platform)
		if !ok || !canBeAsked(d.Digest) {
			continue
		}
		if taken[name] {
			name += "-" + d.Digest.Encoded()[:12]
		}
		if safeName(name) && !taken[name] {
			taken[name] = true
			all = append(all, shortcut{name, childPiece(d)})
		}
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
