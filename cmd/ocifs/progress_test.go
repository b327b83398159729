package main

import (
	"bytes"
	"testing"
	"time"
)

// Where no bar can be shown, a line now and then says how far it is, and no bar goes there.
func TestProgressIsALineNowAndThenWhereThereIsNoTerminal(t *testing.T) {
	var out, lines bytes.Buffer
	p := newProgress(&out, "hashed")
	p.set(0, 3<<30)
	if out.Len() > 0 {
		t.Errorf("at once it says %q", out.String())
	}
	p.told = time.Now().Add(-progressEvery)
	p.set(1<<30, 3<<30)
	p.set(2<<30, 3<<30)
	if out.String() != "hashed 1.0 GiB of 3.0 GiB\n" {
		t.Errorf("it says %q", out.String())
	}
	p.line(&lines, "damaged")
	if lines.String() != "damaged\n" {
		t.Errorf("the line is %q", lines.String())
	}
	p.end()
}

// Times are told as people say them.
func TestAgesAreForPeople(t *testing.T) {
	for d, want := range map[time.Duration]string{-time.Hour: "0s", 59 * time.Second: "59s", 90 * time.Minute: "1h", 47 * time.Hour: "47h", 49 * time.Hour: "2d"} {
		if got := ageText(d); got != want {
			t.Errorf("%v is %s, want %s", d, got, want)
		}
	}
}
