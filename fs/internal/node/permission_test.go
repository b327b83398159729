package node

import "testing"

// Names that a macOS desktop leaves everywhere are told from those that a person means.
func TestForMac(t *testing.T) {
	for name, want := range map[string]bool{".DS_Store": true, "._x": true, "._": true, ".x": false, "_x": false, "x.DS_Store": false} {
		if got := forMac(name); got != want {
			t.Errorf("%q is for macOS: %v", name, got)
		}
	}
}
