package upload

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/ref"
)

// Root holds what is staged for one repository: upload/ and everything below it.
type Root struct {
	area *Area
	repo ref.Repository
	// ids counts the nodes. The nodes that upload/ starts with have the same IDs in each
	// mount.
	ids atomic.Uint64
	top *Dir // upload/ itself; never changed
	// shape is the turn to change the tree. Only its holder changes which node has which
	// name, together with the staging disk, so that the disk has the names of the tree.
	shape turn
	has   holdings // digests that were pushed lately

	// mu guards the fields below, and the fields of the nodes' headers and directories.
	// Nobody holds it over I/O, a hash or a wait. It comes before File.mu in the lock order.
	mu    sync.Mutex
	begun bool   // upload/ is on the staging disk
	path  string // of upload/ on the staging disk; "" until begun
	// staged are the complete files that stand at their digests.
	staged map[digest.Digest]*File
	// links are the symlinks at the place of a blob or of an index.json.
	links    map[*Symlink]bool
	deferred map[*deferredPush]bool // the deferred pushes that haven't ended
}

// Files that upload/ starts with.
var (
	startLayout = []byte(`{"imageLayoutVersion":"` + v1.ImageLayoutVersion + `"}`)
	startIndex  = mustMarshal(v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{},
	})
)

// ID and mode of upload/ itself, in each repository.
const (
	topID   = 1
	topMode = 0o755
)

func mustMarshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil { // it has only plain values of this package
		panic(err)
	}
	return b
}

func newRoot(a *Area, repo ref.Repository) *Root {
	r := &Root{
		area: a, repo: repo, has: holdings{now: a.now},
		staged: map[digest.Digest]*File{}, links: map[*Symlink]bool{}, deferred: map[*deferredPush]bool{},
	}
	start := func(parent *Dir, name string, mode uint32) header {
		h := r.header(parent, name, mode)
		h.mtime = a.o.Start
		return h
	}
	r.top = newDir(start(nil, "", topMode)) // the first header, so that it has topID
	dir := func(parent *Dir, name string) *Dir {
		d := newDir(start(parent, name, 0o755))
		parent.children[name] = d
		return d
	}
	file := func(name string, b []byte) {
		f := newFile(start(r.top, name, 0o644))
		f.size, f.resultOf = int64(len(b)), 0 // the starting content isn't pushed
		r.top.children[name] = f
	}
	dir(dir(r.top, blobsName), string(digest.SHA256))
	dir(r.top, manifestsName)
	file(layoutName, startLayout)
	file(indexName, startIndex)
	return r
}

// begin puts what upload/ starts with on the disk, before anything else is put there. It waits
// for the shape turn until ctx or the area ends.
func (r *Root) begin(ctx context.Context) error {
	if r.hasBegun() {
		return nil
	}
	a := r.area
	leave, err := a.enter()
	if err != nil {
		return err
	}
	defer leave()
	if err := a.take(ctx, &r.shape); err != nil {
		return err
	}
	defer r.shape.give()
	if r.hasBegun() {
		return nil
	}
	dir, err := a.begin(ctx)
	if err != nil {
		return noSpace(err)
	}
	shown := a.o.Path(r.repo)
	path := filepath.Join(dir, treeName, filepath.FromSlash(shown), "upload")
	for _, dir := range []string{filepath.Join(blobsName, string(digest.SHA256)), manifestsName} {
		if err := os.MkdirAll(filepath.Join(path, dir), 0o700); err != nil {
			return noSpace(err)
		}
	}
	for name, b := range map[string][]byte{layoutName: startLayout, indexName: startIndex} {
		if err := os.WriteFile(filepath.Join(path, name), b, 0o600); err != nil {
			return noSpace(err)
		}
	}
	a.note(line{Repository: r.repo.String(), Path: shown})
	a.retain(r)
	r.began(path)
	return nil
}

func (r *Root) hasBegun() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.begun
}

// began notes that the starting content of upload/ is on the staging disk.
func (r *Root) began(path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begun, r.path = true, path
	for name, b := range map[string][]byte{layoutName: startLayout, indexName: startIndex} {
		if f, ok := r.top.children[name].(*File); ok {
			f.share.hold(int64(len(b)))
		}
	}
}

// reshape takes the shape turn, after begin. It waits until ctx or the area ends. After a reshape
// that succeeds, the caller must call shape.give.
func (r *Root) reshape(ctx context.Context) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	return r.area.take(ctx, &r.shape)
}

// end removes from the disk what nobody needs after the mount has ended.
func (r *Root) end() {
	if !r.hasBegun() {
		return
	}
	// The holders of the turn wait only for the disk, so this wait is short.
	if r.shape.take(context.WithoutCancel(r.area.ctx)) != nil {
		return // can't happen: the wait ends with the turn alone
	}
	defer r.shape.give()
	r.removeUnneeded()
}

// roleOf gives the role of the place of f. If that is onlyStaged, it gives the role of a symlink
// that leads to f.
func (r *Root) roleOf(f *File) role {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.roleIn(f)
}

// roleIn is roleOf for callers that hold mu.
func (r *Root) roleIn(f *File) role {
	if own := roleAt(f.parent, f.name); own.kind != onlyStaged || len(r.links) == 0 {
		return own
	}
	return r.linkedRole(f)
}

// complete finds a file that stands at its digest d and has the bytes of d; nil: there is none.
func (r *Root) complete(d digest.Digest) *File {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.staged[d]
	if f == nil || f.parent == nil || r.roleIn(f).digest != d || !f.isOf(d) {
		return nil
	}
	return f
}

// isOf says whether the bytes of a file are known to have the digest d.
func (f *File) isOf(d digest.Digest) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.digest == d || f.content.Digest == d
}

// stageAt notes that a file at the digest d has the bytes of d.
func (r *Root) stageAt(d digest.Digest, f *File) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.stagedAt != d {
		r.unstage(f)
	}
	r.staged[d], f.stagedAt = f, d
	r.area.records.drop(r.repo, d.String(), Waiting)
}

// unstage notes that a file doesn't stand at its digest any more. mu is held.
func (r *Root) unstage(f *File) {
	if r.staged[f.stagedAt] == f {
		delete(r.staged, f.stagedAt)
	}
	f.stagedAt = ""
}
