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
// Everything else is only staged: what tools write under temporary names, and the
// symlinks and shortcuts that come along with a copy of an image directory.
//
// # When something is pushed
//
// Flush, Sync, Rename and Link are where programs look for errors, so they push,
// and return what came of it. Flush isn't the last close of a file: a shell
// flushes before the first byte. So what has a digest for a name is pushed when
// its bytes match it, what has any other name whenever it has changed, and an
// index when it can be parsed and has entries that are new. The result stays: it is
// returned again for as long as nothing changes.
//
// What an index entry needs is pushed in order: blobs, then children by digest,
// then the manifest itself under its tag. What is neither staged nor at the
// registry is waited for; the call that brings the last piece pushes the entry.
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
// neither, nor does what hashes and sends behind a writer but for moments. Root.mu
// comes before File.mu.
package upload
