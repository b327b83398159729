// Package registrytest is a registry in the process, for tests of clients: real HTTP,
// the whole distribution API, as strict as registries are, and as wrong as a test
// wants it.
//
// # A registry
//
//	s := registrytest.Start(t, registrytest.Options{})
//	s.Image("library/alpine", "v1", []byte("a layer"))
//	s.On("GET blob", registrytest.Cut(4))
//	... ask s.Host by http ...
//	s.Want("GET manifest v1", "GET blob", "GET blob bytes=4-")
//
// A Server listens on 127.0.0.1 until the test ends. What it holds is put there by
// Blob, Manifest and Image, or pushed, and is read back by ReadBlob and ReadManifest.
// Uploads are taken strictly: bytes in order, digests that match, manifests whose
// pieces are there. Lists name what is held, unless SetCatalog or SetTags say otherwise.
// Traits say what a registry is like throughout; their zero value is a registry that has
// the least that the specification asks for. Elsewhere gives a second address of the same
// registry, for redirects, tokens and sessions.
//
// # The record
//
// Every request is written down when it arrives, with the credential that it carried,
// before anything is answered. A request reads as
//
//	METHOD KIND [tag] [Range or Content-Range]
//
// where the kind is one of manifest, blob, upload, tags, catalog, referrers, ping
// (/v2/ itself), token and other. Digests and sessions are left out. What Elsewhere
// was asked is in the same record, and reads "elsewhere METHOD KIND".
//
// # Rules
//
// A rule has quirks done to the requests that it matches: to every one (On), to the
// first few (First), or to one (Nth), counted from when the rule was made. It matches
// by method, kind and reference, "*" is anything, and what ends with it anything that
// begins so:
//
//	s.On("GET blob", ...)             every blob
//	s.Nth(2, "PUT upload", ...)       the second
//	s.First(3, "* manifest v1", ...)  the first three
//	s.On("PUT manifest sha256:*", ...)
//
// Where several rules match, the last one made is the outermost: it sees the request
// first, and the answer last. The quirks of one rule are in order, the first
// outermost.
//
// # How to write a quirk
//
// A Quirk gets the request and next, which does what is asked and gives the answer.
// It may change the one before and the other after, or answer itself:
//
//	teapot := func(x *registrytest.Exchange, next func() *registrytest.Answer) *registrytest.Answer {
//		a := next()
//		a.Header.Set("X-Brew", "tea")
//		a.Status = http.StatusTeapot
//		return a
//	}
//
// An answer goes out as it is. Its Length is what is told as Content-Length, whatever
// the body has, and with Then it ends After so many bytes of it in another way: by a
// reset, by silence. Where a quirk returns nil nothing more is answered, and the
// connection (of HTTP/2: the stream) ends.
//
// # Concurrency
//
// Everything here is safe for concurrent use. Quirks run at the same time as others;
// what waits in one ends when the client or the server goes.
package registrytest
