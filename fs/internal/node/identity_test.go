package node

import (
	"strings"
	"syscall"
	"testing"

	gofs "github.com/hanwen/go-fuse/v2/fs"
)

// A directory, a file and a symlink of one identity are three nodes all the same.
func TestTypesTellNodesApart(t *testing.T) {
	id := Identity{2, 3}
	seen := map[gofs.StableAttr]bool{}
	for _, mode := range []uint32{syscall.S_IFDIR | 0o755, syscall.S_IFREG | 0o644, syscall.S_IFLNK | 0o777, syscall.S_IFDIR | 0o555} {
		seen[Attr{Identity: id, Mode: mode}.stable()] = true
	}
	if len(seen) != 3 {
		t.Errorf("they are %d: %v", len(seen), seen)
	}
}

// An entry has one identity, whether its path was made or not.
func TestTheIdentityOfANameIsThatOfItsPath(t *testing.T) {
	for _, at := range [][2]string{{"host/app/tags", "v1"}, {"", "host"}, {"host", ""}, {"", ""}, {strings.Repeat("long/", 100), "v1"}} {
		if got, want := IdentityIn(at[0], at[1], "content"), IdentityOf(Join(at[0], at[1]), "content"); got != want {
			t.Errorf("%q in %q: %v, not %v", at[1], at[0], got, want)
		}
	}
}
