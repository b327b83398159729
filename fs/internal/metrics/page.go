package metrics

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Page has the families of one scrape. Its zero value has none. It isn't safe for concurrent use.
type Page struct{ families []*Family }

// Family has the samples of one metric.
type Family struct {
	name, help, kind string
	labels           []string // the names of the labels
	samples          []sample
}

// sample has the lines for one set of label values: one line, or those of a histogram.
type sample struct {
	values []string // of the family's labels
	lines  []line
}

// line is a name, which is that of the family and a suffix, with its value.
type line struct {
	suffix string
	le     string // the value of the label le, which only a histogram's buckets have; "": no such label
	value  float64
}

// Counter adds a family of numbers that only grow.
func (p *Page) Counter(name, help string, labels ...string) *Family {
	return p.add(name, help, "counter", labels)
}

// Gauge adds a family of numbers that grow and shrink.
func (p *Page) Gauge(name, help string, labels ...string) *Family {
	return p.add(name, help, "gauge", labels)
}

// Histogram adds a family of distributions.
func (p *Page) Histogram(name, help string, labels ...string) *Family {
	return p.add(name, help, "histogram", labels)
}

func (p *Page) add(name, help, kind string, labels []string) *Family {
	f := &Family{name: name, help: help, kind: kind, labels: labels}
	p.families = append(p.families, f)
	return f
}

// Set gives the value for a set of label values, in the order of the family's labels. It is called
// once for each set.
func (f *Family) Set(value float64, values ...string) {
	f.set(values, line{value: value})
}

// Distribution gives the distribution of a Histogram, in seconds, for a set of label values.
func (f *Family) Distribution(h *Histogram, values ...string) {
	var lines []line
	count := 0.0
	for i := range h.counts {
		le := "+Inf"
		if i < len(h.bounds) {
			le = number(h.bounds[i].Seconds())
		}
		count += float64(h.counts[i].Load())
		lines = append(lines, line{"_bucket", le, count})
	}
	f.set(values, append(lines, line{suffix: "_sum", value: h.Sum().Seconds()}, line{suffix: "_count", value: count})...)
}

func (f *Family) set(values []string, lines ...line) {
	if len(values) != len(f.labels) {
		panic(fmt.Sprintf("metrics: %s has the labels %q, and was given the values %q", f.name, f.labels, values))
	}
	f.samples = append(f.samples, sample{values, lines})
}

// WriteTo writes the page: the families sorted by name, and the samples of each by their label
// values. A family without samples has its HELP and TYPE.
func (p *Page) WriteTo(w io.Writer) (int64, error) {
	slices.SortFunc(p.families, func(a, b *Family) int { return cmp.Compare(a.name, b.name) })
	var b bytes.Buffer
	for _, f := range p.families {
		f.write(&b)
	}
	return b.WriteTo(w)
}

var (
	// A HELP is one line, in which a backslash begins an escape; a quote is itself.
	helpEscapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	// A label value is between quotes.
	valueEscapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

func (f *Family) write(b *bytes.Buffer) {
	fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s %s\n", f.name, helpEscapes.Replace(f.help), f.name, f.kind)
	slices.SortFunc(f.samples, func(x, y sample) int { return slices.Compare(x.values, y.values) })
	for _, s := range f.samples {
		for _, l := range s.lines {
			names, values := f.labels, s.values
			if l.le != "" {
				names, values = append(slices.Clip(names), "le"), append(slices.Clip(values), l.le)
			}
			b.WriteString(f.name + l.suffix)
			writeLabels(b, names, values)
			b.WriteString(" " + number(l.value) + "\n")
		}
	}
}

// writeLabels writes {name="value",…}, or nothing if there is no label. The format is UTF-8: other
// bytes, which a path may have, are replaced.
func writeLabels(b *bytes.Buffer, names, values []string) {
	var all []string
	for i, name := range names {
		all = append(all, name+`="`+valueEscapes.Replace(strings.ToValidUTF8(values[i], "\uFFFD"))+`"`)
	}
	if len(all) > 0 {
		b.WriteString("{" + strings.Join(all, ",") + "}")
	}
}

// number writes a value as Go's ParseFloat reads it. Whole numbers have no exponent, for people.
func number(v float64) string {
	const exact = 1 << 53 // a float64 has every whole number up to here
	switch {
	case math.IsInf(v, 1):
		return "+Inf"
	case v == math.Trunc(v) && math.Abs(v) < exact:
		return strconv.FormatInt(int64(v), 10)
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}
