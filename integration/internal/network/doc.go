// Package network is a bad network between a program and a server, for tests: a
// proxy of TCP connections that delays, throttles, stalls, cuts and resets them.
//
// A [Proxy] is calm until it is told otherwise. In [Weather] it spoils connections
// at random, each after some bytes; [Proxy.Down] is a machine that is switched off:
// connections are reset, and new ones refused. What was random comes from a seed:
// with the same one, the third connection meets the same faults after the same bytes.
// When connections are made is the program's affair, so a run repeats only so far.
//
// [NewSlow] gives a network that is calm and slow: each connection has a rate of its own, as
// those to a CDN have.
//
// It knows nothing of HTTP: what it forwards, it forwards byte for byte and in order.
package network
