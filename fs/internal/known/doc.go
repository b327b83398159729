// Package known has what a mount knows of registries, and for how long it believes it. It decides
// what to ask a registry, and what to answer from memory or from the cache. It knows nothing of
// the kernel and of directories.
//
// # Nouns
//
// A Registries is what one mount knows of all registries. A Host and a Repository are names in
// it. They hold nothing themselves, so a name that was entered and never used takes no memory. An
// Answer says since when the registry's answer is known, until when it is believed, and since
// when the thing is denied. A Tag, a TagList, a Namespace and Referrers are answers with their
// content. An Image is one manifest of a repository. Its Closure is everything reachable from the
// manifest. A Piece is a part of an image that a manifest names. A flight is work for which
// several callers wait.
//
// # What a lookup costs
//
// A host or a repository component sends no request. A tag sends a GET the first time, a HEAD
// when its answer has expired, and nothing in between. A tag that isn't in a complete list of
// tags sends nothing while the list is believed: git, editors and make look up names of their own
// everywhere. A manifest has the size of its layers, so a layer sends nothing before its bytes
// are read. A HEAD is sent for a digest that no manifest named. It is also sent for a piece whose
// manifest doesn't say whether the registry has it: a foreign layer, or a child of an index whose
// type isn't that of a manifest.
//
// # Memory
//
// All answers are in tables of the whole mount, limited in number or in bytes. The answer that
// was used longest ago is dropped first. A dropped answer is requested again, except that a tag
// is also kept on disk, and sends nothing while it is believed.
//
// # A registry that is out of reach
//
// An expired answer is kept, and shown if the registry can't be asked: for tags, for lists of
// tags, repositories and referrers, and for what a repository had. Options.Notify tells a person
// each time, and the answer is then shown for some seconds without another request. For anything
// that was denied since, or that isn't known, the caller gets the error of the cause, and never a
// missing name. A push relies only on what its registry confirms now.
//
// A list of tags that breaks off is an error, and its pages are kept for as long as a list is
// believed. The next listing goes on after them. A part of a list is never shown, and denies no
// tag.
//
// A registry that answers but refuses to list tags isn't out of reach. Then the tags are listed
// that this mount has looked up or pushed, as far as they are in memory.
//
// # Waiting
//
// Work for which several callers wait runs in a flight. It lives as long as anybody waits, and a
// caller that is interrupted leaves at once. Every method that may ask a registry has a context,
// and ends with it. No lock is held over a request. One lock is held over the disk: that of the
// times of lists is held while a small file is written, so that the changes keep their order.
package known
