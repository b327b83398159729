// Command behaviours prints what registries do in the wild, as registry/behaviours.txt
// has it, and which tests show what this client does then:
//
//	behaviours [ROOT]
//
// ROOT is the checkout, "." where it isn't given. A test names the lines that it shows
// at the end of its doc comment: "// Behaviour: names.hub, names.local". A line that no
// test names, and a test that names a line that isn't there, end it with exit code 1.
package main

import (
	"bufio"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	if err := run(os.Stdout, root); err != nil {
		fmt.Fprintln(os.Stderr, "behaviours:", err)
		os.Exit(1)
	}
}

// line is one line of behaviours.txt: a heading, or a behaviour.
type line struct {
	heading  string
	id, text string
}

func run(out io.Writer, root string) error {
	lines, err := read(filepath.Join(root, "registry", "behaviours.txt"))
	if err != nil {
		return err
	}
	shown, err := tests(root)
	if err != nil {
		return err
	}
	var wrong []string
	shows := 0
	for _, l := range lines {
		if l.heading != "" {
			fmt.Fprintf(out, "\n%s\n", l.heading)
			continue
		}
		fmt.Fprintf(out, "\n  %s: %s\n", l.id, l.text)
		for _, t := range shown[l.id] {
			fmt.Fprintf(out, "    %s\n", t)
		}
		if len(shown[l.id]) == 0 {
			wrong = append(wrong, "no test shows "+l.id)
		}
		shows += len(shown[l.id])
		delete(shown, l.id)
	}
	for id, ts := range shown {
		wrong = append(wrong, fmt.Sprintf("%s names %s, which isn't there", ts[0], id))
	}
	slices.Sort(wrong)
	if len(wrong) > 0 {
		return fmt.Errorf("%s", strings.Join(wrong, "\n"))
	}
	fmt.Fprintf(out, "\n%d tests are named\n", shows)
	return nil
}

// read reads behaviours.txt.
func read(file string) ([]line, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var lines []line
	s := bufio.NewScanner(f)
	for s.Scan() {
		text := strings.TrimSpace(s.Text())
		switch heading, ok := strings.CutPrefix(text, "## "); {
		case ok:
			lines = append(lines, line{heading: heading})
		case text != "" && text[0] != '#':
			id, rest, _ := strings.Cut(text, " ")
			lines = append(lines, line{id: id, text: strings.TrimSpace(rest)})
		}
	}
	return lines, s.Err()
}

// tests finds the tests below root that name behaviours, by id.
func tests(root string) (map[string][]string, error) {
	shown := map[string][]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		for _, decl := range f.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			isTest := ok && (strings.HasPrefix(fn.Name.Name, "Test") || strings.HasPrefix(fn.Name.Name, "Fuzz"))
			if !isTest || fn.Doc == nil {
				continue
			}
			for l := range strings.Lines(fn.Doc.Text()) {
				ids, ok := strings.CutPrefix(l, "Behaviour: ")
				if !ok {
					continue
				}
				for id := range strings.SplitSeq(ids, ",") {
					id = strings.TrimSpace(id)
					shown[id] = append(shown[id], filepath.ToSlash(dir)+" "+fn.Name.Name)
				}
			}
		}
		return nil
	})
	return shown, err
}
