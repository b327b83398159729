package caller

import (
	"testing"

	"golang.org/x/sys/unix"
)

// A lookup is for something new where the caller sleeps in a call that makes that.
func TestIntentOfCall(t *testing.T) {
	word := func(address uint64) (uint64, bool) {
		flags := map[uint64]uint64{0x1000: unix.O_CREAT | unix.O_EXCL | unix.O_WRONLY, 0x2000: unix.O_CREAT | unix.O_WRONLY}
		w, ok := flags[address]
		return w, ok
	}
	for line, want := range map[string]Intent{
		// open(2) with O_CREAT|O_EXCL|O_WRONLY, as newer programs call it; the same without
		// O_EXCL; and that of a blob that is only read.
		"257 0xffffff9c 0x7ffc 0xc1 0x1a4 0x0 0x0 0x7ffd 0x7f":  Makes,
		"257 0xffffff9c 0x7ffc 0x241 0x1a4 0x0 0x0 0x7ffd 0x7f": Looks,
		"257 0xffffff9c 0x7ffc 0x0 0x0 0x0 0x0 0x7ffd 0x7f":     Looks,
		"437 0xffffff9c 0x7ffc 0x1000 0x18 0x0 0x0 0x7ffd 0x7f": Makes,
		"437 0xffffff9c 0x7ffc 0x2000 0x18 0x0 0x0 0x7ffd 0x7f": Looks,
		"437 0xffffff9c 0x7ffc 0x3000 0x18 0x0 0x0 0x7ffd 0x7f": Unknown,
		"running\n":                 Unknown,
		"-1 0x7ffd 0x7f\n":          Unknown,
		"x 0x0 0x0 0x0 0x0 0x0 0x0": Unknown,
		"":                          Unknown,
	} {
		if intentOfCall(line, word) != want {
			t.Errorf("%q: %v, want %v", line, intentOfCall(line, word), want)
		}
	}
}
