package main

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"unicode"
)

// samples is the run in Go's benchmark format (golang.org/design/14313-benchmark-format): one
// line for each round of each program, so that benchstat compares the runs of two commits:
//
//	benchstat OLD/bench.txt NEW/bench.txt
//
// A program that failed has no lines. ns/op is the time of one round. Where bytes or reads
// are counted, B/s or reads/s says the same as a rate. peak-bytes is the daemon's memory.
func (p *report) samples() string {
	var b strings.Builder
	fmt.Fprintf(&b, "goos: %s\ngoarch: %s\npkg: github.com/ocifs/ocifs\n", runtime.GOOS, runtime.GOARCH)
	for _, m := range p.Rows {
		if m.Failed != "" {
			continue
		}
		for _, seconds := range m.Seconds {
			fmt.Fprintf(&b, "Benchmark%s/%s 1 %s ns/op", sampleName(m.Row), sampleName(m.Way), number(seconds*1e9))
			if m.unit.amount > 0 {
				fmt.Fprintf(&b, " %s %s", number(m.unit.amount/seconds), m.unit.whole)
			}
			if m.Peak > 0 {
				fmt.Fprintf(&b, " %d peak-bytes", m.Peak)
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// sampleName gives a name of a row or a way as one word: "Rootfs-base", "Cat_through_ocifs".
// benchstat takes a number behind a last hyphen for the number of cores, and a slash for a
// name below the name.
func sampleName(name string) string {
	word := []rune(strings.NewReplacer(" | ", "_to_", ", ", "_", " ", "_", "/", "_").Replace(name))
	word[0] = unicode.ToUpper(word[0])
	return string(word)
}

func number(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }
