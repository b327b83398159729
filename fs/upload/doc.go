// Package upload is staged OCI image layouts that push themselves.
//
// # Nouns
//
// An Area is the staging area of a mount, on disk. A Dir, a File or a Symlink is
// one thing in it; the Dir that Area.Root gives is upload/ of one repository. A
// Handle is an open File. A Blob is content that a repository has: a File may
// stand for one without having its bytes here. A Record is what became of a push.
//
// # Where a file stands says what it is
//
//	index.json                 the layout of the repository: tags by ref.name
//	blobs/<algo>/<hex>         a blob or a manifest of it
//	blobs/<name>               a blob under any name; pushed, it is a symlink to its digest
//	manifests/<tag>            a manifest, pushed under that tag
//	manifests/<algo>-<hex>     a manifest, pushed by that digest
//	<tag>/index.json           another layout, of one image: the directory is the tag
//	<tag>/blobs/<algo>/<hex>   its blobs and manifests
//
// A symlink at the place of a blob, or of an index.json, counts as the file that it leads
// to inside its layout; one that leads out is refused. Everything else is only staged:
// files of temporary names, and the symlinks that come along with a copy of an image
// directory.
//
// # Which entry of an index.json is the image
//
// Programs list more than the image: its children, signatures, fallback tags, and, on
// their way, pieces of it. In upload/ itself each entry has the tag of its ref.name. In
// <tag>/ all entries are pushed by digest, and one of them has the directory's name as its
// tag: chooseImage finds that one by the name, else because no other entry can be an image.
// Two such entries are an error, and no tag moves.
//
// An entry without a name may be a piece of an image that the next version of the
// index.json names, and so may one with another name, once the index.json is written step
// by step. The push of the tag is deferred then: it is due when the program that wrote the
// index.json has ended, or when nothing more came for deferFor. A child of an index, as its
// platform tells, is waited with for deferPieceFor while its program lives. Area.Await
// waits for a deferred push. The push of a manifest in manifests/ that may be renamed is
// deferred in the same way: a name that it loses by then never becomes a tag. No errno tells
// of a deferred push that fails; Tree.Failed does.
//
// A program that writes the index.json of one image once more means that image: its tag is
// pushed again if it was moved since, although the entry hasn't changed.
//
// # Nothing is lost in silence
//
// The area looks at each layout when nothing has come for attendAfter, and when the mount
// ends. A Record and Tree.Failed tell missing pieces, an index.json that can't be read or
// lists no image, other bytes than a name says, manifests that nothing names, files of
// programs that were killed, and what stands where nothing is looked for: each once.
//
// # When something is pushed
//
// Flush, Sync, Rename and Link are where programs look for errors, so they push,
// and return what came of it. Flush isn't the last close of a file: a shell
// flushes before the first byte. So what has a digest for a name is pushed when
// its bytes match it, what has any other name whenever it has changed, and an
// index when it can be parsed and has entries that are new. An entry that can't be pushed
// fails alone. The result stays: it is returned again for as long as nothing changes.
//
// What an index entry needs is pushed in order: blobs, then children by digest,
// then the manifest itself under its tag. A child that is no manifest by its media type is
// a blob. A fallback tag of the referrers tag schema is pushed as what it lists: the
// registry lists that by itself, or package registry keeps the tag. What is neither staged
// nor at the registry is waited for; the call that brings the last piece pushes the entry.
// A tag is only ever put with its whole image there.
//
// Bytes are on their way before that where the name says which digest they will have,
// be it that of a blob or one that programs give it until it is whole: they follow the
// writer, and the push goes on from there. Nothing of them is seen at the registry
// before the push has closed their session, and whatever else becomes of the file gives
// them up. Of any other name the digest isn't known before the file is closed, and so
// not whether the registry has it: what it has is never sent.
//
// # What is on disk
//
// One directory for each mount, named after when it began and locked while it lives:
//
//	DIR/<time>-<pid>/lock
//	DIR/<time>-<pid>/pushed.jsonl      what was pushed, a line each
//	DIR/<time>-<pid>/tree/<host>/<repository>/upload/…
//
// The tree has the files by the names under which they were staged, so that
// whatever ends the mount before they were pushed, they can be copied into upload/
// again as they lie there. Nothing does that by itself. What was pushed moves to
// the cache, and keeps its name in memory until the mount ends.
//
// # Locks
//
// A mutex guards fields, and no more: nobody holds one over I/O, a hash or a wait, nor over a
// call of a Tree, a Client or a Program. So attributes, lists and lookups of what is staged
// answer at once, whatever a file waits for. (A lookup waits in one case: for the push of that
// very file, if it has no byte and was just closed, as its close didn't tell what came of it.)
// A turn is held over work that takes its time. One goroutine at a time has it, and whoever
// waits for it can leave: the wait ends with the context of the call, or with the area. In this
// order they are taken:
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
// over one operation of the staging disk, so that the disk has the names of the tree. The
// cache takes over a file with File.writing held: whoever wants to write it waits for that.
// Locks and turns are given back by defer, as a panic ends what it happens in, and no more.
//
// # What the mount remembers
//
// An Area holds the tree of a repository from when something of it is staged or changed. Of
// all others it knows those that somebody holds a node of. The bytes on the staging disk are
// counted by file: each has a share of the budget, which it gives back when its bytes leave
// the disk. They do when its last name and its last handle are gone, or when they are the
// cache's to take.
package upload
