// Package fs is the tree: registries as directories and files, by go-fuse.
//
// # Nouns
//
// A Tree is what is mounted. An entry is one thing in it, a directory, a file or
// a symlink, and stands at a place. Entries know registries and not the kernel;
// dirNode, fileNode and linkNode show them to the kernel and know no registry. A
// repository and a host are what the mount knows of each, shared by all entries
// that show something of them; they alone decide what is asked and what is
// answered from memory or from the cache.
//
// An image is an image directory: one manifest, bound to its digest for good. A
// tag moves, its directory doesn't: when a tag points elsewhere, the next walk
// along the path gets another directory, with another inode, and whoever stands
// in the old one goes on seeing the old image whole. A directory that a listing
// of tags made isn't bound yet; it is when someone looks into it, so listing
// 100,000 tags asks for none.
//
// # Identities
//
// An identity is an inode number and a generation: 126 bits of a SHA-256 of the path and
// the digest. go-fuse shows entries of one type and one identity as one node, which goes on
// as the first of them was made. Two entries have one identity only where the node of one
// may answer for the other, and no registry can choose names that give two entries one.
//
// # What a lookup costs
//
// A host or a repository component is a directory if it could be one: nobody is
// asked. A tag costs a GET the first time, a HEAD when its time is over, nothing
// in between. A tag that a whole list of tags lacks costs nothing while the list is believed:
// git, editors and make look for names of their own wherever somebody stands. The manifest
// tells the size of a layer, so the layer's attributes cost nothing and its bytes one GET.
// A HEAD is for a digest that nothing named, and for a piece of which the manifest can't
// say whether the registry has it: a foreign layer, a child of an index whose type is no
// manifest's. Names that can't be valid cost nothing.
//
// # What an image directory leaves out
//
// The place where a descriptor stands decides whether its piece is asked for as a blob or
// as a manifest; see piece. A piece that the registry denies is in no listing of the image
// and found by no name, until the denial isn't believed any more. A digest of an algorithm
// that isn't known is left out in the same way, and costs nothing.
//
// # Times
//
// Times depend on the content alone, so that a remount looks the same to rsync and to
// backups: files and symlinks of an image have what its manifest says of its creation,
// everything else has epoch. A directory that shows a list (tags/, a repository, a host,
// referrers) moves when the list differs from the one before, for those who poll, as
// nothing else tells of a new tag; lists keeps those times over mounts. Only files in
// .ocifs/ have the time of now, and upload/ the times of what was written there.
//
// # A registry that is out of reach
//
// What a registry told is kept past its time, bounded in number or in bytes, and shown
// where it can't be asked: tags, lists of tags, repositories and referrers, and what a
// repository had. Each time that is told, and shown for some seconds before anyone asks
// again. What was denied since, and what isn't known, is the errno of the cause, never
// a missing file. A push relies on nothing that its registry can't confirm now.
//
// A registry that answers, and refuses to list tags, is in reach: the tags that this mount has
// looked up or pushed are listed, and a repository of which anything was seen has its
// entries.
//
// # Waiting
//
// The kernel holds every other lookup of a name behind the first, and nothing
// can kill those, so each lookup is bounded by Options.LookupBound. Everything
// that several callers wait for runs in a flight: it lives for as long as anyone
// waits, and one who is interrupted leaves at once. Opening a blob that isn't
// cached sends nothing; its reads, which can be interrupted, wait for the whole
// of it, because no byte is shown before all of them have matched the digest. With
// Options.Stream they wait for what they read: what has come is shown unhashed and past
// the page cache, and the end only when all has matched. Pages that a mapping of such a
// file brought into the page cache are dropped when the blob is opened verified.
//
// # How files are read
//
// A cached blob is read by the kernel alone where it may pass reads through to
// the cache file, else by way of the page cache, which is kept from one open to
// the next. A blob that isn't cached yet is opened for direct reads. The mode
// is one per inode for as long as it is open anywhere; see fileNode.
//
// # Control files
//
// Files in .ocifs/ change, while the kernel keeps one size for an inode and doesn't say
// whose open file it asks for. An inode shows the same bytes at the same offsets to all: a
// JSON file that has changed is another inode, as if it was renamed over the old one, and a
// program that has the old one open reads it to its end. errors.jsonl grows at its end; one
// that starts at a later line is another inode. All inodes of a name have one inode number,
// for programs that compare it.
//
// # Mass reading
//
// Listing and stat need manifests alone, and an old Helm chart's config: blobs/ and
// platforms/ of an index those of its children. A blob is
// downloaded whole once any byte of it is read, so a program that reads whatever it
// finds downloads all that there is: see guard for what Options.MaxDownload does then.
//
// # Writing
//
// upload/ of a repository is shown by nodes of its own, over package upload, which
// decides what is pushed and when. Closing, syncing, renaming and linking there wait
// for the registry; heeding says which signals end that wait. What was pushed is
// known here from then on, and the kernel is told to forget what it believed of those
// names: behind the caller, who has directories locked. Everything else is EROFS, but
// for what Options.AllowDelete lets be deleted, and for security labels, which are ENOTSUP.
//
// # Errors
//
// errno.go decides every errno, and leaves a sentence with the cause and what to
// do in the log and in .ocifs/errors.jsonl.
package fs
