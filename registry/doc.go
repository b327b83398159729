// Package registry is a client of the distribution API: manifests, blobs, tags, the
// catalog and referrers are read, pushed and deleted.
//
// # Nouns
//
// A Client speaks to any number of registries. A Manifest is an image manifest
// or an index, byte for byte as it was served, with a decoded form beside the
// bytes. Resolved is what a HEAD tells of a manifest or a blob. A Body is a blob
// on its way here. A Source is the bytes of a blob that is pushed, and a session is
// how it gets there: an address that the registry gives, with as much of the blob as
// it has taken. What is sent of a blob while it is still written is Ahead of its push.
//
// Who speaks for a registry is an endpoint: its mirrors, as people configured them
// (package hosts), and itself.
//
// # What is verified
//
// A manifest is returned only when its bytes match the digest that was asked
// for, or the one that the registry gave with them, and when every descriptor in
// it is well formed. Blob verifies as it goes: its reader ends with io.EOF only
// when digest and size matched. BlobRange can't know, so its caller verifies.
//
// # Where requests go
//
// https, except to hosts that were named as plain and to loopback hosts that
// answer https in plain text. A server may send the client elsewhere by a
// redirect, a token realm, a Link or a session's address; internal/transport/follow.go
// is the one place that decides what is followed, and whether the credential goes along.
//
// What can be verified is asked of the mirrors first, in their order, each for what it
// can, and passed over where it fails or lacks it; the registry itself comes last. Lists
// are asked of the registry first, as nobody can see whether a mirror's list is all of
// it, and of mirrors where it is out of reach. What is written goes to the registry, or
// to the one mirror that is named for that. A mirror is shown the credential that is
// for the mirror, and never the registry's. Each setting of TLS has connections of its
// own, and blobs have others than the rest.
//
// # Waiting
//
// Every request is bounded: connecting, the wait for an answer, silence within a
// body, and the whole of what isn't a blob. What can be repeated is, a few times, with growing pauses; a
// Retry-After is kept to up to Options.RetryMaxWait, and beyond that the call
// fails at once. A body that breaks off or falls silent is continued by Range.
// Options.Downloads limits the blob bodies that are open at once per host, so metadata never
// stands behind layers; Options.Uploads limits those that are sent.
//
// A server that didn't answer isn't asked again for as long as it took to find that
// out, and one that refused at once not for a moment: reads fail at once then, with the
// same error. Blobs that are under way, and writes, do ask it.
//
// # Writing
//
// What is sent may have arrived although its answer didn't. So nothing that counts is
// sent twice without a look: a session is asked how much of a blob it has, or the
// registry whether it has all of it, and what goes on starts there. What is sent ahead
// is given up at the first thing that goes wrong: the push has all bytes. Manifests are
// their own digest, and may be sent again. A manifest never comes before what it
// names, by the caller's order; a tag comes last.
//
// The specification is https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md.
package registry
