package node

import (
	"maps"
	"slices"
	"syscall"
	"testing"
)

// entryOfType is an entry with extended attributes.
type entryOfType uint32

func (e entryOfType) Attr() Attr   { return Attr{Mode: uint32(e)} }
func (e entryOfType) Path() string { return "x" }
func (e entryOfType) Xattrs() map[string]string {
	return map[string]string{"user.ocifs.layer": "sha256:…", "trusted.mine": "1"}
}

// Linux has user.* for files and directories alone: what is listed elsewhere can't be read.
func TestAttributesThatCannotBeReadAreNotListed(t *testing.T) {
	all := []string{"trusted.mine", "user.ocifs.error", "user.ocifs.layer"}
	for mode, want := range map[uint32][]string{
		syscall.S_IFREG: all, syscall.S_IFDIR: all,
		syscall.S_IFLNK: all[:1], syscall.S_IFCHR: all[:1], syscall.S_IFIFO: all[:1],
	} {
		b := &base{kernel: New(Options{Xattr: true}), entry: entryOfType(mode)}
		b.kernel.Fail(t.Context(), "x", "read", syscall.EIO)
		if got := slices.Sorted(maps.Keys(b.xattrs())); !slices.Equal(got, want) {
			t.Errorf("mode %o has %q", mode, got)
		}
	}
}
