package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// Errors of this package, for errors.Is. What a disk would say of the same
// operation is a syscall.Errno; what a registry said is of package registry.
var (
	// ErrMismatch: a file was renamed to a digest that its bytes don't have.
	ErrMismatch = errors.New("its bytes don't have the digest that its name says")
	// ErrNoManifest: a file that was to be pushed as a manifest is none.
	ErrNoManifest = errors.New("no manifest")
	// ErrAmbiguous: an index.json doesn't tell which of its entries has a tag.
	ErrAmbiguous = errors.New("it isn't known which entry of index.json is the image")
	// ErrIncomplete: a piece that is staged isn't pushed, as another one is missing.
	ErrIncomplete = errors.New("incomplete")
	// ErrUnreadable: a file named index.json isn't one.
	ErrUnreadable = errors.New("index.json can't be read")
	// ErrLink: a symlink stands where bytes are needed, and leads out of its layout.
	ErrLink = errors.New("a symlink leads to nothing that can be pushed")
	// ErrPlace: a file or a directory would stand where nothing is ever pushed from.
	ErrPlace = errors.New("nothing is pushed from here under this name")
	// ErrTwoNames: a digest is to be written by way of a symlink, and several lead to
	// it, so that nobody knows which name is meant.
	ErrTwoNames = errors.New("several names lead to this digest")
	// ErrNoSpace: the staging area is full. It is also syscall.ENOSPC.
	ErrNoSpace = fmt.Errorf("no space for what is to be pushed: %w", syscall.ENOSPC)
	// ErrClosed: the mount ends.
	ErrClosed = errors.New("the mount ends")
)

// Options says how an area behaves. Dir, Client and Tree are required.
type Options struct {
	Dir      string // where mounts stage; on the file system of the cache
	MaxBytes int64  // of all that is staged by this mount; 0: as the disk has
	Client   *registry.Client
	Tree     Tree
	// Path is where upload/ of a repository is kept below a mount's directory, and
	// how it is shown to people: "ghcr.io/org/app".
	Path   func(ref.Repository) string
	Start  time.Time    // the time of what upload/ starts with
	Logger *slog.Logger // nil: silent
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Panicked is told of each panic in a goroutine of this package, once: whoever waits for
	// that gets an error, and the mount goes on. Nil: the log alone has it.
	Panicked func(cause any, stack []byte)
}

// Blob is content that a repository has. It is comparable.
type Blob struct {
	Repository ref.Repository
	Digest     digest.Digest
	Size       int64
}

// Tree is what the mount knows, holds and shows besides what is staged. All its
// methods may be called concurrently.
type Tree interface {
	// Blob gives the size of a blob (or manifest) that the repository has, from memory
	// or by a HEAD; registry.ErrNotFound where it hasn't.
	Blob(ctx context.Context, r ref.Repository, d digest.Digest) (size int64, err error)
	// Lacks says, from memory alone, that the repository denied the blob moments ago.
	Lacks(r ref.Repository, d digest.Digest) bool
	// TagPoints asks the registry what a tag points at; registry.ErrNotFound where there is
	// no such tag.
	TagPoints(ctx context.Context, r ref.Repository, tag string) (digest.Digest, error)
	// Manifest gives a manifest by digest; registry.ErrNotFound where the repository
	// hasn't got it.
	Manifest(ctx context.Context, r ref.Repository, d digest.Digest) (*registry.Manifest, error)
	// OpenBlob opens the bytes of a blob, verified: from the cache, or by downloading it for a
	// program (nil: not known).
	OpenBlob(ctx context.Context, by Program, b Blob) (Content, error)
	// Adopt moves a file with that digest and size into the cache. An error leaves it
	// where it is.
	Adopt(d digest.Digest, size int64, path string) error
	// MakeRoom frees n bytes on the disk that the cache and the staging area share, if
	// the cache can.
	MakeRoom(n int64)
	// PushedBlob and PushedManifest are told what a repository has from now on, so that
	// it is shown at once. With tags: they point at the manifest.
	PushedBlob(b Blob)
	PushedManifest(r ref.Repository, m *registry.Manifest, tags ...string)
	// Deferring is told that the push of a tag is deferred: whoever looks the tag up from now
	// on waits for it, by Area.Await.
	Deferring(r ref.Repository, tag string)
	// Failed tells a person of a failure that no program waited for. at is its path below
	// upload/.
	Failed(r ref.Repository, at string, err error)
}

// Program is a program that changes a staging area.
type Program interface {
	// Ended says whether the program has ended, and writes nothing more.
	Ended() bool
}

// Manner is how a program made a file.
type Manner int

const (
	// Openly is how cp, install and editors make files: the name is meant.
	Openly Manner = iota
	// Privately is how mkstemp(3) and its like make files: anew, to be read and written, for
	// its maker alone. The name may be any, and the file is renamed later.
	Privately
)

// Content is the open bytes of a blob.
type Content interface {
	io.ReaderAt
	io.Closer
}

// States of a Record.
const (
	Pushing = "pushing" // under way
	Pushed  = "pushed"  // the registry has it
	Waiting = "waiting" // for pieces that aren't staged yet
	Failed  = "failed"
	Left    = "left" // by a mount that ended before it was pushed
)

// Record is what became of a push: an element of uploads.json.
type Record struct {
	Repository string    `json:"repository"`
	Target     string    `json:"target"` // tag or digest
	State      string    `json:"state"`
	Error      string    `json:"error"` // "" where there is none
	Time       time.Time `json:"time"`  // of the last change
}

// Transfer is an upload under way: an element of transfers.json.
type Transfer struct {
	Kind    string        `json:"kind"` // "upload"
	Digest  digest.Digest `json:"digest"`
	To      string        `json:"to"`
	Done    int64         `json:"done"` // bytes
	Size    int64         `json:"size"` // bytes
	Started time.Time     `json:"started"`
}

// Attr are the attributes of a node. They are kept in memory alone.
type Attr struct {
	Mode     uint32 // permissions
	UID, GID uint32
	Size     int64 // in bytes; set for files and symlinks
	Mtime    time.Time
}

// Change is what is to change of a node's attributes: nil is nothing.
type Change struct {
	Mode     *uint32
	UID, GID *uint32
	Size     *int64 // of files alone
	Mtime    *time.Time
}

// Node is a *Dir, a *File or a *Symlink.
type Node interface {
	// ID tells a node from all others of its repository, for as long as somebody holds it or
	// something is staged there.
	ID() uint64
	// Attr gives the attributes. It waits for no I/O.
	Attr() Attr
	// Set changes attributes. A new size may wait for the network, until ctx or the area ends.
	// Set changes attributes for a program (nil: not known). A new size truncates a file, which
	// may wait for a blob's bytes.
	Set(ctx context.Context, by Program, c Change) error
}

// descriptor is what a blob is pushed as.
func (b Blob) descriptor() v1.Descriptor {
	return v1.Descriptor{MediaType: "application/octet-stream", Digest: b.Digest, Size: b.Size}
}
