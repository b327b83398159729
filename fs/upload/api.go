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

// Errors of this package, for errors.Is. Errors of the disk are syscall.Errno values. Errors of a
// registry are those of package registry.
var (
	// ErrMismatch: a file was renamed to a digest that its bytes don't have.
	ErrMismatch = errors.New("its bytes don't have the digest that its name says")
	// ErrNoManifest: a file that should be pushed as a manifest isn't one.
	ErrNoManifest = errors.New("no manifest")
	// ErrAmbiguous: an index.json doesn't say which of its entries gets a tag.
	ErrAmbiguous = errors.New("it isn't known which entry of index.json is the image")
	// ErrIncomplete: a staged piece isn't pushed, because another piece is missing.
	ErrIncomplete = errors.New("incomplete")
	// ErrUnreadable: a file named index.json isn't an image index.
	ErrUnreadable = errors.New("index.json can't be read")
	// ErrLink: a symlink stands where bytes are needed, and leads out of its layout.
	ErrLink = errors.New("a symlink leads to nothing that can be pushed")
	// ErrPlace: nothing is ever pushed from the place of a file or a directory.
	ErrPlace = errors.New("nothing is pushed from here under this name")
	// ErrTwoNames: a program writes to a digest through a symlink, and several names lead to
	// that digest, so that the name it means isn't known.
	ErrTwoNames = errors.New("several names lead to this digest")
	// ErrNoSpace: the staging area is full. It matches syscall.ENOSPC too.
	ErrNoSpace = fmt.Errorf("no space for what is to be pushed: %w", syscall.ENOSPC)
	// ErrClosed: the mount ends.
	ErrClosed = errors.New("the mount ends")
)

// Options says how an area behaves. Dir, Client and Tree are required.
type Options struct {
	// Dir is where mounts stage. It is on the file system of the cache.
	Dir string
	// MaxBytes is how many bytes this mount may stage; 0: as many as the disk holds.
	MaxBytes int64
	Client   *registry.Client
	Tree     Tree
	// Path gives where upload/ of a repository is kept below a mount's directory. It is also
	// the repository's name for people: "ghcr.io/org/app".
	Path func(ref.Repository) string
	// Start is the modification time of the files that upload/ starts with.
	Start  time.Time
	Logger *slog.Logger // nil: silent
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Panicked is called once for each panic in a goroutine of this package. Those who wait
	// for the goroutine get an error, and the mount goes on. Nil: the panic is only logged.
	Panicked func(cause any, stack []byte)
}

// Blob is content that a repository has. It is comparable.
type Blob struct {
	Repository ref.Repository
	Digest     digest.Digest
	Size       int64
}

// Tree is what the mount knows, caches and shows, besides what is staged. All its methods may be
// called concurrently.
type Tree interface {
	// Blob gives the size of a blob or manifest that the repository has, from memory or by a
	// HEAD request. It fails with registry.ErrNotFound if the repository lacks it.
	Blob(ctx context.Context, r ref.Repository, d digest.Digest) (size int64, err error)
	// Lacks says, from memory alone, whether the registry denied to have the blob moments
	// ago.
	Lacks(r ref.Repository, d digest.Digest) bool
	// TagPoints asks the registry for the digest of a tag. It fails with registry.ErrNotFound
	// if there is no such tag.
	TagPoints(ctx context.Context, r ref.Repository, tag string) (digest.Digest, error)
	// Manifest gives a manifest by digest. It fails with registry.ErrNotFound if the
	// repository lacks it.
	Manifest(ctx context.Context, r ref.Repository, d digest.Digest) (*registry.Manifest, error)
	// OpenBlob opens the verified bytes of a blob: from the cache, or by downloading them for
	// a program (nil: not known).
	OpenBlob(ctx context.Context, by Program, b Blob) (Content, error)
	// Adopt moves a file with that digest and size into the cache. After an error the file is
	// still at path.
	Adopt(d digest.Digest, size int64, path string) error
	// MakeRoom frees n bytes, if the cache can, on the disk that the cache and the staging
	// area share.
	MakeRoom(n int64)
	// PushedBlob and PushedManifest tell the mount what a repository has from now on, so that
	// it shows that at once. The tags point at the manifest from now on.
	PushedBlob(b Blob)
	PushedManifest(r ref.Repository, m *registry.Manifest, tags ...string)
	// Deferring tells the mount that the push of a tag is deferred. Lookups of the tag then
	// wait for the push, with Area.Await.
	Deferring(r ref.Repository, tag string)
	// Failed reports a failure to a person, because no program waited for the result. at is
	// its path below upload/.
	Failed(r ref.Repository, at string, err error)
}

// Program is a program that changes a staging area.
type Program interface {
	// Ended says whether the program has ended, so that it writes nothing more.
	Ended() bool
}

// Manner says how a program made a file.
type Manner int

const (
	// Openly is how cp, install and editors make files: the name is the intended one.
	Openly Manner = iota
	// Privately is how mkstemp(3) and similar functions make files: new, open for reading and
	// writing, only for their maker. The name is random, and the file is renamed later.
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

// Record is the result of a push: an element of uploads.json.
type Record struct {
	Repository string    `json:"repository"`
	Target     string    `json:"target"` // tag or digest
	State      string    `json:"state"`
	Error      string    `json:"error"` // "" if there is none
	Time       time.Time `json:"time"`  // of the last change
	// Broken says that a write failed, so that the bytes are not those that were meant. None of
	// them is pushed, and none is kept when the mount has ended.
	Broken bool `json:"broken,omitempty"`
}

// Transfer is an upload under way: an element of transfers.json.
type Transfer struct {
	Kind    string        `json:"kind"`   // "upload"
	Digest  digest.Digest `json:"digest"` // "": it isn't known before the blob is whole
	To      string        `json:"to"`
	Done    int64         `json:"done_bytes"`
	Size    int64         `json:"total_bytes"`
	Started time.Time     `json:"started"`
}

// Attr are the attributes of a node. They are kept in memory alone.
type Attr struct {
	Mode     uint32 // permissions
	UID, GID uint32
	Size     int64 // in bytes; set for files and symlinks
	Mtime    time.Time
}

// Change is a change of a node's attributes. A nil field changes nothing.
type Change struct {
	Mode     *uint32
	UID, GID *uint32
	Size     *int64 // of files alone
	Mtime    *time.Time
}

// Node is a *Dir, a *File or a *Symlink.
type Node interface {
	// ID is different for each node of a repository, for as long as somebody holds the node
	// or something is staged there.
	ID() uint64
	// Attr gives the attributes. It waits for no I/O.
	Attr() Attr
	// Set changes attributes for a program (nil: not known). A new size truncates a file. It
	// may wait for the bytes of a blob, until ctx or the area ends.
	Set(ctx context.Context, by Program, c Change) error
}

// descriptor gives the descriptor under which a blob is pushed.
func (b Blob) descriptor() v1.Descriptor {
	return v1.Descriptor{MediaType: "application/octet-stream", Digest: b.Digest, Size: b.Size}
}
