package known

import (
	"testing"
	"time"
)

// An old answer is told once, however many asked in vain, and shown for a moment.
func TestAnOldAnswerIsToldOnce(t *testing.T) {
	now := time.Now()
	a := Answer{Since: now.Add(-time.Hour), Until: now}
	if !a.showOn(now) || a.showOn(now) || !a.Believed(now) || !a.Old {
		t.Errorf("%+v", a)
	}
	if a.Believed(now.Add(shownFor)) || !a.showOn(now.Add(shownFor)) {
		t.Errorf("it is shown for more than a moment: %+v", a)
	}
}

// An answer is believed for its time; one of a clock that was set back isn't, and a denial
// makes a thing unknown.
func TestAnAnswerIsBelievedForItsTime(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		a     Answer
		known bool
		want  bool
	}{
		"never asked":           {Answer{}, false, false},
		"a moment ago":          {Answer{Since: now, Until: now.Add(time.Second)}, true, true},
		"its time is over":      {Answer{Since: now.Add(-time.Minute), Until: now}, true, false},
		"of a clock set back":   {Answer{Since: now.Add(time.Hour), Until: now.Add(2 * time.Hour)}, true, false},
		"of a clock a bit fast": {Answer{Since: now.Add(clockStep), Until: now.Add(time.Hour)}, true, true},
		"denied":                {Answer{Since: now, Until: now.Add(time.Second), Denied: now}, false, true},
	} {
		if c.a.Believed(now) != c.want || c.a.Known() != c.known {
			t.Errorf("%s: believed %v, known %v", name, c.a.Believed(now), c.a.Known())
		}
	}
}
