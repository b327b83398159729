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
// Root.mu guards the shape of one repository's tree and is held for no I/O but
// that of the staging disk. File.mu guards the content of one file. A push holds
// neither, nor does what hashes and sends behind a writer but for moments. A push of a
// layout's entries holds the layout's turn. The order is: a file's turn, a layout's turn,
// Root.mu, File.mu, activity.mu. Locks are given back by defer, as a panic in a request ends
// that alone.
package upload
