package fs

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

func childOf(content, os, arch, variant string) v1.Descriptor {
	return v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.FromString(content), Platform: &v1.Platform{OS: os, Architecture: arch, Variant: variant}}
}

func named(d v1.Descriptor, name string) v1.Descriptor {
	d.Annotations = map[string]string{v1.AnnotationRefName: name}
	return d
}

// Platforms are named by what they are; twins carry their digest; a child without a platform
// has its ref.name or its digest; attestations are for no platform.
func TestPlatforms(t *testing.T) {
	hex := func(content string) string { return digest.FromString(content).Encoded()[:12] }
	attested := childOf("attestation", "unknown", "unknown", "")
	attested.Annotations = map[string]string{registry.AnnotationReferenceType: attestation}
	m := &registry.Manifest{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{
		named(v1.Descriptor{Digest: digest.FromString("taken")}, "linux-amd64"),
		childOf("a", "linux", "amd64", ""),
		childOf("b", "linux", "arm", "v7"),
		childOf("c", "unknown", "unknown", ""),
		{Digest: digest.FromString("d")},
		childOf("e", "windows", "amd64", ""),
		childOf("f", "windows", "amd64", ""),
		childOf("g", "../..", "x/y", ""),
		named(v1.Descriptor{Digest: digest.FromString("bottle")}, "1.0.arm64_sonoma"),
		named(v1.Descriptor{Digest: digest.FromString("unsafe")}, "docker.io/library/app:v1"),
		attested,
		{Digest: digest.Digest("blake3:" + digest.FromString("x").Encoded()), Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}},
	}}
	want := []string{
		"1.0.arm64_sonoma", "linux-amd64", "linux-arm-v7", "windows-amd64", "windows-amd64-" + hex("f"),
		"unknown-" + hex("c"), "unknown-" + hex("d"), "unknown-" + hex("g"), "unknown-" + hex("taken"), "unknown-" + hex("unsafe"),
	}
	slices.Sort(want)
	got := platformShortcuts(m)
	if got := namesOf(got); !slices.Equal(got, want) {
		t.Errorf("platforms/ has %q, want %q", got, want)
	}
	if s, _ := got.get("linux-amd64"); s.piece.Digest != digest.FromString("a") {
		t.Error("a name that a child only calls itself is another's platform")
	}
}

// A platform is found by each name that containerd takes for the same; an exact name finds
// its own.
func TestEqualPlatforms(t *testing.T) {
	of := func(ds ...v1.Descriptor) shortcuts { return platformShortcuts(&registry.Manifest{Manifests: ds}) }
	arm64, v8 := childOf("arm64", "linux", "arm64", ""), childOf("arm64/v8", "linux", "arm64", "v8")
	for name, test := range map[string]struct {
		index shortcuts
		found string // the content of the child; "": none
	}{
		"linux-arm64":       {of(v8), "arm64/v8"},
		"linux-arm64-v8":    {of(arm64), "arm64"},
		"linux-arm64-8":     {of(v8), "arm64/v8"},
		"linux-aarch64":     {of(v8, arm64), "arm64"},
		"linux-aarch64-v8":  {of(v8), "arm64/v8"},
		"Linux-ARM64":       {of(arm64), "arm64"},
		"linux-arm64-v9":    {of(arm64, v8), ""},
		"linux-amd64":       {of(childOf("x", "linux", "x86_64", "")), "x"},
		"linux-amd64-v1":    {of(childOf("x", "linux", "amd64", "")), "x"},
		"linux-x86_64":      {of(childOf("x", "linux", "amd64", "v1")), "x"},
		"linux-x86-64":      {of(childOf("x", "linux", "amd64", "")), "x"},
		"linux-x86-64-v3":   {of(childOf("x", "linux", "amd64", "v3")), "x"},
		"linux-amd64-v2":    {of(childOf("x", "linux", "amd64", "")), ""},
		"linux-arm":         {of(childOf("x", "linux", "arm", "v7")), "x"},
		"linux-arm-v7":      {of(childOf("x", "linux", "arm", "")), "x"},
		"linux-armhf":       {of(childOf("x", "linux", "arm", "v7")), "x"},
		"linux-arm-7":       {of(childOf("x", "linux", "armhf", "")), "x"},
		"linux-armel":       {of(childOf("x", "linux", "arm", "v6")), "x"},
		"linux-arm-v6":      {of(childOf("x", "linux", "arm", "6")), "x"},
		"linux-arm-v5":      {of(childOf("x", "linux", "arm", "")), ""},
		"linux-i386":        {of(childOf("x", "linux", "386", "")), "x"},
		"linux-386":         {of(childOf("x", "linux", "i386", "")), "x"},
		"macos-arm64":       {of(childOf("x", "darwin", "arm64", "")), "x"},
		"darwin-amd64":      {of(childOf("x", "macos", "x86_64", "")), "x"},
		"linux-ppc64le":     {of(arm64), ""},
		"windows-arm64":     {of(arm64), ""},
		"windows-x86_64":    {of(childOf("first", "windows", "amd64", ""), childOf("second", "windows", "amd64", "")), "first"},
		"v1-aarch64":        {of(named(v1.Descriptor{Digest: digest.FromString("x")}, "v1-arm64")), ""},
		"linux":             {of(arm64), ""},
		"linux-aarch64ilp":  {of(arm64), ""},
		"linux-riscv64-v8":  {of(childOf("x", "linux", "riscv64", "")), ""},
		"LINUX-arm64-V8":    {of(arm64), "arm64"},
		"linux-arm64-v8.0":  {of(arm64), "arm64"},
		"linux-arm64-v9.0":  {of(childOf("x", "linux", "arm64", "9")), "x"},
		"linux-mips64le-v8": {of(arm64), ""},
	} {
		found := test.index.equals(name)
		switch {
		case test.found == "" && len(found) > 0:
			t.Errorf("%s finds %+v", name, found)
		case test.found != "" && (len(found) == 0 || found[0].piece.Digest != digest.FromString(test.found)):
			t.Errorf("%s finds %+v, want %s", name, found, test.found)
		}
	}

	for name, want := range map[string]string{"linux-arm64": "arm64", "linux-arm64-v8": "arm64/v8"} {
		s, _ := platformShortcuts(&registry.Manifest{Manifests: []v1.Descriptor{v8, arm64}}).get(name)
		if s.piece.Digest != digest.FromString(want) {
			t.Errorf("%s isn't its own", name)
		}
	}
}

