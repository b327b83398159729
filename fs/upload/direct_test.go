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
