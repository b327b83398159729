// Package crowd is twenty programs of as many kinds that read and push through one
// mount, each again and again, and what is promised to them.
//
// # Nouns
//
// A [Crowd] is the programs and what they work on: images in a registry that are
// known byte for byte, some under tags that move. A turn is one program that does its
// work once. The [Tally] is what came of the turns. An outage is the time in which
// there is no daemon, or another one.
//
// # What is promised
//
// A program that says that all went well has read what is right, or has pushed what is
// at the registry then. One that fails says why, and that is an errno that a bad
// network leads to: never that something isn't there, or is damaged. That the mount
// isn't connected is for those alone whose turn has a part in an outage. An image that
// is pushed is whole or absent. None hangs. When it is calm all of them succeed, at
// once, and then nothing is left of it all: no goroutine, no descriptor, no partial
// file, nothing staged.
//
// What breaks a promise goes to a [Reporter].
//
// # Tags that move
//
// A tag's directory is bound to one image for as long as someone stands in it. So a
// program that works with relative paths stands in it, whatever the tag does, and has
// to find one of its images whole. One that walks along absolute paths again and again
// asks for the digest once, and then works on the image's directory by that.
package crowd
