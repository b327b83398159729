package fs

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// failure is one line of .ocifs/errors.jsonl.
type failure struct {
	Time  time.Time `json:"time"`
	Path  string    `json:"path"`
	Op    string    `json:"op"`
	Errno string    `json:"errno"`
	Cause string    `json:"cause"`
	Hint  string    `json:"hint"`
}

// failures is the last maxFailures failures, a count of all, and their text. It is safe
// for concurrent use.
type failures struct {
	log  *slog.Logger
	text errorLog

	mu     sync.Mutex // before text.mu
	last   []failure  // a ring once it is full: next is the oldest
	next   int
	counts map[string]int64 // by errno
}

func newFailures(log *slog.Logger) *failures {
	return &failures{log: log, counts: map[string]int64{}}
}

func (f *failures) add(path, op string, v verdict, err error) {
	line := failure{time.Now().UTC(), path, op, errnoName(v.errno), err.Error(), v.hint}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts[line.Errno]++
	if f.repeats(line) || toldBefore(err) {
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

// json is the failure as a line of JSON.
func (f failure) json() []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	// A failure is made of strings and a time: encoding can't fail.
	_ = e.Encode(f)
	return b.Bytes()
}

// errnoName is the name of an errno. Where two have one number, it is the one that is
// said here everywhere.
func errnoName(errno syscall.Errno) string {
	if errno == syscall.EOPNOTSUPP {
		return "EOPNOTSUPP"
	}
	return unix.ErrnoName(errno)
}

// repeats says whether line tells what the line before it told a moment ago: a
// thousand readers who wait for one download fail as one, and mustn't push out
// what else went wrong. mu is held.
func (f *failures) repeats(line failure) bool {
	if len(f.last) == 0 {
		return false
	}
	before := f.last[(f.next+len(f.last)-1)%len(f.last)]
	recent := line.Time.Sub(before.Time) < time.Second
	before.Time = line.Time
	return recent && before == line
}

// count gives how many failures there were, by errno.
func (f *failures) count() map[string]int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := make(map[string]int64, len(f.counts))
	for errno, n := range f.counts {
		c[errno] = n
	}
	return c
}

// lastAt gives the cause of the last failure at a path, or "".
func (f *failures) lastAt(path string) string {
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
