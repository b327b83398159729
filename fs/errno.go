package fs

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"syscall"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/fs/upload"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// errNotExist is for names that can't exist, or don't, as is known without
// asking: nobody needs to be told why.
var errNotExist = errors.New("no such name")

// errReadOnly is of a change where nothing can be changed.
var errReadOnly = errors.New("nothing can be written here")

// verdict is what an error means to a program and to a person.
type verdict struct {
	errno syscall.Errno
	hint  string // what to do next
}

// verdicts decides errnos, in this order. Programs see nothing else of an
// error, so its cause and the hint go to the log and to .ocifs/errors.jsonl.
var verdicts = []struct {
	is error
	verdict
}{
	{errNotExist, verdict{syscall.ENOENT, ""}},
	{errUnlisted, verdict{syscall.ENOENT, "check the spelling; a tag that came to the registry since is found when --list-ttl is over"}},
	{errReadOnly, verdict{syscall.EROFS, ""}},
	{errBadName, verdict{syscall.EINVAL, "give it the name of a tag (up to 128 letters, digits, '_', '.' and '-'), or of a digest as sha256-<hex>"}},
	{errNoBlob, verdict{syscall.EPERM, "copy it instead (cp): a link can be made to files in blobs/ alone"}},
	{upload.ErrMismatch, verdict{syscall.EBADMSG, "what was written isn't what the name promises: write it once more from its source, or put it into upload/blobs/ under any other name"}},
	{upload.ErrNoManifest, verdict{syscall.EBADMSG, "only image manifests and indexes are pushed from here: a file of any other kind goes into upload/blobs/"}},
	{upload.ErrAmbiguous, verdict{syscall.EINVAL, "name the one that is meant: give it the name of its directory as org.opencontainers.image.ref.name, or copy its manifest to upload/manifests/<tag>. All entries that are whole were pushed by digest"}},
	{upload.ErrUnreadable, verdict{syscall.EBADMSG, "write index.json once more: JSON in UTF-8 that begins with {, with a list of descriptors named manifests"}},
	{upload.ErrIncomplete, verdict{syscall.ENOENT, "bring what is missing into upload/, which pushes the rest; of an image for several platforms that was saved with some of them, push those by themselves (docker save --platform, or the child's manifest to upload/manifests/<tag>); or remove it from upload/"}},
	{upload.ErrLink, verdict{syscall.EPERM, "copy the files that symlinks lead to: cp -rL, tar -h, rsync -L"}},
	{upload.ErrPlace, verdict{syscall.EINVAL, "an image directory is pushed by cp -r DIR upload/<tag>, under a name that isn't blobs or manifests; a manifest alone by the name of its tag in upload/manifests/"}},
	{upload.ErrTwoNames, verdict{syscall.EBUSY, "names in upload/blobs/ are symlinks, and several lead to these bytes: remove the name that is to be written, and write it again"}},
	{upload.ErrNoSpace, verdict{syscall.ENOSPC, "free space where the cache is, remove from upload/ what isn't needed, or raise --upload-size"}},
	// As the kernel says it to who comes a moment later.
	{upload.ErrClosed, verdict{syscall.ENOTCONN, "the mount ends, and nothing is taken any more: mount again, and write it once more"}},
	{cache.ErrClosed, verdict{syscall.ENOTCONN, "the mount ends: mount again"}},
	{registry.ErrExists, verdict{syscall.EEXIST, "this tag can't be moved at its registry: push under another one, or have the tag deleted there"}},
	{registry.ErrInUse, verdict{syscall.EBUSY, "something still points at it: remove the tags and indexes that do first"}},
	{registry.ErrTooLarge, verdict{syscall.EFBIG, "the registry takes nothing as large as that: split it, or have its limit raised"}},
	{errOverdrawn, verdict{syscall.EDQUOT, "wait, raise --max-download, or keep the program out of the mount: fuse.ocifs in PRUNEFS of /etc/updatedb.conf, find -fstype fuse.ocifs -prune, grep --exclude-dir, the exclusions of a scanner. What is cached can be read at any time"}},
	{ref.ErrInvalid, verdict{syscall.ENOENT, "check the spelling: no registry can have this name"}},
	{cache.ErrMismatch, verdict{syscall.EBADMSG, "the registry, or something before it, serves other bytes than the digest promises; nothing of it was shown. Try again; if it stays, tell those who run the registry"}},
	{registry.ErrCorrupt, verdict{syscall.EBADMSG, "the registry's answer doesn't match its digest or is no valid manifest; nothing of it was shown. Try again; if it stays, tell those who run the registry"}},
	{cache.ErrNoSpace, verdict{syscall.ENOSPC, "free space where the cache is, or mount with another --cache-dir"}},
	{registry.ErrNotFound, verdict{syscall.ENOENT, "check the repository and the tag or digest; the registry doesn't have it"}},
	{registry.ErrDenied, verdict{syscall.EACCES, "log in with 'docker login' or 'podman login', and check what this account may do with the repository: pull, push or delete; many registries say the same of a repository that doesn't exist"}},
	{registry.ErrTooManyRequests, verdict{syscall.EBUSY, "the registry limits the rate: wait and try again, log in for a higher limit, or raise --retry-max-wait"}},
	{registry.ErrUnsupported, verdict{syscall.EOPNOTSUPP, "this registry doesn't offer it"}},
	{registry.ErrTimeout, verdict{syscall.ETIMEDOUT, "the registry didn't answer in time: check the network and try again"}},
	{registry.ErrConfigured, verdict{syscall.EHOSTUNREACH, "mend the file that the cause names: hosts.toml, or a certificate in certs.d. It is read again at once"}},
	{registry.ErrUnreachable, verdict{syscall.EHOSTUNREACH, "check the host's name, the network and the registry's certificate, as 'ocifs doctor HOST' does; a registry that speaks plain HTTP needs --plain-http HOST"}},
	{registry.ErrServer, verdict{remoteIO, "the registry failed or answered nonsense: try again later, or ask those who run it"}},
	{context.DeadlineExceeded, verdict{syscall.ETIMEDOUT, "the registry didn't answer in time: check the network and try again"}},
	{fs.ErrNotExist, verdict{syscall.ENOENT, ""}},
}

