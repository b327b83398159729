package fs

import (
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry"
)

func childOf(content, os, arch, variant string) v1.Descriptor {
	return v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.FromString(content), Platform: &v1.Platform{OS: os, Architecture: arch, Variant: variant}}
}

// Platforms are named by what they are; twins carry their digest.
func TestPlatforms(t *testing.T) {
	hex := func(content string) string { return digest.FromString(content).Encoded()[:12] }
	m := &registry.Manifest{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{
		childOf("a", "linux", "amd64", ""),
		childOf("b", "linux", "arm", "v7"),
		childOf("c", "unknown", "unknown", ""),
		{Digest: digest.FromString("d")},
		childOf("e", "windows", "amd64", ""),
		childOf("f", "windows", "amd64", ""),
		childOf("g", "../..", "x/y", ""),
		{Digest: digest.Digest("blake3:" + digest.FromString("x").Encoded()), Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}},
	}}
	want := []string{"linux-amd64", "linux-arm-v7", "windows-amd64", "windows-amd64-" + hex("f")}
	got := platformShortcuts(m)
	if got := namesOf(got); !slices.Equal(got, want) {
		t.Errorf("platforms/ has %q, want %q", got, want)
	}
}
