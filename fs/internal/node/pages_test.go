package node

import "testing"

// The kernel keeps pages of a file from one open to the next, but not those that weren't
// verified, nor those of a cache file that another has taken the place of.
func TestPagesAreKeptOfTheSameVerifiedFileAlone(t *testing.T) {
	n := &fileNode{}
	for _, c := range []struct {
		what  string
		pages uint64
		want  bool
	}{
		{"bytes at hand", 0, true},
		{"the first open", 7, true},
		{"the same file", 7, true},
		{"not cached", 0, true},
		{"the same file", 7, true},
		{"as it comes", UnverifiedPages, true},
		{"verified since", 7, false},
		{"the same file", 7, true},
		{"another file", 8, false},
		{"the same file", 8, true},
	} {
		if got := n.keepPages(Way{Pages: c.pages}); got != c.want {
			t.Errorf("%s: %t", c.what, got)
		}
	}
}
