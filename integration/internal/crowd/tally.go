package crowd

import (
	"fmt"
	"maps"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Tally is what came of many turns. The zero value is empty. It is safe for
// concurrent use.
type Tally struct {
	mu      sync.Mutex
	ok      int
	errnos  map[string]int
	slowest time.Duration
	slow    string // which was the slowest
}

// Turns gives how many turns went well, and how many failed, by errno.
func (y *Tally) Turns() (ok int, failed map[string]int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.ok, maps.Clone(y.errnos)
}

// Slowest gives the longest turn, and the name of its program.
func (y *Tally) Slowest() (time.Duration, string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.slowest, y.slow
}

func (y *Tally) String() string {
	ok, failed := y.Turns()
	return fmt.Sprintf("%d turns went well, failed by errno: %v", ok, failed)
}

func (y *Tally) went() {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.ok++
}

func (y *Tally) failed(errno string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.errnos == nil {
		y.errnos = map[string]int{}
	}
	y.errnos[errno]++
}

func (y *Tally) took(program string, d time.Duration) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if d > y.slowest {
		y.slowest, y.slow = d, program
	}
}

// never is what nobody may be told because of a bad network: that something isn't
// there, or is damaged, or nobody knows what.
var never = regexp.MustCompile(`(?i)input/output error|bad message|\b(EIO|EBADMSG)\b`)

// saysOf are the errnos, as programs print them.
type saysOf []struct{ text, errno string }

var (
	// badNetwork may lead to these.
	badNetwork = saysOf{
		{"remote i/o error", "EREMOTEIO"}, {"no route to host", "EHOSTUNREACH"},
		{"connection timed out", "ETIMEDOUT"}, {"device or resource busy", "EBUSY"},
		{"sigbus", "SIGBUS"}, // any of them, to who has mapped the file
	}
	// missing is told by the mountpoint's own directory, and else by nobody.
	missing = saysOf{{"no such file", "ENOENT"}, {"not found", "ENOENT"}, {"has vanished", "ENOENT"}, {"invalid image detected", "ENOENT"}}
	// gone is told by the kernel where there is no daemon any more: of what was under
	// way, and of what comes after it.
	gone = saysOf{
		{"transport endpoint is not connected", "ENOTCONN"}, {"socket is not connected", "ENOTCONN"},
		{"software caused connection abort", "ECONNABORTED"},
	}
)

// in gives the errno that a text has.
func (s saysOf) in(text string) (errno string, ok bool) {
	for _, e := range s {
		if strings.Contains(strings.ToLower(text), e.text) || strings.Contains(text, e.errno) {
			return e.errno, true
		}
	}
	return "", false
}

// told gives the errno that a program was told, and whether it may be that one:
// one that a bad network leads to or, where its turn had a part in an outage, one that
// a daemon that is away leads to.
func told(pr program, stderr string, away bool) (errno string, ok bool) {
	if never.MatchString(stderr) {
		return "wrong", false
	}
	if errno, ok := gone.in(stderr); ok {
		return errno, away
	}
	if errno, ok := missing.in(stderr); ok {
		return errno, away
	}
	// A tag whose time is over may be another directory when it is listed. rsync, which
	// has just looked at the one before, takes that for an attack and says so.
	if pr.name == "rsync" && strings.Contains(stderr, "Too many levels of symbolic links") {
		return "ELOOP of rsync", true
	}
	// oras makes the directories of its layout, the mountpoint of a dead mount among them.
	if pr.name == "oras" && strings.Contains(stderr, "mkdir") && strings.Contains(stderr, "file exists") {
		return "EEXIST of oras", away
	}
	if errno, ok := badNetwork.in(stderr); ok {
		return errno, true
	}
	return "?", false
}
