package cache

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// Trouble of the directory is told when it begins, when it is over, and when it comes again, but
// not each time where it comes and goes. While it lasts the stats have it.
func TestTroubleThatComesAgainIsToldAgain(t *testing.T) {
	log := &logged{}
	now := time.Now()
	x := trouble{log: slog.New(slog.NewTextHandler(log, nil)), now: func() time.Time { return now }}
	full := errors.New("it is read-only")
	tells := func(what string, lines ...string) {
		t.Helper()
		got := log.lines()
		if len(got) != len(lines) {
			t.Fatalf("%s: %q", what, got)
		}
		for i, l := range lines {
			if !strings.Contains(got[i], l) {
				t.Errorf("%s: line %d is %s", what, i, got[i])
			}
		}
	}
	const begins, over = "going on without keeping anything", "can be written again"
	x.over()
	tells("there is none")
	x.met(full)
	x.met(full)
	tells("it begins", begins)
	if cause, since := x.current(); cause != full.Error() || !since.Equal(now) {
		t.Errorf("%s since %v", cause, since)
	}
	x.over()
	x.over()
	tells("it is over", begins, over)
	if cause, since := x.current(); cause != "" || !since.IsZero() {
		t.Errorf("%s since %v", cause, since)
	}
	x.met(full)
	x.over()
	x.met(full)
	tells("it comes and goes", begins, over)
	if cause, _ := x.current(); cause == "" {
		t.Error("the stats don't have it")
	}
	now = now.Add(troubleEvery)
	x.met(full)
	tells("it stays", begins, over, begins)
	x.over()
	tells("it is over again", begins, over, begins, over)
	now = now.Add(-year) // the clock is set back
	x.met(full)
	tells("it comes again", begins, over, begins, over, begins)
}

// A store tells it, and keeps again what comes when it is over.
func TestAStoreTellsItsTrouble(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	log := &logged{}
	s := open(t, t.TempDir(), Options{Logger: slog.New(slog.NewTextHandler(log, nil))})
	count := func(of string) (n int) {
		for _, l := range log.lines() {
			if strings.Contains(l, of) {
				n++
			}
		}
		return n
	}
	for turn := range 2 {
		mend := inTheWay(t, s.blobs())
		fill(t, s, content(1, 1000))
		if st := s.Stats(); st.Trouble == "" || st.TroubleSince.IsZero() {
			t.Errorf("turn %d: the stats have no trouble", turn)
		}
		mend()
		fill(t, s, content(2+byte(turn), 1000))
		if st := s.Stats(); st.Trouble != "" {
			t.Errorf("turn %d: %s", turn, st.Trouble)
		}
		s.trouble.mu.Lock()
		s.trouble.told = s.trouble.told.Add(-troubleEvery)
		s.trouble.mu.Unlock()
	}
	if count("without keeping") != 2 || count("written again") != 2 {
		t.Errorf("the log says %q", log.lines())
	}
}
