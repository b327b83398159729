// Package prefetch is how a program has a mount bring into the cache what a path needs.
//
// # Nouns
//
// A Session is the file .ocifs/prefetch, opened. An Ask names one path of the mount. A State says
// what has come of all asks of a Session. An Item is one thing that is brought: a blob, or a layer,
// unpacked.
//
// # The way
//
// An ioctl(2) on the open file carries an Ask. It returns when the ask is taken, and waits for no
// download. A read of the file from its start gives the State of the moment, as JSON. When the file
// is closed, however its program ended, its asks end, but for those with Ask.Background. So what a
// killed program asked for is never left behind. Bytes that came stay, and the next download
// continues with them.
//
// The mount finds out by itself what a path needs: an image directory its blobs, a file of an image
// the layer that it is in. So programs that ask know nothing of the tree.
//
// # Why it is an ioctl on a file
//
// An ioctl goes where reads go: through a read-only mount, a mount of another user who lets others
// read it, and one whose device somebody else opened. It is charged to its caller, as reads are, and
// needs no address of the daemon. Rejected ways:
//
//   - Reading every file from outside copies all bytes to a program that drops them, can't go on
//     after that program, and can't tell what is missing without downloading it.
//   - An ioctl on the file or directory itself needs it open. The open of a directory in an image
//     makes its listing, for which layers are downloaded.
//   - Writing to a control file fails on a read-only mount.
//   - A socket of the daemon has rights and a place of its own, and isn't where the mount is seen.
package prefetch
