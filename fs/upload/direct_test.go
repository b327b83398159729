package upload

import (
	"testing"
	"time"
)

// The system is asked now and then how much the page cache writes.
func TestTheBacklogOfThePageCache(t *testing.T) {
	asked, now := 0, time.Now()
	var b backlog
	for _, size := range []int64{muchBacklog - 1, muchBacklog, 0} {
		for range 3 {
			much := b.isMuch(now, func() int64 { asked++; return size })
			if much != (size == muchBacklog) {
				t.Errorf("%d bytes: %t", size, much)
			}
			now = now.Add((backlogEvery + 2) / 3)
		}
	}
	if asked != 3 {
		t.Errorf("asked %d times", asked)
	}
	if n := writingBack(); n < 0 || n%1024 != 0 {
		t.Errorf("the system says %d bytes", n)
	}
}

// Nobody waits while another one asks the system: the last answer counts until then.
func TestNobodyWaitsForAnotherToAskForTheBacklog(t *testing.T) {
	var b backlog
	now := time.Now()
	asks, answers, done := make(chan bool), make(chan int64), make(chan bool)
	go func() { done <- b.isMuch(now, func() int64 { close(asks); return <-answers }) }()
	<-asks
	if b.isMuch(now, func() int64 { t.Error("asked twice"); return 0 }) {
		t.Error("there is none yet")
	}
	answers <- muchBacklog
	if !<-done || !b.isMuch(now, nil) {
		t.Error("the answer doesn't count")
	}
}

// Writes go past the page cache if that is slow and the disk is faster. One slow write isn't enough to
// call the disk slow.
func TestThePaceOfWrites(t *testing.T) {
	const fast, slow = slowCopy / 5, 3 * slowCopy
	for _, c := range []struct {
		through time.Duration   // for a MiB; 0: none was written so
		past    []time.Duration // each write
		want    bool
	}{
		{0, nil, false},
		{fast, nil, false},
		{fast, []time.Duration{fast / 2, fast / 2, fast / 2, fast / 2, fast / 2}, false},
		{slow, nil, true},
		{slow, []time.Duration{9 * slow}, true},
		{slow, []time.Duration{9 * slow, 9 * slow, 9 * slow}, true},
		{slow, []time.Duration{9 * slow, 9 * slow, 9 * slow, 9 * slow}, false},
		{slow, []time.Duration{9 * slow, slow / 2, 9 * slow, slow}, true},
		{slow, []time.Duration{9 * slow, slow / 2, 9 * slow, slow, 9 * slow}, false},
	} {
		var p pace
		for range 2 * min(1, c.through) {
			p.through.add(2<<20, 2*c.through)
		}
		for _, took := range c.past {
			p.wentPast(1<<19, took/2)
		}
		if got := p.pastIsFaster(); got != c.want {
			t.Errorf("%v through the page cache, %v past it: %t", c.through, c.past, got)
		}
	}
	var a average
	a.add(1<<20, 4*time.Millisecond)
	a.add(1<<20, 8*time.Millisecond)
	if want := average(5 * time.Millisecond); a != want {
		t.Errorf("the average is %v, and not %v", time.Duration(a), time.Duration(want))
	}
}
