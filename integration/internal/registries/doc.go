// Package registries starts real registries on loopback for tests, the demo and
// the benchmark: distribution and olareg in the process, Debian's docker-registry
// as a process of its own.
//
// Each is a [Server]: the registry stands behind one front on a port of
// 127.0.0.1, which records every request ([Server.Requests], [Server.Counts]) and
// misbehaves on demand ([Server.Fault], [Server.Gone]). What answers is always
// the registry itself; a fault only spoils, delays or withholds its answer.
//
// [Tagged] and [Generate] start registries of our own, for content of which there is too
// much to push it.
//
// Registries speak plain HTTP. With [Auth] distribution verifies tokens that a
// [TokenServer] signs, and docker-registry passwords of an htpasswd file.
package registries
