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
