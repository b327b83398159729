// Package hosts reads what people configured about registries: mirrors, servers that
// stand in for a registry, certificates, headers.
//
// # Nouns
//
// A Record is all that is configured about one registry. An Endpoint is a server that
// speaks for it, either a mirror or the registry's own server, with what that one needs. A
// Finder finds the files and makes Records of them, and new ones when the files change.
//
// # Which files
//
// containerd's hosts.toml, one below each of Options.Containerd in a directory that has
// the registry's name (docker.io, registry.example_5000_ or registry.example:5000), else
// in one called _default. The first such directory is the one that counts, even where
// it is empty: that is how a host is kept out of _default. A directory without a
// hosts.toml may hold certificates in its place.
// https://github.com/containerd/containerd/blob/main/docs/hosts.md
//
// The certificate directories of docker and podman, below each of Options.Certs in a
// directory that has the server's name: *.crt are authorities that are trusted too, *.cert with
// the *.key of the same name are certificates to show. They count for a server by its
// own host and port, whatever registry it speaks for; those of all directories count
// together. https://docs.docker.com/engine/security/certificates/
//
// # Where this differs from containerd
//
// A mirror gets pushes only where its capabilities name push. The certificates that people
// configure never replace those that the system trusts. A loopback host is
// verified as any other. What is wrong in a file is an error, and not a reason to go
// on without it: who wrote skip_verify or a mirror means it. What can't be used and
// isn't known is left out with a warning, as other programs read these files too.
//
// # Half a record is none
//
// A malformed hosts.toml, a certificate that is named and isn't there: then the
// registry has no Record but an Error, with the file and the line, until that is mended.
// Nothing here contacts anybody.
package hosts
