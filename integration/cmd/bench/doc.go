// Command bench measures what ocifs promises to be: as fast as the disk and the wire,
// and ahead of the programs that people use instead. It prints a table, and writes it
// as bench.md, bench.json, bench.svg and bench.png. bench.txt has each round in Go's
// benchmark format, for benchstat.
//
// # What is compared
//
// A row is one task, such as a cold blob of 1 GiB. Each program's way to do it is
// measured in turns, round by round, so that what else a machine does falls on all of
// them; the next round begins with the next way. What counts is the ratio of the
// medians, and its spread is that of the ratios of single rounds. A goal is met or it
// is short; what can't be measured here says why.
//
// # What is measured
//
// Of programs, the whole command, from the start of the shell that runs it to its end.
// Of reads that take less than a program's start, the read alone, by a process of this
// binary that does nothing else ([probe]): it is never the daemon's, nor the
// registry's. Before each measurement everything that was written so far is synced, so
// that nobody pays for the writes of the one before. The page cache is dropped for
// nobody: what the registry serves is in memory for all.
//
// The registry is distribution in a process of its own ([serve]), which counts requests
// and bytes, and which can also be reached through a network that carries 40 MB/s a
// connection ([network.NewSlow]).
//
// # Users
//
// Rows called unprivileged are of a daemon and readers that are the user nobody's.
// They are in a mount namespace of their own, where everyone may open /dev/fuse, as on
// most machines.
package main
