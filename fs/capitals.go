package fs

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry/ref"
)

// Registries have repositories in lower case alone, while the web pages of many show the names of
// organizations with capitals: ghcr.io/MyOrg/app. A component with capitals doesn't exist, as any name
// that can't be valid, and a person is told why, in .ocifs/errors.jsonl.
//
// Programs look for names with capitals as well, without anybody's wish: git for HEAD, make for
// Makefile. So the rule is narrow. Only directories of hosts and of repositories tell, of names that
// are valid in lower case and aren't those of well-known files. A name is told once in capitalsEach,
// and capitalsAtOnce different names at most in that time.
const (
	capitalsEach   = time.Minute
	capitalsAtOnce = 64
)

// errCapitals is the error of a component that would be valid in lower case.
var errCapitals = errors.New("repositories have no capital letters")

// capitalsError is the errCapitals of one name. It is a node.ErrNotExist, too.
type capitalsError struct {
	name  string
	lower string // the path in the tree of the name in lower case
}

func (e *capitalsError) Error() string { return fmt.Sprintf("there is no %q: %v", e.name, errCapitals) }

func (e *capitalsError) Unwrap() []error { return []error{errCapitals, node.ErrNotExist} }

// lowerCase tells what to write in place of a name with capitals.
func lowerCase(err error) string {
	var e *capitalsError
	if !errors.As(err, &e) {
		return ""
	}
	return "write it in lower case: " + e.lower
}

// capitals has the names with capitals that were told of lately. Its zero value has none. It is safe
// for concurrent use.
type capitals struct {
	mu   sync.Mutex           // guards told; no other lock is taken under it
	told map[string]time.Time // when, by path in the tree
}

// missing gives the error of a name that dir has no component of: a capitalsError if a person is to be
// told, and else node.ErrNotExist.
func (c *capitals) missing(dir, name string, now time.Time) error {
	lower := strings.ToLower(name)
	if lower == name || reserved(lower) || !ref.ValidComponent(lower) || isProbed(name) || !c.isNews(node.Join(dir, name), now) {
		return node.ErrNotExist
	}
	return &capitalsError{name, node.Join(dir, lower)}
}

// isNews says whether a path is to be told of, and notes that it was.
func (c *capitals) isNews(path string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p, at := range c.told {
		if now.Sub(at) >= capitalsEach {
			delete(c.told, p)
		}
	}
	if _, again := c.told[path]; again || len(c.told) == capitalsAtOnce {
		return false
	}
	if c.told == nil {
		c.told = map[string]time.Time{}
	}
	c.told[path] = now
	return true
}

// fileExtensions are those of files that programs look for, and that no repository is called by:
// README.md, App.config.json.
var fileExtensions = []string{".md", ".txt", ".toml", ".json", ".xml", ".yml", ".yaml", ".lock", ".db", ".ini", ".inf", ".bazel"}

// isProbed says whether programs look for files of this name in any directory.
func isProbed(name string) bool {
	return probed[name] || slices.Contains(fileExtensions, strings.ToLower(path.Ext(name)))
}
