package network

import "time"

// paceCredit is how much a connection may be late by and still catch up. It is what the
// timers of a busy machine oversleep.
const paceCredit = 10 * time.Millisecond

// pace bounds the rate of one direction of one connection. It isn't safe for concurrent use.
type pace struct {
	rate int64     // in bytes a second; 0: there is no bound
	due  time.Time // when the bytes so far may have passed
}

// delay counts n bytes that are about to pass, and gives the wait before they may. Time in
// which nothing came earns nothing beyond paceCredit.
func (p *pace) delay(now time.Time, n int) time.Duration {
	if p.rate == 0 {
		return 0
	}
	if now.Sub(p.due) > paceCredit {
		p.due = now.Add(-paceCredit)
	}
	p.due = p.due.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	return p.due.Sub(now)
}
