package main

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/ocifs/ocifs/integration/internal/registries"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		of   []float64
		want float64
	}{
		{[]float64{3}, 3},
		{[]float64{9, 1, 4}, 4},
		{[]float64{4, 1, 3, 2}, 2.5},
	} {
		given := append([]float64{}, c.of...)
		if got := median(c.of); got != c.want {
			t.Errorf("the median of %v is %v, want %v", given, got, c.want)
		}
		for i := range given {
			if c.of[i] != given[i] {
				t.Errorf("the median sorted what it was given: %v became %v", given, c.of)
			}
		}
	}
}

// A goal is met where the ratio of the medians says so, whichever way round it is
// written, and the spread is that of rounds, not of times that never met.
func TestGoals(t *testing.T) {
	took := func(name string, seconds ...float64) *way { return &way{name: name, took: seconds} }
	peers := []string{"one", "two"}
	for _, c := range []struct {
		what         string
		goal         goal
		ours         []float64
		value        float64
		least, most  float64
		state        state
		result, text string
	}{
		// The medians of the peers are 4 and 2: two is the one to beat.
		{"fast enough", goal{"", "ours", peers, fast, 0.5}, []float64{4, 4, 4}, 0.5, 0.25, 0.75, met, "0.50", ">= 0.5 of its speed"},
		{"not fast enough", goal{"", "ours", peers, fast, 0.6}, []float64{4, 4, 4}, 0.5, 0.25, 0.75, short, "0.50", ">= 0.6 of its speed"},
		{"ahead", goal{"", "ours", peers, ahead, 0}, []float64{1, 1, 1}, 2, 1, 3, met, "2.00", "ahead"},
		{"level", goal{"", "ours", peers, ahead, 0}, []float64{2, 2, 2}, 1, 0.5, 1.5, short, "1.00", "ahead"},
		{"slow, but not too slow", goal{"", "ours", peers, slow, 2}, []float64{4, 4, 4}, 0.5, 0.25, 0.75, met, "2.00", "<= 2 x its time"},
		{"too slow", goal{"", "ours", peers, slow, 1.5}, []float64{4, 4, 4}, 0.5, 0.25, 0.75, short, "2.00", "<= 1.5 x its time"},
		{"a second more", goal{"", "ours", peers, extra, 1}, []float64{3, 3, 3}, 1, 0, 2, met, "1.00 s", "<= 1.00 s more"},
		{"more than a second more", goal{"", "ours", peers, extra, 1}, []float64{3.5, 3.5, 3.5}, 1.5, 0.5, 2.5, short, "1.50 s", "<= 1.00 s more"},
		{"within a time", goal{"", "ours", nil, within, 0.5}, []float64{0.25, 0.25, 0.25}, 0.5, 0.5, 0.5, met, "250 ms", "<= 500 ms"},
	} {
		t.Run(c.what, func(t *testing.T) {
			r := &row{name: "row", unit: times, ways: []*way{took("ours", c.ours...), took("one", 4, 4, 4), took("two", 1, 2, 3)}, goals: []goal{c.goal}}
			v := r.verdicts()[0]
			if !near(v.Value, c.value) || !near(v.Least, c.least) || !near(v.Most, c.most) || v.State != c.state {
				t.Errorf("it gave %v (%v to %v), %s; want %v (%v to %v), %s", v.Value, v.Least, v.Most, v.State, c.value, c.least, c.most, c.state)
			}
			if v.Result != c.result || v.Goal != c.text {
				t.Errorf("it is written as %q with the goal %q, want %q and %q", v.Result, v.Goal, c.result, c.text)
			}
			if c.goal.against != nil && !strings.HasPrefix(v.Against, "two") {
				t.Errorf("it is against %q, want the fastest, two", v.Against)
			}
		})
	}
}

// What wasn't measured is neither met nor short, and says why.
func TestAFailureIsNoVerdict(t *testing.T) {
	fine := &way{name: "fine", took: []float64{1}}
	broken := &way{name: "broken", failed: errors.New("no such flag\nand more")}
	for _, g := range []goal{{"", "fine", []string{"broken"}, ahead, 0}, {"", "broken", []string{"fine"}, ahead, 0}} {
		r := &row{name: "row", ways: []*way{fine, broken}, goals: []goal{g}}
		if v := r.verdicts()[0]; v.State != unmeasured || v.Why != "broken: no such flag" {
			t.Errorf("%s against %s is %s, %q", g.ours, g.against, v.State, v.Why)
		}
	}
}

// Requests are compared with the fewest of the peers', and a limit is no peer.
func TestCostsAreThoseOfTheCheapestPeer(t *testing.T) {
	asked := func(name string, requests int, bytes int64) *way {
		return &way{name: name, took: []float64{1}, cost: cost{Requests: registries.Counts{"GET blob": requests}, Served: bytes}}
	}
	ours, limit := asked("ours", 2, 100), asked("limit", 1, 90)
	ours.ours, limit.limit = true, true
	r := &row{name: "row", counted: true, ways: []*way{ours, limit, asked("one", 2, 99), asked("two", 3, 120)}}
	v := r.verdicts()
	if len(v) != 2 || v[0].State != met || v[1].State != short {
		t.Fatalf("requests and bytes: %+v; want the first met, the second short", v)
	}
	if v[0].Against != "one: 2" || v[0].Ours != "2" {
		t.Errorf("requests are %q against %q", v[0].Ours, v[0].Against)
	}
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

// The parts of a large blob, and the HEAD that a bare digest needs, aren't held against ocifs.
// A HEAD that nobody needs is.
func TestRequestsThatAreLeftOut(t *testing.T) {
	asked := registries.Counts{"GET blob": 1, "HEAD blob": 1, parts: 16}
	peer := &way{name: "peer", took: []float64{1}, cost: cost{Requests: registries.Counts{"GET blob": 1}}}
	ours := &way{name: "ours", ours: true, took: []float64{1}, cost: cost{Requests: asked}}
	for bare, want := range map[bool]state{true: met, false: short} {
		r := &row{name: "row", ways: []*way{ours, peer}, counted: true, bare: bare}
		if v := r.costs()[0]; v.State != want {
			t.Errorf("bare digest %t: %+v, want %s", bare, v, want)
		}
	}
}
