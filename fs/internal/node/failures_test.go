package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"
)

// jsonl is the text of errors.jsonl.
func (f *Failures) jsonl() []byte {
	f.text.mu.Lock()
	defer f.text.mu.Unlock()
	return bytes.Clone(f.text.text[f.text.start-f.text.front:])
}

// The last failures are kept, each a line of JSON; one that many met is one.
func TestFailuresAreKept(t *testing.T) {
	f := newFailures(slog.New(slog.DiscardHandler), nil, time.Now)
	for range 3 {
		f.add("a/b", "read", syscall.EBADMSG, "do this", errors.New("cause <1>"))
	}
	for i := range maxFailures {
		f.add(fmt.Sprint("p", i), "lookup", syscall.ENOENT, "", errors.New("no"))
	}
	lines := bytes.Split(bytes.TrimSpace(f.jsonl()), []byte("\n"))
	if len(lines) != maxFailures {
		t.Fatalf("%d lines are kept, want %d", len(lines), maxFailures)
	}
	var first, last Failure
	if err := errors.Join(json.Unmarshal(lines[0], &first), json.Unmarshal(lines[len(lines)-1], &last)); err != nil {
		t.Fatal(err)
	}
	if first.Path != "p0" || last.Path != fmt.Sprint("p", maxFailures-1) || last.Errno != "ENOENT" {
		t.Errorf("the lines are from %+v to %+v", first, last)
	}
	if n := f.Count()["EBADMSG"]; n != 3 {
		t.Errorf("%d failures were counted, want 3", n)
	}
}

// The log keeps what programs that fell behind may still read, and no more.
func TestTheLogIsBounded(t *testing.T) {
	f := newFailures(slog.New(slog.DiscardHandler), nil, time.Now)
	long := strings.Repeat("long ", 200)
	for i := range maxLag/len(long) + maxFailures {
		f.add(fmt.Sprint("p", i), "read", syscall.EIO, long, errors.New("boom"))
	}
	if n := len(f.text.text); n > maxLag+len(f.jsonl()) {
		t.Errorf("%d bytes are in memory, want %d and the last lines", n, maxLag)
	}
	if _, _, whole := f.Log().From(0); whole {
		t.Error("the first line is still there")
	}
	if _, lost := f.Log().ReadAt(make([]byte, 1), 0); !lost {
		t.Error("the first line can be read")
	}
}
