package caller

import (
	"fmt"
	"testing"
)

// Only a signal that the caller is going to notice ends a push.
func TestInterruptsThatCount(t *testing.T) {
	const status = "Name:\tcp\nSigQ:\t0/127\nSigPnd:\t%016x\nShdPnd:\t%016x\nSigBlk:\t%016x\nSigIgn:\t%016x\nSigCgt:\t%016x\nCapInh:\t0\n"
	const int, term, kill, urg, chld, prof = 1 << 1, 1 << 14, 1 << 8, 1 << 22, 1 << 16, 1 << 26
	for _, c := range []struct {
		what                                      string
		thread, process, blocked, ignored, caught uint64
		want                                      bool
	}{
		{what: "nothing"},
		{what: "Ctrl-C", process: int, want: true},
		{what: "Ctrl-C for who catches it", process: int, caught: int, want: true},
		{what: "Ctrl-C that is ignored", process: int, ignored: int},
		{what: "Ctrl-C that is blocked", process: int, blocked: int},
		{what: "SIGKILL", thread: kill, want: true},
		{what: "the Go runtime's own", thread: urg, caught: urg},
		{what: "a child", process: chld},
		{what: "a child and SIGTERM", process: chld | term, want: true},
		{what: "a profiler", thread: prof, caught: prof},
		{what: "SIGPROF for who doesn't catch it", thread: prof, want: true},
	} {
		if got := noticed(fmt.Appendf(nil, status, c.thread, c.process, c.blocked, c.ignored, c.caught)); got != c.want {
			t.Errorf("%s counts: %v", c.what, got)
		}
	}
	for _, s := range []string{"", "SigPnd:\t0\n", "SigPnd:\tx\nShdPnd:\t0\nSigBlk:\t0\nSigIgn:\t0\nSigCgt:\t0\n"} {
		if !noticed([]byte(s)) {
			t.Errorf("%q tells nothing, and doesn't count", s)
		}
	}
}

// Who was killed is told from who just leaves.
func TestKilled(t *testing.T) {
	for stat, want := range map[string]bool{
		"12 (cp) R 1 12 12 0 -1 4194308 0":      false,
		"12 (cp) R 1 12 12 0 -1 4195332 0":      true,
		"12 (a) b) c) R 1 12 12 0 -1 4195332 0": true,
		"12 (cp) R":                             false,
		"":                                      false,
	} {
		if got := killedBySignal([]byte(stat)); got != want {
			t.Errorf("%q: killed: %v", stat, got)
		}
	}
}
