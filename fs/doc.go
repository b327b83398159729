// Package fs is the tree: registries as directories and files.
//
// # Nouns
//
// A Tree is what is mounted. An entry is one thing in it: a directory, a file or a symlink,
// which stands at a place. Each kind of directory is a file of this package. What the mount
// knows of registries is in package known, how an entry becomes an inode in package node, and
// what is staged in package upload; entries put the three together.
//
// An image is an image directory: one manifest, bound to its digest for good. A tag moves, its
// directory doesn't: when a tag points elsewhere, the next walk along the path gets another
// directory, with another inode, and a program that stands in the old one goes on seeing the
// old image whole. A directory that a listing of tags made isn't bound yet; the first look
// into it binds it, so listing 100,000 tags asks for none.
//
// # Where things are decided
//
//	repository.go                what a repository's directory has: a row for each entry
//	errno.go                     what an error means to a program, and what a person is told to do
//	place.go                     attributes of entries; how long the kernel keeps names, each Lookup says
//	stale.go                     what the kernel is told to look up anew
//	internal/known/tag.go        what a tag points at, and how long that is believed
//	internal/known/registries.go how much is kept in memory of registries; tree.go: of nodes
//	internal/node/identity.go    inode numbers
//	internal/node/kernel.go      how long a lookup may wait (bound); the value is in tree.go
//	internal/caller/interrupt.go which signals end the wait for a push
//	upload/plan.go               the order of a push
//
// # The way of a name
//
// The kernel asks a node, the node asks the directory by Lookup, the directory asks package
// known, and known the registry. The answer goes back the same way and becomes an inode. No
// package below knows one above: what known and upload have to say by themselves goes through
// functions that the Tree gave them (known.Options, upload.Tree).
//
// # What an image directory leaves out
//
// The place where a descriptor stands decides whether its piece is asked for as a blob or as a
// manifest; see known.Piece. A piece that the registry denies is in no listing of the image
// and found by no name, until the denial isn't believed any more. A digest of an algorithm
// that isn't known is left out in the same way, and costs nothing.
//
// # Times
//
// Times depend on the content alone, so that a remount looks the same to rsync and to backups:
// files and symlinks of an image have what its manifest says of its creation, everything else
// has epoch. A directory that shows a list (tags/, a repository, a host, referrers) moves when
// the list differs from the one before, for those who poll, as nothing else tells of a new
// tag. Only files in .ocifs/ have the time of now, and upload/ the times of what was written
// there.
//
// # Reading
//
// Opening a blob that isn't cached sends nothing; its reads, which can be interrupted, wait
// for the whole of it, because no byte is shown before all of them have matched the digest.
// With Options.Stream they wait for what they read: what has come is shown unhashed and past
// the page cache, and the end only when all has matched.
//
// Listing and stat need manifests alone, and an old Helm chart's config: blobs/ and platforms/
// of an index those of its children. A blob is downloaded whole once any byte of it is read,
// so a program that reads whatever it finds downloads all that there is: see package guard for
// what Options.MaxDownload does then.
//
// # Writing
//
// upload/ of a repository shows package upload, which decides what is pushed and when.
// Closing, syncing, renaming and linking there wait for the registry; caller.Heed says which
// signals end that wait. What was pushed is known from then on, and the kernel is told to
// forget what it believed of those names: behind the caller, who has directories locked.
// Everything else is EROFS, but for what Options.AllowDelete lets be deleted, and for security
// labels, which are ENOTSUP.
package fs
