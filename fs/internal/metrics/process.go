package metrics

import (
	"math"
	"os"
	"syscall"
	"time"
)

// begun is when the process began, but for the milliseconds before Go's runtime was there.
var begun = time.Now()

// Process adds the families that every program has, by the names that Prometheus' own clients use.
// A family whose value the system doesn't tell has no sample.
func (p *Page) Process() {
	p.Gauge("process_start_time_seconds", "When the process began, in seconds since 1970.").Set(float64(begun.UnixMicro()) / 1e6)
	cpu := p.Counter("process_cpu_seconds_total", "CPU time that the process has used, of user and system.")
	var used syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &used) == nil {
		ns := used.Utime.Nano() + used.Stime.Nano()
		cpu.Set(math.Round(float64(ns)/1e3) / 1e6)
	}
	memory := p.Gauge("process_resident_memory_bytes", "Memory of the process that is in RAM.")
	if n, ok := residentBytes(); ok {
		memory.Set(float64(n))
	}
	fds := p.Gauge("process_open_fds", "File descriptors that the process has open.")
	if n, ok := openFiles(); ok {
		fds.Set(float64(n))
	}
}

// openFiles counts the open descriptors. ok is false if that can't be known.
func openFiles() (n int, ok bool) {
	d, err := os.Open(fdDirectory)
	if err != nil {
		return 0, false
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	return len(names) - 1, err == nil // without the one that reads the directory
}
