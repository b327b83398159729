// Package upload holds staged OCI image layouts that push themselves.
//
// # Nouns
//
// An Area is the staging area of a mount, on disk. A Dir, a File or a Symlink is one node in
// it; the Dir that Area.Root gives is upload/ of one repository. A Handle is an open File. A
// Blob is content that a repository has: a File may stand for a Blob without having its bytes
// here. A Record is the result of a push.
//
// # The place of a file decides as what it is pushed
//
//	index.json                 the layout of the repository: tags by ref.name
//	blobs/<algo>/<hex>         a blob or a manifest of it
//	blobs/<name>               a blob under any name; pushed, it is a symlink to its digest
//	manifests/<tag>            a manifest, pushed under that tag
//	manifests/<algo>-<hex>     a manifest, pushed by that digest
//	<tag>/index.json           another layout, of one image: the directory is the tag
//	<tag>/blobs/<algo>/<hex>   its blobs and manifests
//
// A symlink at the place of a blob, or of an index.json, counts as the file that it leads to
// inside its layout. A symlink that leads out of its layout is refused there. All other files
// are only staged: files with temporary names, and the symlinks that come along with a copy of
// an image directory.
//
// # The image among the entries of an index.json
//
// Programs list more than the image: its children, signatures, fallback tags and, before the
// image is complete, pieces of it. In upload/ itself each entry has the tag of its ref.name. In
// <tag>/ all entries are pushed by digest, and one of them also under the directory's name.
// chooseImage finds that entry by its name. If no entry has the name, it is the only entry that
// can be an image. Two such entries are an error, and no tag moves.
//
// An entry without a name may be a piece of an image that the next version of the index.json
// names. So may an entry with another name, once the index.json has been written in several
// steps. Then the push of the tag is deferred. It is due when the program that wrote the
// index.json has ended, or when nothing more came for deferFor. For an entry without a name
// whose platform marks it as the child of an index, it is due after deferPieceFor while the
// program lives. Area.Await waits for a deferred push. The push of a manifest in manifests/ that
// may be renamed is deferred in the same way: a name that it loses meanwhile never becomes a
// tag. A deferred push that fails can't be reported by an errno. Tree.Failed reports it.
//
// A program that writes the index.json of one image once more means that image. Its tag is
// pushed again if the tag was moved since, although the entry hasn't changed.
//
// # Nothing is lost in silence
//
// The area looks at each layout when nothing has come for attendAfter, and when the mount ends.
// A Record and Tree.Failed report each of these problems once:
//
//   - missing pieces
//   - an index.json that can't be read or lists no image
//   - bytes that don't match the digest in their name
//   - manifests that no index names
//   - files of programs that were killed
//   - files and directories at places from which nothing is pushed
//
// # The moment of a push
//
// Programs look for errors after Flush, Sync, Rename and Link. So these push, and return the
// result. Flush isn't the last close of a file: a shell flushes before it writes the first byte.
// So a file that is named by its digest is pushed when its bytes match. A file with any other
// name is pushed whenever it has changed. Its rename pushes nothing while a program writes it. An
// index is pushed when it can be parsed and has new entries. An entry that can't be pushed fails
// alone. The result is kept, and returned again as long as nothing changes.
//
// The pieces of an index entry are pushed in order: blobs, then children by digest, then the
// manifest itself under its tag. A child whose media type isn't that of a manifest is a blob. A
// fallback tag of the referrers tag schema is pushed as the referrers that it lists: the
// registry lists referrers by itself, or package registry updates the tag. An entry waits for
// pieces that are neither staged nor at the registry. The call that brings the last piece pushes
// the entry. A tag is only pushed after its whole image.
//
// Some bytes are sent earlier. If the name of a file says which digest it will have, the bytes
// follow the writer, and the push goes on from there. That is so for the name of a blob, and for
// names that programs give to a blob until it is whole. The registry shows nothing of these
// bytes before the push has closed their session. If the file becomes something else, the bytes
// are given up. A blob that the registry has is never sent so.
//
// The file blobs/<name> has no digest before it is whole. If it is large, its bytes follow the
// writer all the same. The registry may turn out to have the blob. Then the rest isn't sent, and
// what was sent while the program copied is given up: it took none of the program's time.
//
// # The way of a byte that is sent while it is written
//
// The window of a file holds its newest bytes for the hash and the sender. The writer waits for
// them a little, so that they find their bytes in the window. A writer that has to wait may as
// well wait for the disk: it writes past the page cache, unless the disk is slower than the hash
// and the sender, or is busy with what the page cache gave it. So does a writer to whom the page
// cache is slower than the disk. Window and direct writes together halve the
// processor's work for a push. Measured for 1 GiB with the registry on the same two cores: 5.9 s
// of the daemon's time without, 2.5 s with them. Half of the 5.9 s went into the page cache's copy.
//
// Rejected: to hand the file to the kernel as a passthrough. This package then sees no write. It
// can't count --upload-size, make room on a full disk, or notice that sent bytes are written
// again.
//
// # The staging directory
//
// Each mount has one directory on the disk, named after the time at which it began. It is locked
// as long as the mount lives:
//
//	DIR/<time>-<pid>/lock
//	DIR/<time>-<pid>/pushed.jsonl      what was pushed, a line each
//	DIR/<time>-<pid>/tree/<host>/<repository>/upload/…
//
// The tree has the files by the names under which they were staged. If the mount ends before
// they were pushed, for whatever reason, a person can copy them into upload/ again as they are.
// Nothing does that by itself. Pushed files move to the cache. Their names stay in memory until
// the mount ends.
//
// # Locks
//
// A mutex guards fields and nothing else. Nobody holds one over I/O, a hash or a wait, nor over a
// call of a Tree, a Client or a Program. So attributes, lists and lookups of staged nodes answer
// at once, whatever a file waits for. There is one exception: a lookup of a file that has no
// bytes and was just closed waits for the push of that file, because its close couldn't return
// the result.
//
// A turn is held over work that takes time. One goroutine holds it at a time. Those who wait for
// a turn can leave: the wait ends with the context of the call, or with the area. Locks and
// turns are taken in this order:
//
//	File.committing  to push a file by its role
//	layout.turn      to push the entries of an index.json
//	File.sending     to send the bytes of a file
//	File.writing     to change the bytes of a file, or to hash all of them
//	Root.shape       to change which node has which name, on the disk and in the tree
//	Area.beginning   to make the directory of the mount
//	Root.mu          the tree of a repository: names, attributes, layouts
//	File.mu          what is known of a file and its bytes
//	all others       each by itself: Area.mu, activity.mu, budget.mu, records.mu, …
//
// A reader of a file holds none of them over the read. A change of the tree holds Root.shape
// over one operation of the staging disk, so that the disk has the names of the tree. The cache
// takes over a file with File.writing held, and a writer of the file waits for that. Defer gives
// locks and turns back, so that a panic ends only the work in which it happens.
//
// # What the mount remembers
//
// An Area holds the tree of a repository from when something of it is staged or changed. It
// knows other repositories only as long as somebody holds a node of them. The bytes on the
// staging disk are counted by file. Each file has a share of the budget, and gives it back when
// its bytes leave the disk. The bytes leave the disk when the last name and the last handle of
// the file are gone, or when the cache may take them over.
package upload
