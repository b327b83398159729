package metrics

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func text(t *testing.T, p *Page) string {
	t.Helper()
	var b bytes.Buffer
	if n, err := p.WriteTo(&b); err != nil || n != int64(b.Len()) {
		t.Fatalf("WriteTo: %d bytes of %d, %v", n, b.Len(), err)
	}
	return b.String()
}

// A page is the text format 0.0.4: one HELP and TYPE a family, its samples together, families and
// samples sorted, values escaped, a newline at the end.
func TestAPageIsTheTextFormat(t *testing.T) {
	var p Page
	requests := p.Counter("x_requests_total", "Requests.", "host", "code")
	requests.Set(2, "b", "200")
	requests.Set(1<<40, "a", "error")
	requests.Set(1, "a", "200")
	p.Gauge("x_empty", "Nothing yet.", "host")
	info := p.Gauge("x_info", "A \"path\" with \\\nand more.", "path")
	info.Set(1, "/a \"b\"\\c\nd\xff{}")
	h := NewHistogram(time.Millisecond, 100*time.Millisecond, 10*time.Second)
	for _, d := range []time.Duration{0, time.Millisecond, time.Millisecond + 1, time.Minute} {
		h.Observe(d)
	}
	p.Histogram("x_duration_seconds", "Durations.", "op").Distribution(h, "read")
	p.Gauge("x_ratio", "Odd values.").Set(0.25)
	const want = `# HELP x_duration_seconds Durations.
# TYPE x_duration_seconds histogram
x_duration_seconds_bucket{op="read",le="0.001"} 2
x_duration_seconds_bucket{op="read",le="0.1"} 3
x_duration_seconds_bucket{op="read",le="10"} 3
x_duration_seconds_bucket{op="read",le="+Inf"} 4
x_duration_seconds_sum{op="read"} 60.002000001
x_duration_seconds_count{op="read"} 4
# HELP x_empty Nothing yet.
# TYPE x_empty gauge
# HELP x_info A "path" with \\\nand more.
# TYPE x_info gauge
x_info{path="/a \"b\"\\c\nd�{}"} 1
# HELP x_ratio Odd values.
# TYPE x_ratio gauge
x_ratio 0.25
# HELP x_requests_total Requests.
# TYPE x_requests_total counter
x_requests_total{host="a",code="200"} 1
x_requests_total{host="a",code="error"} 1099511627776
x_requests_total{host="b",code="200"} 2
`
	if got := text(t, &p); got != want {
		t.Errorf("the page is\n%s\nwant\n%s", got, want)
	}
}

// Values are written so that they read back as themselves.
func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", -3: "-3", 1e15: "1000000000000000", 1e18: "1e+18", 0.1: "0.1", math.Inf(1): "+Inf", math.Inf(-1): "-Inf",
	} {
		if got := number(v); got != want {
			t.Errorf("%g is written %q, want %q", v, got, want)
		}
	}
	if got := number(math.NaN()); got != "NaN" {
		t.Errorf("NaN is written %q", got)
	}
}

// A sample has a value for each label: a mistake there is seen at once.
func TestASampleHasAllLabels(t *testing.T) {
	defer func() {
		if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), "x_total") {
			t.Errorf("a sample without a label value: panic %v, want one that names the family", p)
		}
	}()
	new(Page).Counter("x_total", "X.", "host").Set(1)
}

// Instruments lose nothing, whoever counts at the same time.
func TestInstrumentsCountConcurrently(t *testing.T) {
	const goroutines, times = 8, 1000
	h := NewHistogram(time.Second)
	v := NewVec[string](func() *atomic.Int64 { return new(atomic.Int64) })
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for i := range times {
				h.Observe(time.Duration(i%2*2) * time.Second)
				v.At(fmt.Sprint(i % 10)).Add(1)
			}
		})
	}
	wg.Wait()
	const all = goroutines * times
	if h.Count() != all || h.Sum() != all*time.Second {
		t.Errorf("the histogram has %d durations of %v, want %d of %v", h.Count(), h.Sum(), all, all*time.Second)
	}
	sets, sum := 0, int64(0)
	for _, n := range v.All() {
		sets++
		sum += n.Load()
	}
	if sets != 10 || sum != all {
		t.Errorf("the vec has %d sets and counted %d, want 10 and %d", sets, sum, all)
	}
}

// However many names come, the label has the first ones and one other value.
func TestNamesAreBounded(t *testing.T) {
	n := NewNames(2)
	for _, c := range []struct{ name, want string }{
		{"a", "a"}, {"b", "b"}, {"c", Other}, {"a", "a"}, {"d", Other}, {"b", "b"},
	} {
		if got := n.Label(c.name); got != c.want {
			t.Errorf("the label of %s is %s, want %s", c.name, got, c.want)
		}
	}
}

// Reserved names keep their own value, however many others come before and after.
func TestReservedNamesHaveTheirPlaces(t *testing.T) {
	n := NewNames(2)
	for _, name := range []string{"a", "junk", "more junk"} {
		n.Label(name)
	}
	for _, name := range []string{"a", "r", "a", "too many"} {
		n.Reserve(name)
	}
	for _, c := range []struct{ name, want string }{
		{"a", "a"}, {"r", "r"}, {"junk", "junk"}, {"b", "b"}, {"more junk", Other}, {"too many", Other}, {"r", "r"},
	} {
		if got := n.Label(c.name); got != c.want {
			t.Errorf("the label of %s is %s, want %s", c.name, got, c.want)
		}
	}
}

// A page has the families that Prometheus' clients have of a process, and their values are true.
func TestProcess(t *testing.T) {
	values := func() map[string]float64 {
		var p Page
		p.Process()
		all := map[string]float64{}
		for _, f := range p.families {
			for _, s := range f.samples {
				all[f.name] = s.lines[0].value
			}
		}
		return all
	}
	before := values()
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	after := values()
	if got := after["process_open_fds"] - before["process_open_fds"]; got != 1 {
		t.Errorf("one more open file is %g more descriptors", got)
	}
	now := float64(time.Now().Unix())
	if at := after["process_start_time_seconds"]; at > now+1 || at < now-3600 {
		t.Errorf("the process began at %f, now is %f", at, now)
	}
	if cpu := after["process_cpu_seconds_total"]; cpu <= 0 || cpu > 3600 || cpu < before["process_cpu_seconds_total"] {
		t.Errorf("%g s of CPU time were used, %g before", cpu, before["process_cpu_seconds_total"])
	}
	if memory := after["process_resident_memory_bytes"]; runtime.GOOS == "linux" && (memory < 1<<20 || memory > 1<<33) {
		t.Errorf("%g bytes are in RAM", memory)
	}
}

// To count an operation costs no allocation.
func TestCountingAllocatesNothing(t *testing.T) {
	h := NewHistogram(time.Millisecond, time.Second)
	n := NewNames(2)
	v := NewVec[[2]string](func() *Histogram { return NewHistogram(time.Second) })
	allocs := testing.AllocsPerRun(100, func() {
		h.Observe(time.Microsecond)
		v.At([2]string{n.Label("a"), "GET"}).Observe(time.Second)
	})
	if allocs != 0 {
		t.Errorf("counting allocates %g times", allocs)
	}
}

func BenchmarkObserve(b *testing.B) {
	h := NewHistogram(100*time.Microsecond, time.Millisecond, 10*time.Millisecond, 100*time.Millisecond, time.Second, 10*time.Second)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			h.Observe(time.Millisecond)
		}
	})
}
