package node

import "testing"

// What a macOS desktop leaves everywhere is told from what a person means.
func TestForMac(t *testing.T) {
	for name, want := range map[string]bool{".DS_Store": true, "._x": true, "._": true, ".x": false, "_x": false, "x.DS_Store": false} {
		if got := forMac(name); got != want {
			t.Errorf("%q is for macOS: %v", name, got)
		}
	}
}
