package content

import (
	"context"
	"fmt"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Sample is a small system of three layers, one gzip, one zstd, one plain, of
// which version is a part, so that two versions differ and share a layer.
func Sample(version string) Image {
	return Image{Layers: []Layer{
		{MediaType: ocispec.MediaTypeImageLayerGzip, Files: []File{
			{Name: "bin/"},
			{Name: "bin/hello", Text: "#!/bin/sh\necho hello\n", Mode: 0o755},
			{Name: "bin/hi", Link: "hello"},
			{Name: "etc/"},
			{Name: "etc/os-release", Text: "NAME=\"ocifs sample\"\nID=sample\n"},
		}},
		{MediaType: ocispec.MediaTypeImageLayerZstd, Files: []File{
			{Name: "etc/"},
			{Name: "etc/version", Text: version + "\n"},
			{Name: "usr/share/words", Text: strings.Repeat("the quick brown fox of "+version+"\n", 2000)},
		}},
		{MediaType: ocispec.MediaTypeImageLayer, Files: []File{
			{Name: "srv/"},
			{Name: "srv/index.html", Text: "<h1>ocifs " + version + "</h1>\n"},
		}},
	}}
}

// Small is an image of one gzip layer that says what it is.
func Small(text string) Image {
	return Image{Layers: []Layer{{MediaType: ocispec.MediaTypeImageLayerGzip, Files: []File{{Name: "text", Text: text}}}}}
}

// MultiPlatform pushes an index of three platforms, one with a variant, and an
// attestation as build tools add it.
func (r *Repo) MultiPlatform(ctx context.Context, tag string) (Manifest, error) {
	var children []Manifest
	for _, p := range []struct{ arch, variant string }{{"amd64", ""}, {"arm64", ""}, {"arm", "v7"}} {
		i := Small("for " + p.arch + p.variant)
		i.Arch = p.arch
		m, err := r.Image(ctx, "", i)
		if err != nil {
			return Manifest{}, err
		}
		children = append(children, m.For("linux", p.arch, p.variant))
	}
	attestation, err := r.Image(ctx, "", Image{Arch: "unknown", Layers: []Layer{{
		MediaType: "application/vnd.in-toto+json", Files: []File{{Name: "statement", Text: "{}"}},
	}}})
	if err != nil {
		return Manifest{}, err
	}
	attestation = attestation.For("unknown", "unknown", "")
	attestation.Annotations = map[string]string{
		"vnd.docker.reference.type":   "attestation-manifest",
		"vnd.docker.reference.digest": children[0].Digest.String(),
	}
	return r.Index(ctx, tag, "", append(children, attestation)...)
}

// Titles are those of the artifact that TitledArtifact pushes: the files that
// may be shown, by their names in the tree, and the indices of their layers.
var Titles = map[string]int{
	"model.onnx":      0,
	"docs/readme.txt": 1,
	"dataset.tar.gz":  2, // a packed directory
	"empty":           3,
}

// TitledArtifact pushes an artifact of titled files, some with titles that must
// not become names of files.
func (r *Repo) TitledArtifact(ctx context.Context, tag string) (Manifest, error) {
	packed, _ := Layer{MediaType: ocispec.MediaTypeImageLayerGzip, Files: []File{{Name: "dataset/one", Text: "1"}}}.pack()
	dataset := Titled("dataset", ocispec.MediaTypeImageLayerGzip, packed)
	dataset.Annotations["io.deis.oras.content.unpack"] = "true"
	files := []ArtifactFile{
		Titled("model.onnx", "application/octet-stream", NoiseBytes(7, 300_000)),
		Titled("docs/readme.txt", "text/plain", []byte("read me\n")),
		dataset,
		Titled("empty", "application/octet-stream", nil),
	}
	for i, evil := range []string{"../evil", "/etc/evil", "a/../../evil", "nul\x00evil", "..", "."} {
		files = append(files, Titled(evil, "text/plain", fmt.Appendf(nil, "evil %d", i)))
	}
	files = append(files, ArtifactFile{MediaType: "text/plain", Bytes: []byte("no title\n")})
	return r.Artifact(ctx, tag, Artifact{Type: "application/vnd.example.model", Files: files})
}

// HelmChart pushes something in the shape of a Helm chart.
func (r *Repo) HelmChart(ctx context.Context, tag, name, version string) (Manifest, error) {
	chart, _ := Layer{MediaType: ocispec.MediaTypeImageLayerGzip, Files: []File{
		{Name: name + "/Chart.yaml", Text: "apiVersion: v2\nname: " + name + "\nversion: " + version + "\n"},
	}}.pack()
	return r.Artifact(ctx, tag, Artifact{
		ConfigType: "application/vnd.cncf.helm.config.v1+json",
		Config:     fmt.Appendf(nil, `{"name":%q,"version":%q,"apiVersion":"v2"}`, name, version),
		Files:      []ArtifactFile{{MediaType: "application/vnd.cncf.helm.chart.content.v1.tar+gzip", Bytes: chart}},
		Annotations: map[string]string{
			ocispec.AnnotationTitle: name, ocispec.AnnotationVersion: version,
		},
	})
}

// Referrer pushes an artifact of a type that refers to subject.
func (r *Repo) Referrer(ctx context.Context, subject Manifest, artifactType, text string) (Manifest, error) {
	d := subject.Descriptor
	d.Platform, d.Annotations = nil, nil
	return r.Artifact(ctx, "", Artifact{
		Type: artifactType, Subject: &d,
		Files:       []ArtifactFile{Titled("statement.json", "application/json", []byte(text))},
		Annotations: map[string]string{"org.example.note": text},
	})
}
