// Package hosts reads what containerd, podman and docker are told about registries: mirrors,
// servers that stand in for a registry, certificates, headers, and servers that speak plain
// HTTP.
//
// # Nouns
//
// A Record is all that is configured about one registry. An Endpoint is a server that
// speaks for it, either a mirror or the registry's own server, with what that one needs. A
// Finder reads the files, makes Records of them, and new ones when the files change. Options
// name the files, and Usual the ones that other programs read.
//
//	finder := hosts.New(hosts.Usual())
//	record, err := finder.Record("docker.io")
//
// # Files
//
// The first of these that is about a registry gives its mirrors and its server:
//
//  1. hosts.toml        containerd  of the host, else that of _default
//  2. registries.conf   podman      the [[registry]] with the longest prefix
//  3. daemon.json       docker      registry-mirrors, for docker.io
//
// Two more count for a server by its own host and port, whatever registry it speaks for:
//
//	certs.d                           docker, podman  certificates
//	insecure-registries, daemon.json  docker          unless one of the first two is about the server
//
// Record.Files has those that count for a registry, Record.Warnings what they say in vain. Whether one changed is looked at once a
// second at most. Nothing here contacts anybody, or looks up a name.
//
// # hosts.toml
//
// The file is in a directory that has the registry's name (docker.io, registry.example_5000_ or
// registry.example:5000), else in one called _default. The first such directory counts, even if
// it is empty: that keeps a host out of _default. A directory without a hosts.toml may hold
// certificates in its place; then registries.conf and daemon.json count for the rest.
// https://github.com/containerd/containerd/blob/main/docs/hosts.md
//
// The keys are capabilities, ca, client, skip_verify, header, override_path and dial_timeout, of
// server and of each [host]. An address of http with skip_verify, ca or client is tried by
// https first, unless its port is 80. What differs from containerd (2.2), on purpose:
//
//   - A mirror gets pushes, and is asked for referrers before the registry is, only if its
//     capabilities name push and referrers. A push that ends at a mirror is lost for all others,
//     and a mirror's list may lack the signature that matters.
//   - A server is asked for referrers if it may resolve: files from before 2.2 don't name them.
//   - A malformed file, a certificate that is named and isn't there, an address that is none:
//     the registry has no Record but an Error until that is mended. Containerd goes on with
//     the certificates alone. Who wrote a mirror means it.
//   - An unknown capability is left out with a warning. To containerd the file is malformed.
//   - ca, client and skip_verify count for this server alone, and not for the token server that
//     it names. A loopback host is verified like any other.
//   - header goes to the token server too, but to no place that this one leads to.
//   - No http is tried after a server once spoke TLS.
//   - proxy (a key that containerd's main has) and rewrite (k3s) mean nothing, with a warning.
//   - config.toml's own registry tables ([plugins."io.containerd…".registry]), which containerd
//     deprecates, aren't read.
//
// # registries.conf
//
// containers-registries.conf(5), version 2: [[registry]] with prefix, location, insecure,
// blocked and mirror-by-digest-only, [[registry.mirror]] with location, insecure and
// pull-from-mirror. The user's file stands in for the system's. Then the drop-in files
// count, each entry in place of an earlier one with the same prefix.
// https://github.com/containers/container-libs/blob/main/image/docs/containers-registries.conf.5.md
//
// insecure means https without verification, and http if the server speaks no TLS. A mirror
// for digests alone has Pull; every other has Pull and Resolve, as content must come from
// where the tag was resolved. A registry that is blocked has an Error that matches ErrBlocked.
// What differs from podman, on purpose:
//
//   - A prefix is a host, or *.example.com. One with a repository's path is left out with a
//     warning that names it, as a Record is of a whole registry.
//   - A prefix with no port isn't about the same name with a port, but for *.example.com.
//   - An entry that is wrong is an Error of the registries that it is about, or left out with a
//     warning if nobody can say which they are. A malformed file is an Error of all that
//     have no hosts.toml.
//   - Version 1 is left out with a warning.
//
// # daemon.json
//
// registry-mirrors are mirrors of docker.io. insecure-registries, HOST[:PORT] or networks, are
// servers that are asked by https without verification, and by http if they speak no TLS. The
// rootless daemon's file stands in for the system's. A network is compared with addresses
// alone: docker looks names up, and asks the wrong server if somebody lies about a name. What
// is wrong in the file, which is the daemon's, is left out with a warning.
//
// # certs.d
//
// The directory has the server's name. *.crt are authorities that are trusted too. *.cert with the
// *.key of the same name are certificates to show; a *.cert may hold its key itself. All
// directories count together. https://docs.docker.com/engine/security/certificates/
package hosts
