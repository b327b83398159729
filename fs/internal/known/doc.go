// Package known is what a mount knows of registries, and for how long. It decides what is
// asked of a registry, and what is answered from memory or from the cache. It knows no kernel
// and no directory.
//
// # Nouns
//
// A Registries is what one mount knows of all registries. A Host and a Repository are names
// in it: they hold nothing themselves, so a name that was entered and never used takes no
// memory. An Answer is what a registry said of one thing: since when that is known, until when
// it is believed, since when it is denied. A Tag, a TagList, a Namespace, Referrers are
// answers with what they tell. An Image is one manifest of a repository, and its Closure all
// that is reachable from it. A Piece is a part of an image that a manifest names. A flight is
// work that several wait for.
//
// # What a lookup costs
//
// A host or a repository component costs nothing: nobody is asked. A tag costs a GET the first
// time, a HEAD when its time is over, nothing in between. A tag that a whole list of tags lacks
// costs nothing while the list is believed: git, editors and make look for names of their own
// wherever somebody stands. The manifest tells the size of a layer, so a layer costs nothing
// before its bytes are read. A HEAD is for a digest that nothing named, and for a piece of
// which the manifest can't say whether the registry has it: a foreign layer, a child of an
// index whose type is no manifest's.
//
// # Memory
//
// All answers stand in tables of the whole mount, bounded in number or in bytes, and the
// answer that was used longest ago goes first. What goes is asked for again: a tag is
// remembered on disk, and costs nothing while it is believed.
//
// # A registry that is out of reach
//
// An answer is kept past its time, and shown where the registry can't be asked: tags, lists of
// tags, repositories and referrers, and what a repository had. Each time a person is told by
// Options.Notify, and the answer is shown for some seconds before anyone asks again. What was
// denied since, and what isn't known, is the error of the cause, never a missing name. A push
// relies on nothing that its registry can't confirm now.
//
// A registry that answers, and refuses to list tags, is in reach: the tags that this mount has
// looked up or pushed are listed, as far as they are in memory.
//
// # Waiting
//
// Everything that several callers wait for runs in a flight: it lives for as long as anyone
// waits, and a caller that is interrupted leaves at once. Every method that may ask a registry
// has a context, and ends with it. No lock is held over a request. A change of the time of a
// list is written to disk, a small file, under the lock that orders such changes.
package known
