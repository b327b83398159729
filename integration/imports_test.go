package integration

import (
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// goPackage is what `go list` says of a package.
type goPackage struct {
	ImportPath, Dir, Doc, Name string
	GoFiles, CgoFiles          []string
	Imports, Deps              []string
	TestImports, XTestImports  []string
	Module                     *struct{ Path string }
}

const (
	module = "github.com/ocifs/ocifs"
	goFuse = "github.com/hanwen/go-fuse/v2"
)

// listed gives the packages of the product, or of it those below a directory, as built for a
// system.
func listed(t *testing.T, goos string, below ...string) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json", "./"+filepath.Join(append(below, "...")...))
	cmd.Dir = root
	cmd.Env = append(cmd.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		if exit := new(exec.ExitError); errors.As(err, &exit) {
			t.Fatalf("go list: %v: %s", err, exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	var packages []goPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		packages = append(packages, p)
	}
	return packages
}

// below says whether an import path is a package or stands below it.
func below(path, parent string) bool {
	return path == parent || strings.HasPrefix(path, parent+"/")
}

// The packages import each other as the design has it, on every system.
func TestImportRules(t *testing.T) {
	t.Parallel()
	rules := []struct {
		packages  string   // below the module
		never     []string // import paths that they don't depend on, even indirectly
		otherwise string
	}{
		{"registry", []string{module + "/cache", module + "/fs", module + "/cmd", goFuse}, "the client is a library by itself"},
		{"cache", []string{module + "/registry", module + "/fs", module + "/cmd", goFuse}, "the store reads through an interface of its own"},
		{"fs", []string{module + "/cmd"}, "the tree knows no command"},
		{"fs/upload", []string{module + "/cache", goFuse}, "what is staged pushes itself without a mount"},
		{"fs/rootfs", []string{module + "/registry", goFuse}, "an archive is a tree wherever it is from"},
	}
	for _, goos := range []string{"linux", "darwin"} {
		packages := listed(t, goos)
		if len(packages) < 5 {
			t.Fatalf("go list found %d packages", len(packages))
		}
		for _, p := range packages {
			for _, r := range rules {
				if !below(p.ImportPath, module+"/"+r.packages) {
					continue
				}
				for _, dep := range p.Deps {
					if slices.ContainsFunc(r.never, func(n string) bool { return below(dep, n) }) {
						t.Errorf("%s: %s depends on %s: %s", goos, p.ImportPath, dep, r.otherwise)
					}
				}
			}
			imports := slices.Concat(p.Imports, p.TestImports, p.XTestImports)
			if slices.ContainsFunc(imports, func(i string) bool { return below(i, goFuse) }) &&
				!below(p.ImportPath, module+"/fs") && !below(p.ImportPath, module+"/cmd") {
				t.Errorf("%s: %s imports go-fuse, which stays below fs and cmd", goos, p.ImportPath)
			}
			if below(p.ImportPath, module+"/integration") {
				t.Errorf("%s is a package of the product's module", p.ImportPath)
			}
		}
	}
}

// The client of registries is a library for Windows too: it builds there, without FUSE, and its
// probe needs nothing that others can't import.
func TestTheClientIsALibraryEverywhere(t *testing.T) {
	t.Parallel()
	for _, goos := range []string{"linux", "darwin", "windows"} {
		packages := listed(t, goos, "registry")
		if len(packages) < 5 {
			t.Fatalf("%s: go list found %d packages", goos, len(packages))
		}
		for _, p := range packages {
			for _, dep := range p.Deps {
				if below(dep, goFuse) || below(dep, module) && !below(dep, module+"/registry") {
					t.Errorf("%s: %s depends on %s", goos, p.ImportPath, dep)
				}
			}
			if p.ImportPath != module+"/registry/probe" {
				continue
			}
			for _, i := range p.Imports {
				if below(i, module) && strings.Contains(i, "/internal/") {
					t.Errorf("%s: %s imports %s, as no other program can", goos, p.ImportPath, i)
				}
			}
		}
		cmd := exec.Command("go", "vet", "./registry/...")
		cmd.Dir = root
		cmd.Env = append(cmd.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: go vet: %v\n%s", goos, err, out)
		}
	}
}

// mayImport is what each package of the tree may import of the product, itself and its tests
// left out, and whether it may import go-fuse. Below them stand the registry's client and the
// cache. A new package of the tree needs a line here.
var mayImport = map[string]struct {
	packages []string
	goFuse   bool
}{
	"fs": {[]string{"cache", "fs/internal/caller", "fs/internal/guard", "fs/internal/imagetar", "fs/internal/known", "fs/internal/layers", "fs/internal/metrics", "fs/internal/node", "fs/prefetch", "fs/rootfs", "fs/upload", "registry", "registry/ref"}, true},

	"fs/internal/node":     {[]string{"fs/internal/caller", "fs/internal/metrics"}, true},
	"fs/internal/known":    {[]string{"cache", "registry", "registry/ref"}, false},
	"fs/internal/guard":    {[]string{"cache", "fs/internal/caller", "registry"}, false},
	"fs/internal/caller":   {nil, false},
	"fs/internal/imagetar": {nil, false},
	"fs/internal/metrics":  {nil, false},
	"fs/internal/layers":   {[]string{"cache", "fs/internal/guard", "fs/internal/known", "fs/rootfs", "registry"}, false},
	"fs/rootfs":            {[]string{"cache"}, false},
	"fs/prefetch":          {nil, false},
	"fs/upload":            {[]string{"registry", "registry/ref"}, false},
	"fs/failingdisk":       {nil, true}, // for tests
}

// Inside of the tree a package imports what stands below it, and never what stands above or
// beside it: nodes know no registry, and what is known of registries knows no kernel.
func TestTheTreesImportsRunOneWay(t *testing.T) {
	t.Parallel()
	found := 0
	for _, goos := range []string{"linux", "darwin"} {
		for _, p := range listed(t, goos) {
			if !below(p.ImportPath, module+"/fs") {
				continue
			}
			found++
			may, known := mayImport[strings.TrimPrefix(p.ImportPath, module+"/")]
			if !known {
				t.Errorf("%s: it isn't said what %s may import", goos, p.ImportPath)
			}
			for _, i := range p.Imports {
				switch {
				case below(i, goFuse) && !may.goFuse:
					t.Errorf("%s: %s imports go-fuse", goos, p.ImportPath)
				case below(i, module) && !slices.Contains(may.packages, strings.TrimPrefix(i, module+"/")):
					t.Errorf("%s: %s imports %s", goos, p.ImportPath, i)
				}
			}
		}
	}
	if found != 2*len(mayImport) {
		t.Errorf("%d packages were looked at, want %d", found, 2*len(mayImport))
	}
}

// Every package says what it is, in a doc comment of some length: the nouns
// before the code.
func TestPackageDocs(t *testing.T) {
	t.Parallel()
	for _, p := range listed(t, "linux") {
		var doc string
		for _, file := range slices.Concat(p.GoFiles, p.CgoFiles) {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, file), nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Error(err)
			} else if f.Doc != nil {
				if doc != "" {
					t.Errorf("%s has a package doc in more than one file", p.ImportPath)
				}
				doc = f.Doc.Text()
			}
		}
		start := "Package " + p.Name + " "
		if p.Name == "main" {
			start = "Command " + filepath.Base(p.ImportPath) + " "
		}
		if !strings.HasPrefix(doc, start) || strings.Count(doc, "\n") < 2 {
			t.Errorf("%s: the package doc is %.60q, want it to begin with %q and to say more", p.ImportPath, doc, start)
		}
	}
}
