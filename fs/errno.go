package fs

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/fs/internal/guard"
	"github.com/ocifs/ocifs/fs/internal/known"
	"github.com/ocifs/ocifs/fs/internal/layers"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/fs/rootfs"
	"github.com/ocifs/ocifs/fs/upload"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// verdicts maps errors to errnos. The first match counts. Programs see only the errno of an
// error, so its cause and the hint go to the log and to .ocifs/errors.jsonl. Errors of the disk
// have an errno of their own; see node.Kernel.Judge.
var verdicts = []node.Verdict{
	{Is: errCapitals, Errno: syscall.ENOENT, HintFor: lowerCase},
	{Is: node.ErrNotExist, Errno: syscall.ENOENT},
	{Is: known.ErrUnlisted, Errno: syscall.ENOENT, Hint: "check the spelling; a tag that came to the registry since is found when --list-ttl is over"},
	{Is: node.ErrReadOnly, Errno: syscall.EROFS},
	{Is: errBadName, Errno: syscall.EINVAL, Hint: "give it the name of a tag (up to 128 letters, digits, '_', '.' and '-'), or of a digest as sha256-<hex>"},
	{Is: errNoTree, Errno: syscall.ENOENT, Hint: "an index has a tree for each of its platforms: platforms/<os>-<arch>/rootfs; the layers of an artifact are in unpacked/"},
	{Is: rootfs.ErrNoArchive, Errno: syscall.EOPNOTSUPP, Hint: "it is no tar, or is packed or encrypted in a way that isn't known: read it in blobs/ as it is"},
	{Is: rootfs.ErrTooLarge, Errno: syscall.EFBIG, Hint: "raise --unpacked-size if you trust the image; what unpacks to more than 1000 times its size is never unpacked"},
	{Is: rootfs.ErrTargetTooLong, Errno: syscall.ENAMETOOLONG, Hint: "the symlink's target has more than 4095 bytes, as the image has it or as it is shown: --symlinks verbatim shows it as it is"},
	{Is: rootfs.ErrTargetLookups, Errno: syscall.ELOOP, Hint: "the symlink leads through too many others: --symlinks verbatim shows it as it is"},
	{Is: layers.ErrDiffID, Errno: syscall.EBADMSG, Hint: "the image is broken, and runtimes refuse it too: tell those who built it. unpacked/ shows the layer as it is"},
	{Is: errNothingToBring, Errno: syscall.EINVAL, Hint: "name images (REPOSITORY/tags/v1), files, or trees of files (REPOSITORY/tags/v1/rootfs)"},
	{Is: errNoPlatform, Errno: syscall.ENOENT, Hint: "platforms/ of the image lists those that it has; --platform OS/ARCH picks one, --platform all brings all"},
	{Is: errNoBlob, Errno: syscall.EPERM, Hint: "copy it instead (cp): a link can be made to files in blobs/ alone"},
	{Is: upload.ErrMismatch, Errno: syscall.EBADMSG, Hint: "what was written isn't what the name promises: write it once more from its source, or put it into upload/blobs/ under any other name"},
	{Is: upload.ErrNoManifest, Errno: syscall.EBADMSG, Hint: "only image manifests and indexes are pushed from here: a file of any other kind goes into upload/blobs/"},
	{Is: upload.ErrAmbiguous, Errno: syscall.EINVAL, Hint: "name the one that is meant: give it the name of its directory as org.opencontainers.image.ref.name, or copy its manifest to upload/manifests/<tag>. All entries that are whole were pushed by digest"},
	{Is: upload.ErrUnreadable, Errno: syscall.EBADMSG, Hint: "write index.json once more: JSON in UTF-8 that begins with {, with a list of descriptors named manifests"},
	{Is: upload.ErrIncomplete, Errno: syscall.ENOENT, Hint: "bring what is missing into upload/, which pushes the rest; of an image for several platforms that was saved with some of them, push those by themselves (docker save --platform, or the child's manifest to upload/manifests/<tag>); or remove it from upload/"},
	{Is: upload.ErrLink, Errno: syscall.EPERM, Hint: "copy the files that symlinks lead to: cp -rL, tar -h, rsync -L"},
	{Is: upload.ErrPlace, Errno: syscall.EINVAL, Hint: "an image directory is pushed by cp -r DIR upload/<tag>, under a name that isn't blobs or manifests; a manifest alone by the name of its tag in upload/manifests/"},
	{Is: upload.ErrTwoNames, Errno: syscall.EBUSY, Hint: "names in upload/blobs/ are symlinks, and several lead to these bytes: remove the name that is to be written, and write it again"},
	{Is: upload.ErrNoSpace, Errno: syscall.ENOSPC, Hint: "free space where the cache is, remove from upload/ what isn't needed, or raise --upload-size"},
	// The kernel answers ENOTCONN itself to programs that come a moment later.
	{Is: upload.ErrClosed, Errno: syscall.ENOTCONN, Hint: "the mount ends, and nothing is taken any more: mount again, and write it once more"},
	{Is: cache.ErrClosed, Errno: syscall.ENOTCONN, Hint: "the mount ends: mount again"},
	{Is: registry.ErrExists, Errno: syscall.EEXIST, Hint: "this tag can't be moved at its registry: push under another one, or have the tag deleted there"},
	{Is: registry.ErrInUse, Errno: syscall.EBUSY, Hint: "something still points at it: remove the tags and indexes that do first"},
	{Is: registry.ErrTooLarge, Errno: syscall.EFBIG, Hint: "what was pushed is more than the registry takes: split it, or have its limit raised. What was read is more than a blob may be: tell those who run the registry"},
	{Is: guard.ErrOverdrawn, Errno: syscall.EDQUOT, Hint: "wait, raise --max-download, or keep the program out of the mount: fuse.ocifs in PRUNEFS of /etc/updatedb.conf, find -fstype fuse.ocifs -prune, grep --exclude-dir, the exclusions of a scanner. What is cached can be read at any time"},
	{Is: ref.ErrInvalid, Errno: syscall.ENOENT},
	{Is: cache.ErrMismatch, Errno: syscall.EBADMSG, Hint: "the registry, or something before it, serves other bytes than the digest promises; nothing of it was shown. Try again; if it stays, tell those who run the registry"},
	{Is: rootfs.ErrCorrupt, Errno: syscall.EBADMSG, Hint: "the archive breaks off or is malformed, though its digest is right: tell those who built the image"},
	{Is: registry.ErrCorrupt, Errno: syscall.EBADMSG, Hint: "the registry's answer doesn't match its digest or is no valid manifest; nothing of it was shown. Try again; if it stays, tell those who run the registry"},
	{Is: cache.ErrUnreadable, Errno: syscall.EIO, Hint: "the disk of the cache fails: replace it, or mount with another --cache-dir. Open the file again, and it is downloaded again"},
	{Is: cache.ErrNoSpace, Errno: syscall.ENOSPC, Hint: "free space where the cache is, or mount with another --cache-dir"},
	{Is: registry.ErrNotFound, Errno: syscall.ENOENT, Hint: "check the repository and the tag or digest; the registry doesn't have it"},
	{Is: registry.ErrDenied, Errno: syscall.EACCES, Hint: "log in with 'docker login' or 'podman login', and check what this account may do with the repository: pull, push or delete; many registries say the same of a repository that doesn't exist",
		HintFor: replaceCredential},
	{Is: registry.ErrTooManyRequests, Errno: syscall.EBUSY, Hint: "the registry limits the rate: wait and try again, log in for a higher limit, or raise --retry-max-wait"},
	{Is: registry.ErrUnsupported, Errno: syscall.EOPNOTSUPP, Hint: "this registry doesn't offer it. One that refuses every push is read-only: it is in maintenance, or mirrors another registry, which is the one to push to. One that refuses deletion has it switched off: ask those who run it"},
	{Is: registry.ErrTimeout, Errno: syscall.ETIMEDOUT, Hint: "the registry didn't answer in time: check the network and try again"},
	{Is: registry.ErrConfigured, Errno: syscall.EHOSTUNREACH, Hint: "mend the file that the cause names: hosts.toml, registries.conf, or a certificate in certs.d. It is read again at once"},
	{Is: registry.ErrUnreachable, Errno: syscall.EHOSTUNREACH, Hint: "check the host's name, the network and the registry's certificate, as 'ocifs doctor HOST' does; a registry that speaks plain HTTP needs --plain-http HOST, or insecure = true for it in registries.conf"},
	{Is: registry.ErrServer, Errno: remoteIO, Hint: "the registry failed or answered nonsense: try again later, or ask those who run it"},
	{Is: context.DeadlineExceeded, Errno: syscall.ETIMEDOUT, Hint: "the registry didn't answer in time: check the network and try again"},
	{Is: fs.ErrNotExist, Errno: syscall.ENOENT},
}

// replaceCredential tells how to replace the credentials that a registry refused.
func replaceCredential(err error) string {
	var e *registry.Error
	if !errors.As(err, &e) || e.Hint == "" {
		return ""
	}
	return "log in again, or as somebody who may: " + e.Hint + ". Or check what this account may do with the repository: pull, push or delete; many registries say the same of a repository that doesn't exist"
}
