// Package auth finds the credentials that people have, and answers a registry's
// challenge with an Authorization header.
//
// A [Credential] proves who asks. A [Source] finds the credential for a repository:
// [Default] where docker and podman keep theirs, [FromFiles] in files of docker's form,
// [Static] for a program that has a user name and a password already. An [Authorizer]
// sends requests, answers challenges (RFC 9110, section 11), and gets tokens from token
// endpoints (https://distribution.github.io/distribution/spec/auth/token/, and its OAuth2
// form for identity tokens).
//
// # Order of sources
//
// Default looks into DOCKER_AUTH_CONFIG in the environment first, as docker does
// (docker/cli#6008), then into podman's auth.json files, as podman does, then into
// docker's config.json. In each, a credential helper that is configured for the
// repository comes before the entry of auths. Of the keys in one file the longest that is
// the repository or leads to it counts.
//
// # Refusals
//
// A registry or its token endpoint refuses a credential by 401 or 403 (a token endpoint
// by 400 too, where it takes no other scope either). The source is then asked for the next
// credential, a helper for a fresh one. A request shows at most four credentials, each
// once. Reading is tried as nobody at last: an expired credential doesn't hide what is
// public. [Use] names all credentials that were refused, and what a person does about each.
//
// A credential that was refused for a repository isn't shown there again for five minutes
// where another, or nobody, was let in. A change of its file ends that at once. A
// credential that is plainly wrong (401 to the password itself) is tried last at the
// other repositories of the host.
//
// Where none of the source's was let in, a credential that is plainly wrong isn't shown to the whole
// host for a pause: five seconds, and twice as long after each refusal that follows, up to five
// minutes. Accounts are locked for wrong passwords that come with each read. Requests are answered
// with the refusal meanwhile ([Use.Rests], [RestsError]), unless nobody is let in. Another
// credential of the source counts at once. Where the host let the credential in within
// the last five minutes, its 401 is of what isn't allowed: then the pause is for that repository
// and access alone. Of requests that begin at once, before it is known whether a credential is
// right, the others wait up to five seconds for the first. Any other refusal of a token endpoint
// stands for five seconds there.
//
// # Bounds
//
// A mount lives for weeks, and credentials don't. A header is used no longer than its token
// or its credential is good, and never after its file has changed; helpers are asked again
// after five minutes. Grants are kept for the 4096 repositories that were asked last, and a
// token is got once for all requests that wait for it. A helper has 30 seconds and one runs
// at a time; a token endpoint has 30 seconds for its body. All types are safe for concurrent
// use, and nothing runs on when nobody waits for it any more.
//
// # Secrets
//
// Passwords and tokens are in Credential and in requests, and nowhere else: neither in
// errors, nor in the log, nor in what Origin, Hint and Account say.
package auth
