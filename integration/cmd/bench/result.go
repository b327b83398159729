package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// rule is how a goal compares ocifs with the others.
type rule int

const (
	fast   rule = iota // its speed is at least so many times that of the fastest of them
	ahead              // it is faster than the fastest of them
	slow               // it takes at most so many times the time of the fastest of them
	extra              // it takes at most so many seconds more than the fastest of them
	within             // it takes at most so many seconds
)

// goal is what a row promises of one way of ocifs'.
type goal struct {
	label   string // beside the row's name, where a row has several
	ours    string // the way's name
	against []string
	rule    rule
	want    float64
}

func (g goal) String() string {
	switch g.rule {
	case fast:
		return fmt.Sprintf(">= %g of its speed", g.want)
	case ahead:
		return "ahead"
	case slow:
		return fmt.Sprintf("<= %g x its time", g.want)
	case extra:
		return "<= " + times.write(g.want) + " more"
	default:
		return "<= " + times.write(g.want)
	}
}

// verdict is one line of the table.
type verdict struct {
	Row     string `json:"row"`
	Ours    string `json:"ours"`    // what ocifs gave
	Against string `json:"against"` // what the others gave, and who they are
	Result  string `json:"result"`
	Spread  string `json:"spread"`
	Goal    string `json:"goal"`
	State   state  `json:"state"`
	Why     string `json:"why,omitempty"` // nothing was measured

	// Value is the result as a number, Least and Most its spread, Mark the goal: of a
	// speed as a multiple of the other's where Budget is false, else of what was used
	// of what may be.
	Value, Least, Most, Mark float64
	Budget                   bool
}

type state string

const (
	met        state = "met"
	short      state = "short"
	unmeasured state = "not measured"
)

func stateOf(ok bool) state {
	if ok {
		return met
	}
	return short
}

// verdicts compares what was measured with the row's goals.
func (r *row) verdicts() (all []verdict) {
	for _, g := range r.goals {
		all = append(all, r.verdict(g))
	}
	if r.counted {
		all = append(all, r.costs()...)
	}
	if r.more != nil {
		all = append(all, r.more()...)
	}
	return all
}

func (r *row) verdict(g goal) verdict {
	v := verdict{Row: strings.TrimSpace(r.name + " " + g.label), Goal: g.String()}
	ours := r.way(g.ours)
	if ours.failed != nil || len(ours.took) == 0 {
		return v.without(ours)
	}
	v.Ours = r.unit.write(median(ours.took))
	var best *way
	for _, name := range g.against {
		w := r.way(name)
		if w.failed != nil || len(w.took) == 0 {
			return v.without(w)
		}
		if best == nil || median(w.took) < median(best.took) {
			best = w
		}
	}
	if best == nil {
		best = &way{took: slices.Repeat([]float64{0}, len(ours.took))}
	} else {
		v.Against = best.name + ": " + r.unit.write(median(best.took))
	}
	// of says what a pair of times is worth under the rule; better is more for speeds,
	// less for what is used up.
	of, text := func(ours, theirs float64) float64 { return theirs / ours }, ratio
	v.Mark = 1
	switch g.rule {
	case fast:
		v.Mark = g.want
	case slow:
		v.Mark, text = 1/g.want, func(x float64) string { return ratio(1 / x) }
	case extra, within:
		v.Budget = true
		of = func(ours, theirs float64) float64 { return (ours - theirs) / g.want }
		text = func(x float64) string { return times.write(x * g.want) }
	}
	v.Value = of(median(ours.took), median(best.took))
	each := make([]float64, len(ours.took))
	for i := range each {
		each[i] = of(ours.took[i], best.took[i])
	}
	v.Least, v.Most = slices.Min(each), slices.Max(each)
	v.Result, v.Spread = text(v.Value), text(v.Least)+" to "+text(v.Most)
	if g.rule == slow {
		v.Spread = text(v.Most) + " to " + text(v.Least)
	}
	switch {
	case v.Budget:
		v.State = stateOf(v.Value <= 1)
	case g.rule == ahead:
		v.State = stateOf(v.Value > 1)
	default:
		v.State = stateOf(v.Value >= v.Mark)
	}
	return v
}

// without is the verdict where a way gave nothing.
func (v verdict) without(w *way) verdict {
	v.State, v.Why = unmeasured, w.name+": it wasn't run"
	if w.failed != nil {
		v.Why = w.name + ": " + firstLine(w.failed.Error())
	}
	return v
}

// requests counts the requests of one of ocifs' ways, but for those that its promise leaves
// out: parts of large blobs, and the HEAD that a bare digest needs.
func (r *row) requests(c cost) int64 {
	n := c.count() - c.Requests[parts]
	if r.bare {
		n -= c.Requests["HEAD blob"]
	}
	return int64(n)
}

// costs compares requests and bytes with the fewest of the peers'.
func (r *row) costs() []verdict {
	var out []verdict
	for _, c := range []struct {
		what     string
		ours, of func(cost) int64
		text     func(int64) string
		goal     string
	}{
		{"requests", r.requests, func(c cost) int64 { return int64(c.count()) }, func(n int64) string { return fmt.Sprint(n) }, "fewer or equal, but for parts and the HEAD of a bare digest"},
		{"bytes", cost.bytes, cost.bytes, func(n int64) string { return fmt.Sprintf("%.3f MB", float64(n)/1e6) }, "fewer or equal"},
	} {
		v := verdict{Row: r.name + " " + c.what, Goal: c.goal, Mark: 1, Budget: true}
		var most int64
		fewest := int64(math.MaxInt64)
		for _, w := range r.ways {
			switch {
			case w.limit:
			case w.failed != nil:
				if v.Why == "" {
					v = v.without(w)
				}
			case w.ours:
				most = max(most, c.ours(w.cost))
			case c.of(w.cost) < fewest:
				fewest, v.Against = c.of(w.cost), w.name+": "+c.text(c.of(w.cost))
			}
		}
		if v.Why == "" {
			v.Ours, v.Value = c.text(most), float64(most)/float64(max(fewest, 1))
			v.Least, v.Most = v.Value, v.Value
			v.Result, v.State = ratio(v.Value), stateOf(most <= fewest)
		}
		out = append(out, v)
	}
	return out
}

// median is the middle of x, or of the two that are in the middle. x isn't empty, and
// stays as it is.
func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}

func ratio(x float64) string { return fmt.Sprintf("%.2f", x) }

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return s
}
