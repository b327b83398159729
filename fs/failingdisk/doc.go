// Package failingdisk is a mounted disk that fails when it is told to, for tests of the cache and
// of the tree. It stands below fs, as all that imports go-fuse does.
package failingdisk
