package fs

import (
	"bytes"
	"context"
	"sync"
	"syscall"
	"time"
)

const (
	// maxFailures is how many lines .ocifs/errors.jsonl has when it is opened: enough for a
	// person to read.
	maxFailures = 500
	// maxLag is how many bytes of the log stay in memory for programs that opened it before.
	// Lines have 300 to 500 bytes. tail -f looks at the log each second, so it falls behind
	// when 10,000 lines come within one.
	maxLag = 4 << 20
)

// errorLog is the text of .ocifs/errors.jsonl since the mount began, of which the last
// part is in memory. It is safe for concurrent use.
//
// An errorLogFile starts at one line for good, and ends where the log ends. All readers see
// the same bytes at the same offsets and the same size, whenever they opened it. The kernel
// needs that: it asks for the size of an inode, and doesn't say for which handle. Old lines
// don't vanish below a reader: when there are too many, the next lookup finds another
// errorLogFile, which starts at a later line.
type errorLog struct {
	mu      sync.Mutex // guards all below
	text    []byte     // the log from front on
	front   int64      // the offset in the log of text
	start   int64      // the offset in the log of the line that a new file starts at
	lines   int        // how many lines there are from start on
	changed time.Time  // when the last line came
}

// add appends a line, which ends with a newline.
func (l *errorLog) add(line []byte, now time.Time) {
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

// file is errors.jsonl as a lookup finds it now.
func (l *errorLog) file(at place) *errorLogFile {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &errorLogFile{at, l, l.start}
}

// errorLogFile is the errors.jsonl that starts at one line of the log.
type errorLogFile struct {
	place
	log   *errorLog
	start int64 // the offset in the log
}

// stat tells the size of this moment. The kernel keeps none of it. Files that start at
// different lines have one inode number: cp compares it before and after it opens a file,
// and tail -F starts anew with a file that has another one.
func (f *errorLogFile) stat() stat {
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	changed := f.log.changed
	if changed.IsZero() {
		changed = f.tree.started
	}
	st := f.fileStat("", f.log.front+int64(len(f.log.text))-f.start, changed)
	st.gen += uint64(f.start)
	st.ttl = 0
	return st
}

// open has the kernel look up the name once more where the first line isn't in memory any
// more: ESTALE means that to it.
func (f *errorLogFile) open(context.Context) (content, error) {
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	if f.start < f.log.front {
		return nil, syscall.ESTALE
	}
	return f, nil
}

// readAt fails with ESTALE for lines that aren't in memory any more: a program that fell
// so far behind ends with an error, and shows no bytes of another place.
func (f *errorLogFile) readAt(_ context.Context, p []byte, off int64) (int, error) {
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	from := f.start + off - f.log.front
	switch {
	case from < 0:
		return 0, syscall.ESTALE
	case from >= int64(len(f.log.text)):
		return 0, nil
	}
	return copy(p, f.log.text[from:]), nil
}

func (f *errorLogFile) mode() ioMode { return direct }
func (f *errorLogFile) fd() int      { return -1 }
func (f *errorLogFile) close()       {}
