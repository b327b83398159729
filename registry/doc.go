// Package registry is a client of container registries, which speak the OCI's distribution API:
// manifests, blobs, tags, the catalog and referrers are read, pushed and deleted. What was read is
// verified, what failed is tried again where that may help, and what can't be had says why.
//
//	c := registry.New(registry.Options{Credentials: auth.Default(nil)})
//	defer c.Close()
//	r := ref.Repository{Host: "docker.io", Path: "library/alpine"}
//	m, err := c.Manifest(ctx, r, "latest")
//
// Section names, as in (spec, "Pulling manifests"), are those of
// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md.
//
// # Nouns
//
// A Client speaks to any number of registries, and is safe for concurrent use; so is all that it
// gives, where nothing else is said. A repository is a [ref.Repository], a host and a path;
// [ref.Parse] reads one from what people type. A digest is of SHA-256 or SHA-512.
//
// A [Manifest] is an image manifest or an index, byte for byte as it was served, with a decoded
// form beside the bytes. [Resolved] is what a HEAD tells of a manifest or a blob. A [Body] is a
// blob that is being read. A [Source] is the bytes of a blob that is pushed; [FromBytes],
// [FromFile], [FromReader] and [Spool] make one. An upload session is how it gets there: an
// address that the registry gives, with as much of the blob as it has taken. An [Ahead] is what
// was sent of a blob while it was still written. [Referrers] are the manifests whose subject a
// digest is.
//
// # What is where
//
//	                one manifest      one blob                          lists
//	look            ResolveManifest   HasBlob, ResolveBlob
//	read            Manifest          Blob, BlobRange, BlobPart         Tags, TagPages, Catalog, Referrers
//	write           PushManifest      PushBlob, PushAhead, MountBlob
//	delete          DeleteManifest,   DeleteBlob
//	                DeleteTag
//
// Do sends what has no method here. State tells how the registries are doing. Package
// registry/auth has the credentials, registry/hosts the mirrors and certificates that people
// configured, registry/ref the grammar of names, registry/probe finds out what a registry offers,
// and registry/registrytest is a registry for tests.
//
// # What is verified
//
// A manifest is returned only when its bytes match the digest that was asked for, or the one that
// the registry gave with them, and when every descriptor in it is well formed. Blob verifies as it
// goes: its reader ends with io.EOF only when digest and size matched. A part of a blob has no
// digest, so the caller of BlobRange and BlobPart verifies.
//
// # Errors
//
// Every error says what was done, to what, and what came of it. It is of one of the kinds below,
// for errors.Is; or it is the context's own; or that of the source of a push. Where a server or
// the way to it failed it is an [*Error], for errors.As, with the status of the answer and what
// the registry said.
//
//	kind                 meaning                                            what helps
//	ErrNotFound          the registry doesn't have it (fs.ErrNotExist)
//	ErrBlobUnknown       what a pushed manifest names isn't there           push that first; also ErrNotFound
//	ErrDenied            401, 403: with the best credential, or with none   Error.Hint, Error.Searched
//	ErrCorrupt           a digest or a size that doesn't match; malformed
//	ErrTooManyRequests   429 beyond the waits allowed                       later; Options.RetryMaxWait
//	ErrServer            5xx after retries, an answer that makes no sense   later
//	ErrUnreachable       no route, refused, DNS, TLS                        later, another network
//	ErrConfigured        a hosts.toml that can't be used; ErrUnreachable    mend the file
//	ErrTimeout           no answer in time                                  later
//	ErrUnsupported       the registry doesn't offer it
//	ErrNotMounted        no mount of a blob                                 PushBlob
//	ErrNotAhead          no blob while it is written                        PushBlob
//	ErrNoPlace           BlobPart: as many bodies are open as may be        later; Options.Downloads
//	ErrExists            the tag is immutable, and points elsewhere         another tag
//	ErrInUse             something needs what was to be deleted             delete that first
//	ErrTooLarge          more than the registry takes, or than was allowed
//
// [OutOfReach] says whether an error is of a registry that can't be asked now, as opposed to one
// that said no.
//
// # Where requests go
//
// They go by https, except to hosts that were named as plain, and to loopback hosts and servers
// that people configured as insecure (package registry/hosts) that
// answer https in plain text. A server may send the client elsewhere by a
// redirect, a token realm, a Link or a session's address. One policy decides what is followed, and
// whether the credential goes along: never from https to http, and a credential to its own origin
// alone.
//
// What can be verified is asked of the mirrors first, in their order, each for what it
// can, and passed over where it fails or lacks it; the registry itself comes last. Lists
// are asked of the registry first, as nobody can see whether a mirror's list is all of
// it, and of mirrors where it is out of reach. What is written goes to the registry, or
// to the one mirror that is named for that. A mirror is shown the credential that is
// for the mirror, and never the registry's. Each setting of TLS has connections of its
// own, and blobs have others than the rest. Each part of a blob (BlobPart) has one to itself, by
// HTTP/1.
//
// A blob that its repository lacks (404), from Blob, BlobRange or BlobPart, is asked for at the
// URLs of its descriptor, in their order, eight at most: so are the base layers of Windows images
// published (image-spec, "Descriptors"). Whoever wrote the manifest chose these addresses, and is
// trusted with nothing: no credential, header or client certificate goes there, or to where such a
// URL leads, be it configured for that very host. They are asked by https, and by http where a
// credential may go by http, too. Redirects, retries and bounds are those of any blob, and the
// bytes must have the same digest and size. An [Options.Transport] adds what it adds.
//
// # Waiting
//
// Every call takes a context, and every request is bounded without one: connecting (10 s), the
// wait for an answer (30 s, and longer for what a registry has to hash), silence within a
// body (30 s), and the whole of what isn't a blob (2 min). What can be repeated is, a few times,
// with growing pauses; a Retry-After is kept to up to Options.RetryMaxWait, and beyond that the
// call fails at once. A body that breaks off or falls silent is continued by Range.
// Options.Downloads limits the blob bodies that are open at once per host, so metadata never
// stands behind layers; Options.Uploads limits those that are sent. A call that is over a limit
// waits, as long as its context lets it.
//
// # Observing
//
// [Options.Observer] is told of each request, each retry, and the bytes of blobs, at the one place
// where they go over the wire. The client keeps no counts of its own: a program counts what it shows.
// [Client.State] tells how the registries are doing.
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
package registry
