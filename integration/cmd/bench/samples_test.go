package main

import (
	"errors"
	"runtime"
	"testing"
)

// Each round of each program is a line that benchstat reads, and a program that failed has
// none.
func TestSamples(t *testing.T) {
	p := report{}
	p.add(&row{name: "rootfs-base", unit: times, ways: []*way{
		{name: "crane export | tar xO", took: []float64{2, 0.5}},
		{name: "cat through ocifs", took: []float64{1.25e-6}, peak: 4096},
		{name: "umoci unpack", took: []float64{1}, failed: errors.New("no")},
	}})
	p.add(&row{name: "cached", unit: rate(1000), ways: []*way{{name: "the cache file, 1 thread", took: []float64{0.5}}}})
	p.add(&row{name: "random", unit: reads(10), ways: []*way{{name: "cp -r LAYOUT upload/", took: []float64{5}}}})
	want := "goos: " + runtime.GOOS + "\ngoarch: " + runtime.GOARCH + `
pkg: github.com/ocifs/ocifs
BenchmarkRootfs-base/Crane_export_to_tar_xO 1 2000000000 ns/op
BenchmarkRootfs-base/Crane_export_to_tar_xO 1 500000000 ns/op
BenchmarkRootfs-base/Cat_through_ocifs 1 1250 ns/op 4096 peak-bytes
BenchmarkCached/The_cache_file_1_thread 1 500000000 ns/op 2000 B/s
BenchmarkRandom/Cp_-r_LAYOUT_upload_ 1 5000000000 ns/op 2 reads/s
`
	if got := p.samples(); got != want {
		t.Errorf("the samples are\n%s\nwant\n%s", got, want)
	}
}
