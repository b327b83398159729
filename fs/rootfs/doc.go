// Package rootfs shows archives as file trees: the archive of one layer, and the merged layers of
// an image. It knows no kernel, no registry and no cache. It reads bytes through io.Reader and
// io.ReaderAt, and indexes through Layers.
//
// # Nouns
//
// An archive is a tar, unpacked. A packing is what an archive is wrapped in: gzip, zstd, bzip2,
// or nothing. An Index lists what is in one archive: names, attributes, and where each file's
// bytes are. An Ino is the number of a file, a directory or anything else in an Index. Hard links
// have one Ino. A Tree is the merge of an image's layers. A part is what one layer contributes to
// a directory of a Tree. A whiteout is a name that hides another name in the layers below. A
// layer decides a name if no layer below can change what the name means.
//
// # An Index
//
// Scan reads an archive once, from start to end, while somebody else stores it and hashes it.
// It needs no second look at the data. The result is encoded into one file that is read by parts:
// nothing of it has to stay in memory. See format.go for the layout. An Index describes the
// archive as it is. Whiteouts are ordinary files in it; only a Tree obeys them.
//
// Within an archive, later entries win over earlier ones, as the OCI image spec and the tools
// that apply layers have it: a directory over a directory changes its attributes and keeps what
// is in it, anything else replaces what was there. A parent that is a file becomes a directory. A
// path through a symlink of the same archive follows it, without leaving the root. A hard link is
// bound to the file that its target named at that moment, or, if nothing had the name yet, at the
// end of the archive. A hard link whose target isn't in the archive may mean a file of a lower
// layer: it stays in the index as a LowerLink. Names are bytes. What can't be shown (a component
// longer than 255 bytes, links in a circle) is left out, and is a Note.
//
// # A Tree
//
// A Tree looks from the top layer down and stops at the layer that decides. It asks Layers for
// the Index of a layer when it needs it, and never for one below the layer that decides. A
// directory exists in the merge if any part has it; its attributes are those of the uppermost
// part that an entry describes. So a lookup of a directory needs fewer layers than its
// attributes, and its attributes need fewer than its listing.
//
// A Dir knows the parts from the top down to some layer, and which layer to look into next. To
// look further, the directories above look into that layer first. The parts end at a layer that
// hides what is below: by an opaque whiteout in the directory, by a whiteout beside it, or by
// something of its name that is no directory. A layer that an image has several times counts once,
// where it is uppermost.
//
// A LowerLink of a layer means what its target is in the merge of the layers below that layer.
// Symlinks on the way to it are followed, inside the root. The link isn't there if the target is a
// directory or isn't there, and it hides the names below as any file does.
//
// Names that begin with ".wh." are not in a merge, nor what is in them. They are in a raw Tree.
//
// # No way out
//
// Dir.Confine rewrites the target of a symlink so that the kernel, which resolves it in the
// mounted tree, ends where a chroot would end. No target leads above the root.
package rootfs
