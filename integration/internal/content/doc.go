// Package content makes images and artifacts and pushes them with a real client
// (oras-go), for tests and for the demo.
//
// Everything is made here, byte by byte the same on every run, and every push
// returns what was pushed: a [Blob] or a [Manifest] with its bytes, so that a test
// can compare them with what a reader got.
package content
