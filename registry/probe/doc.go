// Package probe finds out what a registry is like: how it greets somebody whom it doesn't know,
// whom it lets in, how far away it is, and what it offers. It is for programs that explain a
// registry to a person.
//
// What a registry offers is found out by asking for it in a way that changes nothing. Each of the
// functions says why its way doesn't. An error says that it can't be told, and why:
// registry.ErrDenied, where this account may not.
//
// Every function takes the client that it asks by, whose credentials, mirrors and patience count.
// All are safe for concurrent use.
package probe
