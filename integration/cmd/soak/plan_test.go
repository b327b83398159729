package main

import (
	"reflect"
	"testing"
	"time"
)

// One seed is one plan, another is another, and everything is in it.
func TestSeedIsThePlan(t *testing.T) {
	const lasts = 10 * time.Minute
	p := newPlan(7, lasts)
	if again := newPlan(7, lasts); !reflect.DeepEqual(p, again) {
		t.Errorf("one seed gave %v and %v", p, again)
	}
	if reflect.DeepEqual(p, newPlan(8, lasts)) {
		t.Error("two seeds gave one plan")
	}
	seen := map[string]bool{}
	for _, steps := range [][]step{p.weather, p.daemon, p.tags} {
		var at time.Duration
		for _, s := range steps {
			if seen[s.do] = true; s.at < at || s.at >= lasts {
				t.Errorf("%v comes after %s", s, at)
			}
			at = s.at
		}
	}
	for _, what := range []string{"storm", "gale", "breeze", "calm", down, kill, hurt, term, move} {
		if !seen[what] {
			t.Errorf("%s isn't in ten minutes", what)
		}
	}
	if last := p.daemon[len(p.daemon)-1]; last.at > lasts*3/4 {
		t.Errorf("the last daemon begins at %s", last.at)
	}
}
