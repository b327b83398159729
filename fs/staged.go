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

// Names and attributes in upload/ aren't cached by the kernel, because programs change them at
// any time.

// stagedNode is a node of the staging area, or upload/ itself.
type stagedNode interface {
	ID() uint64
	Attr() upload.Attr
	Set(ctx context.Context, by upload.Program, c upload.Change) error
	// Below gives the path below upload/.
	Below() string
}

// staged is the common part of all entries of upload/.
type staged struct {
	top  place // upload/ itself
	node stagedNode
}

var (
	_ node.Writable     = (*stagedDir)(nil)
	_ node.WritableFile = (*stagedFile)(nil)
	_ node.Changeable   = (*stagedLink)(nil)
)

// newUploadDir makes upload/ of a repository. It asks nothing of the staging area yet, so that
// the area makes nothing for a repository before something is staged there.
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

// Path gives the present path, because programs move what is staged.
func (s staged) Path() string { return node.Join(s.top.path, s.node.Below()) }

// Attr gives the present attributes. The identity is that of the node, wherever it is moved.
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
	if c.Size == nil { // nobody pays, because no byte is needed
		return stagedError(s.node.Set(ctx, nil, upload.Change(c)))
	}
	return stagedError(s.node.Set(ctx, programOf(by), upload.Change(c)))
}

// Usage gives how full the disk of the staging area is. With Options.UploadBytes, it gives how
// much of that is used.
func (s staged) Usage() (node.Usage, error) {
	t := s.top.tree
	u, err := t.store.Space()
	if limit := t.opts.UploadBytes; err == nil && limit > 0 && limit < u.Size {
		left := limit - t.area.Staged()
		return node.Usage{Size: limit, Used: limit - left, Free: min(u.Free, left)}, nil
	}
	return node.Usage{Size: u.Size, Used: u.Used, Free: u.Free}, err
}

// child makes the entry of another node of the same upload/.
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

// errBadName is the error of a name that nothing in its directory can have.
var errBadName = errors.New("nothing can be pushed under this name")

// stagedError converts an error of upload/. A name that can't be pushed gets errBadName here, so
// that a person is told. Elsewhere it is only ENOENT, because nothing can have that name.
func stagedError(err error) error {
	if errors.Is(err, ref.ErrInvalid) {
		return fmt.Errorf("%w: %w", errBadName, err)
	}
	return err
}

// payer is a caller as package upload sees it. Downloads for staged files are charged to the job
// to which the caller belonged when it asked.
type payer struct{ guard.Payer }

// Ended gives false, because the end of the caller isn't known.
func (payer) Ended() bool { return false }

// program is a payer whose end is known.
type program struct {
	payer
	process caller.Process
}

// Ended says whether the program has ended, so that it writes nothing more.
func (p program) Ended() bool { return p.process.Ended() }

// programOf gives the program of a caller; nil: the caller is the mount itself.
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

// payerOf gives who pays for a download for a program. After a program has ended, nobody pays for
// what is pushed on its behalf.
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

// blobOf gives the blob that an entry shows as a whole. ok is false if it shows none.
func blobOf(e node.Entry) (upload.Blob, bool) {
	switch e := e.(type) {
	case *blobFile:
		return upload.Blob{Repository: e.repo.Repository, Digest: e.digest, Size: e.size}, true
	case *stagedFile:
		return e.file.Blob()
	}
	return upload.Blob{}, false
}
