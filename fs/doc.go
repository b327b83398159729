// Package fs is the file system tree: registries as directories and files.
//
// # Nouns
//
// A Tree is what is mounted. An entry is a directory, a file or a symlink in it. A place says
// where an entry stands. Each kind of directory has a file in this package. Package known has
// what the mount knows of registries, package node makes inodes from entries, and package upload
// has what is staged. Entries connect the three.
//
// An image is an image directory. It shows one manifest, and stays bound to its digest. A tag can
// move, but its directory doesn't: when the tag points elsewhere, the next walk along the path
// gets another directory with another inode. A program in the old directory still sees the whole
// old image. A directory that a listing of tags made isn't bound yet. The first look into it
// binds it, so that a listing of 100,000 tags asks for no manifest.
//
// # Where things are decided
//
//	repository.go                what a repository's directory has: a row for each entry
//	errno.go                     what an error means to a program, and what a person is told to do
//	place.go                     attributes of entries; how long the kernel keeps names, each Lookup says
//	stale.go                     what the kernel is told to look up anew
//	needs.go                     what each kind of entry needs in the cache
//	platforms.go                 which child of an index stands for it (childFor)
//	internal/known/tag.go        what a tag points at, and how long that is believed
//	internal/known/registries.go how much is kept in memory of registries; tree.go: of nodes
//	internal/node/identity.go    inode numbers
//	internal/node/kernel.go      how long a lookup may wait (bound); the value is in tree.go
//	internal/caller/interrupt.go which signals end the wait for a push
//	upload/plan.go               the order of a push
//
// # The path of a lookup
//
// The kernel asks a node. The node asks its directory with Lookup, the directory asks package
// known, and known asks the registry. The answer goes back the same way and becomes an inode. No
// package knows the ones above it: known and upload report through functions that the Tree gives
// them (known.Options, upload.Tree).
//
// # Pieces that an image directory leaves out
//
// The place of a descriptor decides whether its piece is requested as a blob or as a manifest;
// see known.Piece. A piece that the registry denies is left out of listings and lookups of the
// image, until the denial has expired. A digest with an unknown algorithm is left out in the same
// way, and no request is sent for it. A foreign layer that the registry lacks is left out too; its
// files show in rootfs/ all the same, from the URLs of its descriptor.
//
// # Times
//
// Times depend on the content alone, so that a remount looks the same to rsync and to backups.
// Files and symlinks of an image have the creation time in its manifest. Everything else has
// epoch. There is one exception for programs that poll, because nothing else tells of a new tag:
// the time of a directory that shows a list (tags/, a repository, a host, referrers) changes when
// the list changes. Only files in .ocifs/ have the present time, and upload/ has the times of its
// writes.
//
// # Reading
//
// An open of an uncached blob sends no request. Its reads wait for the whole blob, and can be
// interrupted. They wait because no byte is shown before all bytes have matched the digest. With
// Options.Stream, reads wait only for the bytes that they read. These are shown before their hash
// is checked and without the page cache, and the last bytes only after all have matched.
//
// Listings and stat need only manifests, and the config of an old Helm chart. For an index, its
// blobs/, its platforms/ and its archive need the manifests of its children. The first read of a
// blob downloads all of it. So a program that reads everything it finds downloads everything. See
// package guard for how Options.MaxDownload limits that.
//
// # Archives
//
// An archive is an image as one file: a tar with its layout and Docker's list of images. It is
// stored nowhere. Package imagetar lays it out from names and sizes, and makes the headers when
// they are read. All other bytes are those of blobs, which are read as their own files are. So the
// size is known before any blob is there, and a read downloads only the blobs that it touches. An
// archive is bound to a digest, as an image directory is. If the registry gets or loses a piece of
// an index, the index has another archive, with another inode.
//
// # Files inside images
//
// rootfs/ and unpacked/ show what is in layers: rootfs.go finds a tree, treedir.go has its
// directories, treefile.go everything else in it. Package layers (fs/internal/layers) downloads and
// unpacks, and package rootfs says what a path means. Directories there are patient (package node):
// a lookup, a listing and a stat may wait for layers, as long as something of them comes, and the
// caller pays for the download. A file of a layer has one identity wherever it shows, so that the
// kernel has its pages once. A directory belongs to its image, and a symlink to its name.
//
// # What programs ask for
//
// .ocifs/prefetch takes questions of package prefetch (fs/prefetch): what does a path need in the
// cache, and bring it. follow.go walks along a path as the kernel would, needs.go says what each kind
// of entry needs, and prefetch.go and prefetch_job.go bring it. All of that shows nothing to the
// kernel, and ends with the tree.
//
// # Writing
//
// Package upload is behind upload/ of a repository, and decides what is pushed and when. Close,
// sync, rename and link there wait for the registry; caller.Heed says which signals end the wait.
// The mount knows what was pushed from then on, and tells the kernel to forget the names
// concerned. It does that in another goroutine, because the kernel holds locks on directories for
// the caller. All other changes fail with EROFS, except deletions that Options.AllowDelete
// allows. Security labels fail with ENOTSUP.
package fs
