package fs

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/fs/internal/caller"
	"github.com/ocifs/ocifs/fs/internal/guard"
	"github.com/ocifs/ocifs/fs/internal/known"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/fs/upload"
	"github.com/ocifs/ocifs/registry/ref"
)

// Programs change what is staged at any time, so the kernel keeps no names and no attributes
// of upload/.

// stagedNode is a node of the staging area, or upload/ itself.
type stagedNode interface {
	ID() uint64
	Attr() upload.Attr
	Set(ctx context.Context, by upload.Program, c upload.Change) error
	// Below gives the path below upload/.
	Below() string
}

// staged is what all entries of upload/ have in common.
type staged struct {
	top  place // upload/ itself
	node stagedNode
}

var (
	_ node.Writable     = (*stagedDir)(nil)
	_ node.WritableFile = (*stagedFile)(nil)
	_ node.Changeable   = (*stagedLink)(nil)
)

// newUploadDir makes upload/ of a repository. It holds nothing of the staging area, which
// makes nothing for a repository before something is staged there.
func newUploadDir(at place, r known.Repository) node.Directory {
	return &stagedDir{staged{at, stagedTop{at.tree.area, r.Repository}}}
}

// stagedTop is upload/ of a repository.
type stagedTop struct {
	area *upload.Area
	repo ref.Repository
}

func (t stagedTop) ID() uint64 {
	_, id := t.area.Top(t.repo)
	return id
}

func (t stagedTop) Attr() upload.Attr {
	a, _ := t.area.Top(t.repo)
	return a
}

func (t stagedTop) Set(ctx context.Context, by upload.Program, c upload.Change) error {
	return t.area.Root(t.repo).Set(ctx, by, c)
}

func (t stagedTop) Below() string { return "" }

// Path gives the path of this moment: programs move what is staged.
func (s staged) Path() string { return node.Join(s.top.path, s.node.Below()) }

// Attr gives the attributes of this moment. The identity is of the node, wherever it is moved.
func (s staged) Attr() node.Attr {
	a := s.node.Attr()
	return node.Attr{
		Identity: s.top.identity(digest.Digest(fmt.Sprint("staged ", s.node.ID()))),
		Mode:     s.fileType() | a.Mode, Size: a.Size, Mtime: a.Mtime, UID: a.UID, GID: a.GID,
	}
}

func (s staged) fileType() uint32 {
	switch s.node.(type) {
	case *upload.File:
		return syscall.S_IFREG
	case *upload.Symlink:
		return syscall.S_IFLNK
	}
	return syscall.S_IFDIR
}

func (s staged) SetAttr(ctx context.Context, by caller.Caller, c node.Change) error {
	if c.Size == nil { // no byte is needed
		return stagedError(s.node.Set(ctx, nil, upload.Change(c)))
	}
	return stagedError(s.node.Set(ctx, programOf(by), upload.Change(c)))
}

// Usage tells how full the staging area's disk is, or as much of it as Options.UploadBytes
// allows.
func (s staged) Usage() (node.Usage, error) {
	t := s.top.tree
	u, err := t.store.Space()
	if limit := t.opts.UploadBytes; err == nil && limit > 0 && limit < u.Size {
		left := limit - t.area.Staged()
		return node.Usage{Size: limit, Used: limit - left, Free: min(u.Free, left)}, nil
	}
	return node.Usage{Size: u.Size, Used: u.Used, Free: u.Free}, err
}

// child gives another node of the same upload/ under its name.
func (s staged) child(name string, n upload.Node) node.Child {
	c := node.Child{Name: name}
	switch n := n.(type) {
	case *upload.Dir:
		c.Entry = &stagedDir{staged{s.top, n}}
	case *upload.File:
		c.Entry = &stagedFile{staged{s.top, n}, n}
	case *upload.Symlink:
		c.Entry = &stagedLink{staged{s.top, n}, n}
	}
	return c
}

// stagedLink is a symlink of the staging area.
type stagedLink struct {
	staged
	link *upload.Symlink
}

func (l *stagedLink) Target() string { return l.link.Target() }

// errBadName is the kind of error of a name that nothing in its directory can have.
var errBadName = errors.New("nothing can be pushed under this name")

// stagedError is the error of an operation below upload/. A name that can't be pushed is told:
// elsewhere it is ENOENT, as nothing can have it.
func stagedError(err error) error {
	if errors.Is(err, ref.ErrInvalid) {
		return fmt.Errorf("%w: %w", errBadName, err)
	}
	return err
}

// payer is a caller as package upload knows it. Downloads for what is staged are charged to
// the job that the caller was of when it asked.
type payer struct{ guard.Payer }

// Ended is false: it isn't known when the caller ends.
func (payer) Ended() bool { return false }

// program is a payer whose end is known.
type program struct {
	payer
	process caller.Process
}

// Ended says whether the program has ended, and writes nothing more.
func (p program) Ended() bool { return p.process.Ended() }

// programOf gives the program that a caller is of; nil: it is the mount itself.
func programOf(by caller.Caller) upload.Program {
	if !by.Program {
		return nil
	}
	pays := payer{guard.PayerOf(by)}
	if p, ok := by.Process(); ok {
		return program{pays, p}
	}
	return pays
}

// payerOf gives who pays for a download for a program. A push that is done behind a program
// that has ended costs nobody anything.
func payerOf(by upload.Program) guard.Payer {
	if by == nil || by.Ended() {
		return guard.Payer{}
	}
	switch p := by.(type) {
	case program:
		return p.Payer
	case payer:
		return p.Payer
	}
	return guard.Payer{}
}

// blobOf gives the blob that an entry shows the whole of.
func blobOf(e node.Entry) (upload.Blob, bool) {
	switch e := e.(type) {
	case *blobFile:
		return upload.Blob{Repository: e.repo.Repository, Digest: e.digest, Size: e.size}, true
	case *stagedFile:
		return e.file.Blob()
	}
	return upload.Blob{}, false
}
