package fs

import (
	"context"
	"encoding/json"
	"io"
	"path"
	"slices"
	"strings"
	"unicode"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/fs/internal/known"
	"github.com/ocifs/ocifs/registry"
)

// Annotations and media types that give a layer a file name.
const (
	annotationUnpack   = "io.deis.oras.content.unpack" // "true": a packed directory
	annotationFilepath = "org.cncf.model.filepath"     // the title in ModelPack
	helmConfig         = "application/vnd.cncf.helm.config.v1+json"
	helmChart          = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	helmProvenance     = "application/vnd.cncf.helm.chart.provenance.v1.prov"
)

// Limits on a title, which is a path. maxTitle is Linux' PATH_MAX, in bytes. maxTitleDepth is far
// above real titles, which are some directories deep.
const (
	maxTitle      = 4096
	maxTitleDepth = 32
)

// isChart says whether a manifest is that of a Helm chart.
func isChart(m *registry.Manifest) bool { return m.Config != nil && m.Config.MediaType == helmConfig }

// hasFiles says whether an image directory has files/: a layer has a title, or is a Helm chart.
func hasFiles(m *registry.Manifest) bool {
	for _, l := range m.Layers {
		if known.CanBeAsked(l.Digest) && (fileName(l, "") != "" || isChart(m) && l.MediaType == helmChart) {
			return true
		}
	}
	return false
}

// fileShortcuts makes files/: the layers by their titles. chart is <name>-<version> of a Helm
// chart, or "". If two titles collide, the first layer has its name.
func fileShortcuts(m *registry.Manifest, chart string) shortcuts {
	var all shortcuts
	names := paths{taken: map[string]bool{}, dirs: map[string]bool{}}
	for _, l := range m.Layers {
		name := fileName(l, chart)
		if name == "" || !known.CanBeAsked(l.Digest) {
			continue
		}
		if names.take(name) {
			all = append(all, shortcut{name: name, piece: known.LayerPiece(l)})
		}
		if dir := insideName(l, name); dir != "" && names.take(dir) {
			all = append(all, shortcut{name: dir, piece: known.LayerPiece(l), inside: true})
		}
	}
	return all.sorted()
}

// paths are paths that are taken in one tree.
type paths struct {
	taken map[string]bool
	dirs  map[string]bool // above a path that is taken
}

// take takes a path. It is false if the path can't stand beside those that were taken before.
func (p paths) take(name string) bool {
	if p.taken[name] || p.dirs[name] {
		return false
	}
	var above []string
	for k, c := range name {
		if c == '/' {
			above = append(above, name[:k])
		}
	}
	if slices.ContainsFunc(above, func(dir string) bool { return p.taken[dir] }) {
		return false
	}
	for _, dir := range above {
		p.dirs[dir] = true
	}
	p.taken[name] = true
	return true
}

// insideName gives the path in files/ at which the files in a layer are shown, if its path is
// name: of a directory that ORAS packed, and of a Helm chart. "": there is none.
func insideName(l v1.Descriptor, name string) string {
	if dir, ok := strings.CutSuffix(name, ".tar.gz"); ok && l.Annotations[annotationUnpack] == "true" {
		return dir
	}
	if chart, ok := strings.CutSuffix(name, ".tgz"); ok && l.MediaType == helmChart {
		return chart
	}
	return ""
}

// fileName gives the path of a layer in files/. "" means that it has no title, or an unsafe one.
func fileName(l v1.Descriptor, chart string) string {
	title := l.Annotations[v1.AnnotationTitle]
	if title == "" {
		title = l.Annotations[annotationFilepath]
	}
	switch {
	case chart != "" && l.MediaType == helmChart:
		title = chart + ".tgz"
	case chart != "" && l.MediaType == helmProvenance:
		title = chart + ".tgz.prov"
	case title != "" && l.Annotations[annotationUnpack] == "true":
		title += ".tar.gz"
	}
	if title == "" || len(title) > maxTitle || path.Clean(title) != title || strings.Count(title, "/") > maxTitleDepth {
		return ""
	}
	for name := range strings.SplitSeq(title, "/") {
		if !safeName(name) {
			return ""
		}
	}
	return title
}

// safeName says whether s can be the name of a directory entry.
func safeName(s string) bool {
	if s == "" || s == "." || s == ".." || len(s) > 255 || strings.Contains(s, "/") {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar }) < 0
}

// chartName gives <name>-<version> of a Helm chart: from the manifest's annotations, if Helm
// wrote them, else from the config. Only old charts need the config. "" means that neither has
// it.
func (i *image) chartName(ctx context.Context, m *registry.Manifest) (string, error) {
	if !isChart(m) {
		return "", nil
	}
	a := m.Annotations
	chart := struct{ Name, Version string }{a[v1.AnnotationTitle], a[v1.AnnotationVersion]}
	if chart.Name == "" || chart.Version == "" {
		c := m.Config
		// A listing downloads nothing so large.
		if c.Size > registry.MaxManifest || !known.CanBeAsked(c.Digest) {
			return "", nil
		}
		f, err := i.tree.store.Get(ctx, i.Repository.Want(*c))
		if err != nil {
			return "", err
		}
		defer f.Close()
		if err := json.NewDecoder(io.NewSectionReader(f, 0, f.Size())).Decode(&chart); err != nil {
			return "", nil // not a chart: its titles count
		}
	}
	if chart.Name == "" || chart.Version == "" {
		return "", nil
	}
	return chart.Name + "-" + chart.Version, nil
}
