package upload

import (
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/ref"
)

// Root is what is staged for one repository: upload/ and everything below.
type Root struct {
	area *Area
	repo ref.Repository
	ids  atomic.Uint64 // of nodes; the same at each mount for what upload/ starts with

	mu       sync.Mutex // guards all below, and the nodes' headers
	begun    bool       // upload/ is on the staging disk
	path     string     // of upload/ on the staging disk, once begun
	top      *Dir
	staged   map[digest.Digest]*File     // complete files at their digests
	links    map[*Symlink]bool           // those at the place of a blob or of an index.json
	deferred map[*deferredPush]bool      // all that haven't ended
	has      map[digest.Digest]time.Time // until when it is believed that the registry has a digest
}

// Files that upload/ starts with.
var (
	startLayout = []byte(`{"imageLayoutVersion":"` + v1.ImageLayoutVersion + `"}`)
	startIndex  = mustMarshal(v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{},
	})
)

func mustMarshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil { // made of plain values by ourselves
		panic(err)
	}
	return b
}

func newRoot(a *Area, repo ref.Repository) *Root {
	r := &Root{
		area: a, repo: repo,
		staged: map[digest.Digest]*File{}, has: map[digest.Digest]time.Time{},
		links: map[*Symlink]bool{}, deferred: map[*deferredPush]bool{},
	}
	start := func(parent *Dir, name string, mode uint32) header {
		h := r.header(parent, name, mode)
		h.mtime = a.o.Start
		return h
	}
	r.top = newDir(start(nil, "", 0o755))
	dir := func(parent *Dir, name string) *Dir {
		d := newDir(start(parent, name, 0o755))
		parent.children[name] = d
		return d
	}
	file := func(name string, b []byte) {
		f := newFile(start(r.top, name, 0o644))
		f.size, f.settled = int64(len(b)), 0 // nothing in it is to be pushed
		r.top.children[name] = f
	}
	dir(dir(r.top, blobsName), string(digest.SHA256))
	dir(r.top, manifestsName)
	file(layoutName, startLayout)
	file(indexName, startIndex)
	return r
}

// begin puts on disk what upload/ starts with, before anything else is.
func (r *Root) begin() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.begun {
		return nil
	}
	a := r.area
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return ErrClosed
	}
	if err := a.begin(); err != nil {
		return noSpace(err)
	}
	shown := a.o.Path(r.repo)
	r.path = filepath.Join(a.dir, treeName, filepath.FromSlash(shown), "upload")
	if err := os.MkdirAll(r.path, 0o700); err != nil {
		return noSpace(err)
	}
	for _, dir := range []string{filepath.Join(blobsName, string(digest.SHA256)), manifestsName} {
		if err := os.MkdirAll(filepath.Join(r.path, dir), 0o700); err != nil {
			return noSpace(err)
		}
	}
	for name, b := range map[string][]byte{layoutName: startLayout, indexName: startIndex} {
		if err := os.WriteFile(filepath.Join(r.path, name), b, 0o600); err != nil {
			return noSpace(err)
		}
		a.used += int64(len(b))
	}
	a.note(line{Repository: r.repo.String(), Path: shown})
	r.begun = true
	return nil
}

// roleOf gives the role of the place of f, else that of a symlink that leads to it.
func (r *Root) roleOf(f *File) role {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.roleIn(f)
}

// roleIn is roleOf. mu is held.
func (r *Root) roleIn(f *File) role {
	if own := roleAt(f.parent, f.name); own.kind != staged || len(r.links) == 0 {
		return own
	}
	return r.linkedRole(f)
}

// complete finds a file that is staged at its digest, with the bytes of it.
func (r *Root) complete(d digest.Digest) *File {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.staged[d]
	if f == nil || f.parent == nil || r.roleIn(f).digest != d {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.digest != d && f.content.Digest != d {
		return nil // written since
	}
	return f
}

// unstage forgets that a file is staged at its digest. mu is held.
func (r *Root) unstage(f *File) {
	for d, x := range r.staged {
		if x == f {
			delete(r.staged, d)
		}
	}
}
