package fs

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry"
)

// shortcutsDir is platforms/, layers/ or files/: names for what is elsewhere in the
// tree. It is made anew each time that someone looks, from a manifest that is at
// hand, as keeping it for whoever may look again would take more.
type shortcutsDir struct {
	place
	image *image
	show  func(context.Context, *registry.Manifest) (*fixed, error)
}

func (d *shortcutsDir) stat() stat { return d.dirStat(d.image.id, d.image.mtime) }

func (d *shortcutsDir) children(ctx context.Context) (*fixed, error) {
	m, err := d.image.load(ctx)
	if err != nil {
		return nil, err
	}
	return d.show(ctx, m)
}

func (d *shortcutsDir) lookup(ctx context.Context, name string) (child, error) {
	f, err := d.children(ctx)
	if err != nil {
		return child{}, err
	}
	return f.lookup(ctx, name)
}

func (d *shortcutsDir) list(ctx context.Context) (listing, error) {
	f, err := d.children(ctx)
	if err != nil {
		return listing{}, err
	}
	return f.list(ctx)
}

// layers makes layers/: symlinks to the layers, in order.
func (i *image) layers(_ context.Context, m *registry.Manifest) (*fixed, error) {
	d := i.fixed(i.at(layersName))
	width := max(2, len(fmt.Sprint(len(m.Layers)-1)))
	for n, l := range m.Layers {
		name := fmt.Sprintf("%0*d-%.12s%s", width, n, l.Digest.Encoded(), extension(l.MediaType))
		d.children = append(d.children, child{name, &link{d.at(name), "../blobs/" + hexPath(l.Digest), i.mtime}, forever})
	}
	return d, nil
}

// extension is the file name extension that a media type means, or none.
func extension(mediaType string) string {
	mediaType, _, _ = strings.Cut(mediaType, ";")
	base, suffix, _ := strings.Cut(mediaType, "+")
	ext := ""
	switch {
	case strings.HasSuffix(base, ".tar.gzip"): // Docker's spelling
		return ".tar.gz"
	case strings.HasSuffix(base, ".tar.zstd"):
		return ".tar.zst"
	case strings.HasSuffix(base, ".tar") || strings.HasSuffix(base, "/tar") || strings.HasSuffix(base, "/x-tar"):
		ext = ".tar"
	case base == "application/json":
		return ".json"
	case base == "application/wasm":
		return ".wasm"
	case base == "text/plain":
		return ".txt"
	case base == "application/gzip":
		return ".gz"
	}
	for s := range strings.SplitSeq(suffix, "+") {
		switch s {
		case "gzip":
			ext += ".gz"
		case "zstd":
			ext += ".zst"
		case "json", "xml", "yaml", "zip":
			ext += "." + s
		case "encrypted":
			ext += ".enc"
		}
	}
	return ext
}

// platforms makes platforms/: symlinks to the image directories of an index's
// children. Of several for one platform, as Windows has them, the later ones
// carry their digest. Attestations, which are for no platform, are left out.
func (i *image) platforms(_ context.Context, index *registry.Manifest) (*fixed, error) {
	d := i.fixed(i.at(platformsName))
	seen := map[string]bool{}
	for _, m := range index.Manifests {
		name, ok := platformName(m.Platform)
		if !ok {
			continue
		}
		if seen[name] {
			name += "-" + m.Digest.Encoded()[:12]
		}
		if seen[name] {
			continue
		}
		seen[name] = true
		to := d.to(i.base.at(manifestsName).at(hexPath(m.Digest)))
		d.children = append(d.children, child{name, &link{d.at(name), to, i.mtime}, forever})
	}
	return d, nil
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

// Annotations and media types of artifacts that say how a file is called.
const (
	annotationUnpack = "io.deis.oras.content.unpack" // "true": a directory, packed
	helmConfig       = "application/vnd.cncf.helm.config.v1+json"
	helmChart        = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	helmProvenance   = "application/vnd.cncf.helm.chart.provenance.v1.prov"
	dockerConfig     = "application/vnd.docker.container.image.v1+json"
)

// isArtifact says whether a manifest is something else than a container image.
func isArtifact(m *registry.Manifest) bool {
	if m.ArtifactType != "" {
		return true
	}
	return m.Config != nil && m.Config.MediaType != v1.MediaTypeImageConfig && m.Config.MediaType != dockerConfig
}

// files makes files/: symlinks to an artifact's blobs by their titles. A title
// that leads out of the directory, or that an earlier one has, is left out. Only
// an old Helm chart asks for anything: its name stands in its config alone.
func (i *image) files(ctx context.Context, m *registry.Manifest) (*fixed, error) {
	root := i.fixed(i.at(filesName))
	chart := ""
	if c := m.Config; c != nil && c.MediaType == helmConfig {
		var err error
		if chart, err = i.chartName(ctx, m); err != nil {
			return nil, err
		}
	}
	for _, l := range m.Layers {
		title := l.Annotations[v1.AnnotationTitle]
		switch {
		case chart != "" && l.MediaType == helmChart:
			title = chart + ".tgz"
		case chart != "" && l.MediaType == helmProvenance:
			title = chart + ".tgz.prov"
		case title != "" && l.Annotations[annotationUnpack] == "true":
			title += ".tar.gz"
		}
		i.addFile(root, title, l)
	}
	return root, nil
}

// addFile puts a symlink under a title, which may be a path.
func (i *image) addFile(d *fixed, title string, l v1.Descriptor) {
	if title == "" || len(title) > 4096 || path.Clean(title) != title || path.IsAbs(title) {
		return
	}
	parts := strings.Split(title, "/")
	for _, p := range parts {
		if !safeName(p) {
			return
		}
	}
	up := "../"
	for n, p := range parts {
		last := n == len(parts)-1
		c, err := d.lookup(context.Background(), p) // at hand: sends nothing
		below, isDir := c.entry.(*fixed)
		switch {
		case err == nil && (last || !isDir):
			return
		case last:
			d.children = append(d.children, child{p, &link{d.at(p), up + "blobs/" + hexPath(l.Digest), i.mtime}, forever})
			return
		case err != nil:
			below = i.fixed(d.at(p))
			d.children = append(d.children, child{p, below, forever})
		}
		d = below
		up += "../"
	}
}

// safeName says whether s can be the name of a directory entry.
func safeName(s string) bool {
	if s == "" || s == "." || s == ".." || len(s) > 255 || strings.Contains(s, "/") {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar }) < 0
}

// chartName is <name>-<version> of a Helm chart: from the manifest's
// annotations where Helm wrote them, else from the config.
func (i *image) chartName(ctx context.Context, m *registry.Manifest) (string, error) {
	a := m.Annotations
	chart := struct{ Name, Version string }{a[v1.AnnotationTitle], a[v1.AnnotationVersion]}
	if chart.Name == "" || chart.Version == "" {
		c := m.Config
		if c.Size > registry.MaxManifest { // a listing doesn't download whatever is called a config
			return "", nil
		}
		f, err := i.tree.store.Get(ctx, i.repo.want(c.Digest, c.Size))
		if err != nil {
			return "", err
		}
		defer f.Close()
		if err := json.NewDecoder(io.NewSectionReader(f, 0, f.Size())).Decode(&chart); err != nil {
			return "", nil // not a chart after all: its titles count
		}
	}
	if chart.Name == "" || chart.Version == "" {
		return "", nil
	}
	return chart.Name + "-" + chart.Version, nil
}
