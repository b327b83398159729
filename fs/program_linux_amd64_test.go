package fs

import "testing"

// A lookup is for something new where the caller sleeps in a call that makes that.
func TestIntentOfCall(t *testing.T) {
	for line, want := range map[string]intent{
		// open(2) with O_CREAT|O_EXCL|O_WRONLY, as newer programs call it; the same without
		// O_EXCL; and that of a blob that is only read.
		"257 0xffffff9c 0x7ffc 0xc1 0x1a4 0x0 0x0 0x7ffd 0x7f":  makes,
		"257 0xffffff9c 0x7ffc 0x241 0x1a4 0x0 0x0 0x7ffd 0x7f": looks,
		"257 0xffffff9c 0x7ffc 0x0 0x0 0x0 0x0 0x7ffd 0x7f":     looks,
		"running\n":                 unknown,
		"-1 0x7ffd 0x7f\n":          unknown,
		"x 0x0 0x0 0x0 0x0 0x0 0x0": unknown,
		"":                          unknown,
	} {
		if intentOfCall(line) != want {
			t.Errorf("%q: %v, want %v", line, intentOfCall(line), want)
		}
	}
}
