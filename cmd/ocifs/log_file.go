package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxLog is the size in bytes at which a log is put aside as FILE.1. With that one the log
	// takes twice as much.
	maxLog = 10 << 20
	// keepUpEvery is how often an idle process looks whether another has rotated the log. Only
	// its crash depends on it: a crash that follows two rotations within this time is lost.
	keepUpEvery = time.Minute
	// logLockFor is the longest wait for the lock of the log. A rotation takes microseconds;
	// what takes longer is a process that was stopped, or a disk that hangs.
	logLockFor = 10 * time.Millisecond
)

// logFile appends lines to a file that several processes share, and rotates it when it is
// full. The descriptor is in append mode and a line is one write, so lines don't mix.
//
// A full file is renamed to FILE.1, which replaces the one before. Every writer looks before each
// line whether its file is still the one at the path, and otherwise opens that one. So one
// process rotates, and the others follow, whoever did it: logrotate(8) as well.
//
// No line goes to a file that is gone. The writer holds a shared flock(2) of its file from that
// look to the end of its line; the rotation holds an exclusive one. Both wait for a moment at most, as
// no mount may hang for its log: then the line is written all the same, which loses it only where
// the log is rotated twice meanwhile, and the rotation is left to a later line.
//
// Copying and truncating the file in place (copytruncate) would spare the others that look, but
// lose what is written between the two.
type logFile struct {
	path string
	max  int64 // bytes

	mu sync.Mutex  // guards f and is; held while a line is written
	f  *os.File    // nil: closed
	is fs.FileInfo // of f, as it was opened
}

// openLogFile opens or makes a log. A log by another name (a symlink) is rotated where it is.
func openLogFile(path string, max int64) (*logFile, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	l := &logFile{path: realPath(path), max: max}
	if err := l.open(); err != nil {
		return nil, err
	}
	return l, nil
}

// open opens the file at the path anew, and has a crash of this process written there: a daemon
// has no other place for it. If that fails, the file that was open stays. The caller holds mu.
func (l *logFile) open() error {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	is, err := f.Stat()
	if err == nil {
		err = debug.SetCrashOutput(f, debug.CrashOptions{})
	}
	if err != nil {
		f.Close()
		return err
	}
	if l.f != nil {
		l.f.Close()
	}
	l.f, l.is = f, is
	return nil
}

// Write appends a line.
func (l *logFile) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return 0, os.ErrClosed
	}
	l.lock(unix.LOCK_SH)
	for range 3 { // others may rotate what was just opened
		now, err := os.Stat(l.path)
		same := err == nil && os.SameFile(now, l.is)
		if same && (!l.isFull(now, len(line)) || !l.rotate()) {
			break
		}
		if l.open() != nil {
			break
		}
		l.lock(unix.LOCK_SH)
	}
	defer l.lock(unix.LOCK_UN)
	return l.f.Write(line)
}

// isFull says whether a file has no room for n bytes more. A device or a pipe always has.
func (l *logFile) isFull(now fs.FileInfo, n int) bool {
	return now.Mode().IsRegular() && now.Size() > 0 && now.Size()+int64(n) > l.max
}

// rotate puts the file aside, and says whether that is done, by this process or by another. The
// caller opens the new one.
func (l *logFile) rotate() bool {
	l.lock(unix.LOCK_UN)
	if !l.lock(unix.LOCK_EX) {
		return false
	}
	now, err := os.Stat(l.path)
	if err == nil && os.SameFile(now, l.is) {
		err = os.Rename(l.path, l.path+".1")
	}
	return err == nil || errors.Is(err, fs.ErrNotExist)
}

// lock takes or leaves the lock of the open file. It is false where another process had the
// lock for all of logLockFor. A file system without locks is written to without.
func (l *logFile) lock(how int) bool {
	for end := time.Now().Add(logLockFor); ; time.Sleep(time.Millisecond) {
		err := unix.Flock(int(l.f.Fd()), how|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// Reopen opens the file at the path anew, whoever moved the one before.
func (l *logFile) Reopen() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return os.ErrClosed
	}
	return l.open()
}

// isMoved says whether the path names another file, or none.
func (l *logFile) isMoved() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, err := os.Stat(l.path)
	return l.f != nil && (err != nil || !os.SameFile(now, l.is))
}

// keepUp opens the file anew at each signal, and while this process writes nothing looks now and
// then whether another has rotated it, until stop is called. A file that can't be opened is
// tried again at the next line.
func (l *logFile) keepUp(hangup <-chan os.Signal) (stop func()) {
	tick := time.NewTicker(keepUpEvery)
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-hangup:
				_ = l.Reopen()
			case <-tick.C:
				if l.isMoved() {
					_ = l.Reopen()
				}
			}
		}
	}()
	return func() { close(done); <-stopped }
}

// Close closes the file. A crash still goes there.
func (l *logFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return nil
	}
	err := l.f.Close()
	l.f = nil
	return err
}
