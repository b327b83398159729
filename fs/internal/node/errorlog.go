package node

import (
	"bytes"
	"sync"
	"time"
)

const (
	// maxFailures is how many lines .ocifs/errors.jsonl has at most when it is opened. A
	// person can read that many.
	maxFailures = 500
	// maxLag is how many bytes of the log stay in memory at least, for programs that opened
	// it earlier. Lines have 300 to 500 bytes. tail -f reads the log each second, so it falls
	// behind if 10,000 lines come within a second.
	maxLag = 4 << 20
)

// Log is the text of the failures since the mount began. The last part of it is in memory. It is
// safe for concurrent use.
//
// A file that shows the log starts at one line, which never changes, and ends where the log ends.
// All its readers see the same bytes at the same offsets and the same size, whenever they opened
// it. The kernel needs that, because it asks for the size of an inode and doesn't say for which
// handle. Old lines don't vanish under a reader: when there are too many, the next lookup finds
// another file, which starts at a later line.
type Log struct {
	mu      sync.Mutex // guards the fields below
	text    []byte     // the log from front on
	front   int64      // the offset of text in the log, in bytes
	start   int64      // the offset of a new file's first line in the log
	lines   int        // counts the lines from start on
	changed time.Time  // when the last line came
}

// add appends a line, which ends with a newline.
func (l *Log) add(line []byte, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, line...)
	l.changed = now
	l.lines++
	if l.lines > maxFailures {
		l.start += int64(bytes.IndexByte(l.text[l.start-l.front:], '\n')) + 1
		l.lines--
	}
	if drop := min(int64(len(l.text)-maxLag), l.start-l.front); drop > 0 {
		l.text = l.text[drop:]
		l.front += drop
	}
}

// Start gives the offset of the first line of a file that is looked up now.
func (l *Log) Start() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.start
}

// From describes the file that starts at an offset: its size in bytes, when the last line came
// (zero: none did), and whether all of it is still in memory.
func (l *Log) From(start int64) (size int64, changed time.Time, whole bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.front + int64(len(l.text)) - start, l.changed, start >= l.front
}

// ReadAt reads at an offset of the whole log. lost says that the bytes aren't in memory any more.
func (l *Log) ReadAt(p []byte, off int64) (n int, lost bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from := off - l.front
	switch {
	case from < 0:
		return 0, true
	case from >= int64(len(l.text)):
		return 0, false
	}
	return copy(p, l.text[from:]), false
}
