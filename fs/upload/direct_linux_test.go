package upload

import "testing"

func TestTheWritebackOfMeminfo(t *testing.T) {
	for text, want := range map[string]int64{
		"Dirty:             42464 kB\nWriteback:         16388 kB\nAnonPages:   900 kB\nWritebackTmp:         8 kB\n": 16388 << 10,
		"Dirty: 4 kB\nWriteback:  0 kB\n":    0,
		"Dirty: 4 kB\nWritebackTmp:  8 kB\n": 0,
		"Dirty: 4 kB\nWriteback:  many kB\n": 0,
		"":                                   0,
	} {
		if got := writebackIn([]byte(text)); got != want {
			t.Errorf("%q: %d bytes, and not %d", text, got, want)
		}
	}
}
