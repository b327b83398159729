package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Each line names the mountpoint, in both formats, as mounts share the file.
func TestEachLineOfALogNamesTheMountpoint(t *testing.T) {
	path := filepath.Join(t.TempDir(), "made/for/it/log")
	for _, f := range []logFormat{logText, logJSON} {
		s := settings{logFile: path, logFormat: f}
		log, closeLog, err := openLog(s, "/mnt/"+string(f))
		if err != nil {
			t.Fatal(err)
		}
		log.Info("first")
		log.With("n", 1).WithGroup("g").Warn("second", "k", "v")
		log.Debug("not asked for")
		closeLog()
		log.Info("after the end")
	}
	lines := readLines(t, path)
	if len(lines) != 4 {
		t.Fatalf("%d lines: %q", len(lines), lines)
	}
	for _, line := range lines[:2] {
		if !strings.HasPrefix(line, "time=") || !strings.Contains(line, " mountpoint=/mnt/text") {
			t.Errorf("%q", line)
		}
	}
	for _, line := range lines[2:] {
		var got struct{ Time, Level, Msg, Mountpoint string }
		if err := json.Unmarshal([]byte(line), &got); err != nil || got.Mountpoint != "/mnt/json" || got.Time == "" {
			t.Errorf("%v in %q", err, line)
		}
	}
}

// A log that can't be made is an error that names the setting.
func TestALogThatCannotBeMade(t *testing.T) {
	dir := t.TempDir()
	for path, names := range map[string]string{"/dev/null/log": "/dev/null", dir: dir} {
		if _, _, err := openLog(settings{logFile: path}, "/mnt"); err == nil || !strings.Contains(err.Error(), "--log-file") || !strings.Contains(err.Error(), names) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// Lines for systemd's journal begin with the priority of their level, and have no time.
func TestPrioritiesOfTheJournal(t *testing.T) {
	for format, want := range map[logFormat]string{
		logText: "<7>level=DEBUG msg=m mountpoint=/mnt k=v\n<6>level=INFO msg=m mountpoint=/mnt k=v\n<5>level=INFO+1 msg=m mountpoint=/mnt k=v\n" +
			"<4>level=WARN msg=m mountpoint=/mnt k=v\n<3>level=ERROR msg=m mountpoint=/mnt k=v\n<3>level=ERROR+4 msg=m mountpoint=/mnt k=v\n",
		logJSON: `<7>{"level":"DEBUG","msg":"m","mountpoint":"/mnt","k":"v"}` + "\n" + `<6>{"level":"INFO","msg":"m","mountpoint":"/mnt","k":"v"}` + "\n" +
			`<5>{"level":"INFO+1","msg":"m","mountpoint":"/mnt","k":"v"}` + "\n" + `<4>{"level":"WARN","msg":"m","mountpoint":"/mnt","k":"v"}` + "\n" +
			`<3>{"level":"ERROR","msg":"m","mountpoint":"/mnt","k":"v"}` + "\n" + `<3>{"level":"ERROR+4","msg":"m","mountpoint":"/mnt","k":"v"}` + "\n",
	} {
		var b bytes.Buffer
		log := slog.New(newJournalHandler(&b, format, &slog.HandlerOptions{Level: slog.LevelDebug})).With("mountpoint", "/mnt")
		for _, l := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelInfo + 1, slog.LevelWarn, slog.LevelError, slog.LevelError + 4} {
			log.Log(t.Context(), l, "m", "k", "v")
		}
		if b.String() != want {
			t.Errorf("%s:\n%swant\n%s", format, b.String(), want)
		}
	}
}

// The journal is told by $JOURNAL_STREAM only where that names the very file.
func TestTheJournalIsToldByDeviceAndInode(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "stream"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	for stream, want := range map[string]bool{
		fmt.Sprintf("%d:%d", st.Dev, st.Ino):   true,
		fmt.Sprintf("%d:%d", st.Dev, st.Ino+1): false,
		fmt.Sprintf("%d:%d", st.Dev+1, st.Ino): false,
		"":                                     false,
		"8":                                    false,
	} {
		if got := isJournal(f, stream); got != want {
			t.Errorf("JOURNAL_STREAM=%s, and the file is %d:%d: %t", stream, st.Dev, st.Ino, got)
		}
	}
}

// readLines gives the lines of a file; there are none where it isn't.
func readLines(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}