// An index stands for the child of one platform: the one to which platforms/ leads by that name, as
// long as the registry has it and it is an image.
func TestTheChildForAPlatform(t *testing.T) {
	of := func(ds ...v1.Descriptor) shortcuts { return platformShortcuts(&registry.Manifest{Manifests: ds}) }
	ofType := func(d v1.Descriptor, mediaType string) v1.Descriptor {
		d.MediaType = mediaType
		return d
	}
	amd64, arm64, v8 := childOf("amd64", "linux", "amd64", ""), childOf("arm64", "linux", "arm64", ""), childOf("arm64/v8", "linux", "arm64", "v8")
	windows := []v1.Descriptor{childOf("first", "windows", "amd64", ""), childOf("second", "windows", "amd64", "")}
	calledSo := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.FromString("called so"), Annotations: map[string]string{v1.AnnotationRefName: "linux-amd64"}}
	docker := ofType(amd64, "application/vnd.docker.distribution.manifest.v2+json")
	for _, test := range []struct {
		index    shortcuts
		platform string
		lacks    string // the content of the child that the registry lacks; "": none
		found    string // the content of the child; "": none
	}{
		{of(arm64, amd64), "linux/amd64", "", "amd64"},
		{of(arm64, amd64), "Linux/X86_64", "", "amd64"},
		{of(arm64, docker), "linux/amd64", "", "amd64"},
		{of(arm64, v8), "linux/arm64", "", "arm64"},
		{of(arm64, v8), "linux/arm64/v8", "", "arm64/v8"},
		{of(v8), "linux/arm64", "", "arm64/v8"},
		{of(arm64, v8), "linux/arm64", "arm64", "arm64/v8"},
		{of(arm64), "linux/arm64", "arm64", ""},
		{of(childOf("v7", "linux", "arm", "v7"), childOf("v6", "linux", "arm", "v6")), "linux/arm", "", "v7"},
		{of(childOf("v6", "linux", "arm", "v6")), "linux/arm", "", ""},
		{of(windows...), "windows/amd64", "", "first"},
		{of(amd64), "linux/arm64", "", ""},
		{of(calledSo), "linux/amd64", "", ""},
		{of(ofType(amd64, v1.MediaTypeImageIndex)), "linux/amd64", "", ""},
		{of(ofType(amd64, ociArtifact)), "linux/amd64", "", ""},
		{of(), "linux/amd64", "", ""},
	} {
		p, err := ParsePlatform(test.platform)
		if err != nil {
			t.Fatal(err)
		}
		lacks := func(d digest.Digest) bool { return d == digest.FromString(test.lacks) }
		child, ok := childFor(test.index, p, lacks)
		if ok != (test.found != "") || ok && child.Digest != digest.FromString(test.found) {
			t.Errorf("%s of %q without %q is %+v, %v; want %q", test.platform, namesOf(test.index), test.lacks, child, ok, test.found)
		}
	}
}

// A platform is OS/ARCH or OS/ARCH/VARIANT, and is written as it is read.
func TestPlatformsAreParsed(t *testing.T) {
	for in, want := range map[string]v1.Platform{
		"linux/amd64":  {OS: "linux", Architecture: "amd64"},
		"linux/arm/v7": {OS: "linux", Architecture: "arm", Variant: "v7"},
		"macos/x86-64": {OS: "macos", Architecture: "x86-64"},
	} {
		if got, err := ParsePlatform(in); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q is %+v, %v; want %+v", in, got, err, want)
		}
		if got := FormatPlatform(want); got != in {
			t.Errorf("%+v is written %q, want %q", want, got, in)
		}
	}
	for _, in := range []string{"", "linux", "linux/", "/amd64", "linux/arm/", "linux/arm/v7/x", "unknown/amd64", "linux/a\nb"} {
		if got, err := ParsePlatform(in); !errors.Is(err, ref.ErrInvalid) {
			t.Errorf("%q is %+v, %v; want ErrInvalid", in, got, err)
		}
	}
}
