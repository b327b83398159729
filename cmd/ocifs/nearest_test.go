package main

import "testing"

// A misspelt name has the nearest one, and a strange one none.
func TestNearest(t *testing.T) {
	for misspelt, want := range map[string]string{
		"moutn": "mount", "mout": "mount", "mounts": "mount", "umont": "umount", "cache_dir": "cache-dir", "cachedir": "cache-dir", "sizes": "", "": "", "unrelated": "",
	} {
		if got := nearest(misspelt, []string{"mount", "umount", "cache-dir"}); got != want {
			t.Errorf("the nearest of %q is %q, want %q", misspelt, got, want)
		}
	}
}
