package main

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"testing"
)

// Whatever came of a run, there is a picture of it: of what is far off its goal, of what
// used less than nothing, and of runs in which nothing could be measured, none.
func TestPictures(t *testing.T) {
	full := report{Machine: []string{"a machine", "and its programs"}, Verdicts: []verdict{
		{Row: "far off", Value: 0.001, Least: 0.0001, Most: 0.002, Mark: 0.95, State: short, Result: "0.00", Goal: ">= 0.95"},
		{Row: "far ahead", Against: "a peer 1 MB/s", Value: 300, Least: 250, Most: 400, Mark: 4, State: met, Result: "300", Goal: ">= 4"},
		{Row: "no more than nothing", Value: -2, Least: -3, Most: 1, Mark: 1, Budget: true, State: met},
		{Row: "beyond any budget", Value: 80, Least: 40, Most: 90, Mark: 1, Budget: true, State: short},
		{Row: "not there", State: unmeasured, Why: "a reason"},
	}}
	for name, p := range map[string]report{
		"all": full, "speeds": {Verdicts: full.Verdicts[:2]}, "budgets": {Verdicts: full.Verdicts[2:4]},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := p.draw(dir); err != nil {
				t.Fatal(err)
			}
			raw, err := os.ReadFile(filepath.Join(dir, "bench.png"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := png.Decode(bytes.NewReader(raw)); err != nil {
				t.Error(err)
			}
			if raw, err = os.ReadFile(filepath.Join(dir, "bench.svg")); err != nil || !bytes.Contains(raw, []byte("</svg>")) {
				t.Errorf("the svg has %d bytes, %v", len(raw), err)
			}
		})
	}
	dir := t.TempDir()
	if err := (&report{Verdicts: full.Verdicts[4:]}).draw(dir); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("there is a picture of nothing: %v", left)
	}
}