// ordinary are the errnos of what can't be done as it was asked for: they say all
// that there is to say, and programs ask for such things all the time.
var ordinary = []syscall.Errno{
	syscall.ENOENT, syscall.EEXIST, syscall.ENOTEMPTY, syscall.EISDIR, syscall.ENOTDIR, syscall.EXDEV, syscall.EINVAL,
	syscall.EPERM, syscall.EBADF, syscall.ESTALE, syscall.EROFS,
}

// judge gives the errno of err. ctx is the caller's: where that has ended
// because the caller was interrupted, it is EINTR whatever err says.
func judge(ctx context.Context, err error) verdict {
	if errors.Is(ctx.Err(), context.Canceled) {
		return verdict{errno: syscall.EINTR}
	}
	for _, v := range verdicts {
		if errors.Is(err, v.is) {
			return v.verdict
		}
	}
	var errno syscall.Errno
	switch {
	case !errors.As(err, &errno):
	case slices.Contains(ordinary, errno):
		return verdict{errno, ""}
	default: // of the cache's disk
		return verdict{errno, "check the disk that the cache is on"}
	}
	if errors.Is(err, context.Canceled) {
		return verdict{syscall.EINTR, ""}
	}
	return verdict{syscall.EIO, ""}
}

// tell leaves the sentence of a failure that no program sees, as what was known
// is shown in place of what couldn't be asked for.
func (p place) tell(ctx context.Context, op, hint string, err error) {
	p.tree.failures.add(p.path, op, verdict{judge(ctx, err).errno, hint}, err)
}

// fail decides the errno of a failed operation and leaves its sentence where a
// person will find it.
func (p place) fail(ctx context.Context, op string, err error) syscall.Errno {
	v := judge(ctx, err)
	badName := v.errno == syscall.ENOENT && errors.Is(err, ref.ErrInvalid)
	said := v.hint == "" && slices.Contains(ordinary, v.errno)
	if v.errno != syscall.EINTR && !badName && !said {
		p.tree.failures.add(p.path, op, v, err)
	}
	return v.errno
}
