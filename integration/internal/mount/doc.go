// Package mount runs the built program on a real mountpoint and looks at the
// mount from outside, for tests, the demo and the benchmark.
//
// # Never from inside
//
// The process that this package is in serves the registry that the mount asks. If
// it read the mount as well, its runtime could wait for itself: a thread that
// stands in the kernel for an answer of the file system keeps the whole process
// from forking or from collecting garbage, and so from answering. So whatever
// looks at a mount is another process: [Run] and [Shell] start one. Not even its
// working directory is set from here; scripts say `cd`.
package mount
