package prefetch

import (
	"errors"
	"strings"
	"testing"
)

// An ask arrives as it was sent, whatever bytes its path has. Other ioctls are none.
func TestAnAskArrivesAsItWasSent(t *testing.T) {
	for _, a := range []Ask{
		{}, {Path: "h/r/tags/v1"}, {Path: "h/\xff\n"}, {Path: strings.Repeat("p", maxPath), Platform: strings.Repeat("q", maxPlatform)},
		{Path: "p", Platform: "linux/arm64", Check: true}, {Path: "p", Background: true},
	} {
		b, err := a.encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Decode(askCommand, b); got != a || err != nil {
			t.Errorf("%+v arrives as %+v, %v", a, got, err)
		}
		if _, err := Decode(askCommand+1, b); !errors.Is(err, ErrMalformed) {
			t.Errorf("another command: %v", err)
		}
	}
	if _, err := Decode(askCommand, nil); !errors.Is(err, ErrMalformed) {
		t.Errorf("no bytes: %v", err)
	}
	if _, err := (Ask{Path: strings.Repeat("p", maxPath+1)}).encode(); !errors.Is(err, ErrTooLong) {
		t.Errorf("a path that is too long: %v", err)
	}
}
