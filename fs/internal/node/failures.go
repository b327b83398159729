package node

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Failure is one line of .ocifs/errors.jsonl.
type Failure struct {
	Time  time.Time `json:"time"`
	Path  string    `json:"path"`
	Op    string    `json:"op"`
	Errno string    `json:"errno"`
	Cause string    `json:"cause"`
	Hint  string    `json:"hint"`
}

// Failures has the last maxFailures failures, counts of all, and their text. It is safe for
// concurrent use.
type Failures struct {
	log   *slog.Logger
	quiet func(error) bool // nil: all are reported
	now   func() time.Time
	text  Log

	// mu guards the fields below. It comes before text.mu in the lock order.
	mu     sync.Mutex
	last   []Failure        // a ring when it is full
	next   int              // the index of the oldest one in a full ring
	counts map[string]int64 // by errno; counts all that were ever added
}

func newFailures(log *slog.Logger, quiet func(error) bool, now func() time.Time) *Failures {
	return &Failures{log: log, quiet: quiet, now: now, counts: map[string]int64{}}
}

// Log gives the text of the failures, a line of JSON each.
func (f *Failures) Log() *Log { return &f.text }

// add adds the failure of an operation at a path. A failure that repeats the last one, or is
// quiet, is counted and not reported.
func (f *Failures) add(path, op string, errno syscall.Errno, hint string, err error) {
	line := Failure{f.now().UTC(), path, op, ErrnoName(errno), err.Error(), hint}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts[line.Errno]++
	if f.repeats(line) || f.quiet != nil && f.quiet(err) {
		return
	}
	f.log.Warn(op+" failed", "path", path, "errno", line.Errno, "cause", line.Cause, "hint", line.Hint)
	f.text.add(line.json(), line.Time)
	if len(f.last) < maxFailures {
		f.last = append(f.last, line)
		return
	}
	f.last[f.next] = line
	f.next = (f.next + 1) % maxFailures
}

// json gives the failure as a line of JSON.
func (f Failure) json() []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	// A failure has only strings and a time, so encoding can't fail.
	_ = e.Encode(f)
	return b.Bytes()
}

// ErrnoName gives the name of an errno. EOPNOTSUPP and ENOTSUP are the same number on Linux. It
// is always called EOPNOTSUPP here.
func ErrnoName(errno syscall.Errno) string {
	if errno == syscall.EOPNOTSUPP {
		return "EOPNOTSUPP"
	}
	return unix.ErrnoName(errno)
}

// repeats says whether a failure is the same as the last one, less than a second ago. A thousand
// readers that wait for one download all fail, and mustn't push out other failures. mu is held.
func (f *Failures) repeats(line Failure) bool {
	if len(f.last) == 0 {
		return false
	}
	before := f.last[(f.next+len(f.last)-1)%len(f.last)]
	recent := line.Time.Sub(before.Time) < time.Second
	before.Time = line.Time
	return recent && before == line
}

// Count gives how many failures there were, by errno.
func (f *Failures) Count() map[string]int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := make(map[string]int64, len(f.counts))
	for errno, n := range f.counts {
		c[errno] = n
	}
	return c
}

// LastAt gives the cause of the last failure at a path; "": there was none.
func (f *Failures) LastAt(path string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	cause := ""
	for i := range f.last {
		if l := f.last[(f.next+i)%len(f.last)]; l.Path == path {
			cause = l.Cause
		}
	}
	return cause
}
