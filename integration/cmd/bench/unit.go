package main

import "fmt"

// unit is what the figures of a row are written in.
type unit struct {
	amount float64 // what is done in the measured time; 0: the time itself counts
	scale  float64
	name   string
	whole  string // without the scale: "B/s", "reads/s"
}

var times unit

// rate is of bytes.
func rate(bytes int64) unit { return unit{float64(bytes), 1e6, "MB/s", "B/s"} }

// reads is of so many reads.
func reads(n int) unit { return unit{float64(n), 1e3, "k/s", "reads/s"} }

// write gives a time in this unit.
func (u unit) write(seconds float64) string {
	if u.amount > 0 {
		return digits(u.amount/u.scale/seconds) + " " + u.name
	}
	// -seconds, as a difference of times may be less than nothing
	switch abs := max(seconds, -seconds); {
	case abs < 1e-3:
		return digits(seconds*1e6) + " µs"
	case abs < 1:
		return digits(seconds*1e3) + " ms"
	default:
		return digits(seconds) + " s"
	}
}

// digits writes three that matter.
func digits(x float64) string {
	switch abs := max(x, -x); {
	case abs >= 100:
		return fmt.Sprintf("%.0f", x)
	case abs >= 10:
		return fmt.Sprintf("%.1f", x)
	default:
		return fmt.Sprintf("%.2f", x)
	}
}
