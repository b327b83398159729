package main

import "testing"

// What the environment says of memory stays, and our own limit grows with the cache's index.
func TestTheMemoryLimit(t *testing.T) {
	for _, c := range []struct {
		gomemlimit string
		blobs      int
		want       int64
	}{
		{"", 0, 80 << 20},
		{"", freeBlobs, 80 << 20},
		{"", 1_000_000 + freeBlobs, 80<<20 + 400_000_000},
		{"1GiB", 0, 0},
		{"off", 5_000_000, 0},
	} {
		if n := memoryLimitFor(c.gomemlimit, c.blobs); n != c.want {
			t.Errorf("GOMEMLIMIT=%q, %d blobs: %d, where %d was expected", c.gomemlimit, c.blobs, n, c.want)
		}
	}
}
