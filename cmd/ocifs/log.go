package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// logFormat is how a line of the log is written.
type logFormat string

const (
	logText logFormat = "text" // key=value, as package slog writes it
	logJSON logFormat = "json" // an object a line
)

// handler writes lines of this format to w.
func (f logFormat) handler(w io.Writer, o *slog.HandlerOptions) slog.Handler {
	if f == logJSON {
		return slog.NewJSONHandler(w, o)
	}
	return slog.NewTextHandler(w, o)
}

// openLog opens the log that the settings ask for: a file, or standard error, which may be the
// journal of systemd. Each line names the mountpoint: several mounts share the usual file, and
// journalctl shows several units as one. From here on SIGHUP ends nothing; it opens the file
// again, as logrotate(8) needs it.
func openLog(s settings, mountpoint string) (log *slog.Logger, closeLog func(), err error) {
	o := &slog.HandlerOptions{Level: s.logLevel}
	hangup := make(chan os.Signal, 1)
	var handler slog.Handler
	closeLog = func() { signal.Stop(hangup) }
	switch {
	case s.logFile != "":
		file, err := openLogFile(s.logFile, maxLog)
		if err != nil {
			return nil, nil, fmt.Errorf("--log-file: %w", err)
		}
		handler = s.logFormat.handler(file, o)
		stop := file.keepUp(hangup)
		closeLog = func() { signal.Stop(hangup); stop(); file.Close() }
	case isJournal(os.Stderr, os.Getenv("JOURNAL_STREAM")):
		handler = newJournalHandler(os.Stderr, s.logFormat, o)
	default:
		handler = s.logFormat.handler(os.Stderr, o)
	}
	signal.Notify(hangup, syscall.SIGHUP)
	return slog.New(handler).With("mountpoint", mountpoint), closeLog, nil
}

// isJournal says whether f is the stream to systemd's journal that $JOURNAL_STREAM names by
// device and inode: systemd.exec(5). The variable alone says nothing: it is inherited by
// programs whose standard error is redirected.
func isJournal(f *os.File, stream string) bool {
	var st syscall.Stat_t
	if stream == "" || syscall.Fstat(int(f.Fd()), &st) != nil {
		return false
	}
	return stream == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

// journalHandler writes lines as systemd's journal takes them: each begins with its priority,
// and has no time, as the journal has its own. See sd-daemon(3).
type journalHandler struct {
	slog.Handler // writes to line
	w            io.Writer
	line         *journalLine
}

// journalLine is the line that is being written.
type journalLine struct {
	mu sync.Mutex // guards b, and keeps lines whole
	b  bytes.Buffer
}

func newJournalHandler(w io.Writer, f logFormat, o *slog.HandlerOptions) slog.Handler {
	line := new(journalLine)
	return journalHandler{f.handler(&line.b, o), w, line}
}

func (h journalHandler) Handle(ctx context.Context, r slog.Record) error {
	h.line.mu.Lock()
	defer h.line.mu.Unlock()
	h.line.b.Reset()
	fmt.Fprintf(&h.line.b, "<%d>", priority(r.Level))
	r.Time = time.Time{}
	if err := h.Handler.Handle(ctx, r); err != nil {
		return err
	}
	_, err := h.w.Write(h.line.b.Bytes())
	return err
}

func (h journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.Handler = h.Handler.WithAttrs(attrs)
	return h
}

func (h journalHandler) WithGroup(name string) slog.Handler {
	h.Handler = h.Handler.WithGroup(name)
	return h
}

// priority is syslog's number for a level.
func priority(l slog.Level) int {
	switch {
	case l >= slog.LevelError:
		return 3
	case l >= slog.LevelWarn:
		return 4
	case l > slog.LevelInfo:
		return 5
	case l == slog.LevelInfo:
		return 6
	}
	return 7
}
