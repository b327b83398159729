package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// logProcess makes this test binary a process that shares a log, in place of the tests. Its value is
// the path; see TestLogProcess.
const logProcess = "OCIFS_TEST_LOG"

// TestLogProcess is the process: it does what each line of its standard input says, and then
// answers with a line.
func TestLogProcess(t *testing.T) {
	path := os.Getenv(logProcess)
	if path == "" {
		return
	}
	size, err := strconv.ParseInt(os.Getenv("OCIFS_TEST_LOG_SIZE"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	l, err := openLogFile(path, size)
	if err != nil {
		t.Fatal(err)
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer l.keepUp(hangup)()
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); fmt.Println("done") {
		var name string
		var lines int
		switch n, _ := fmt.Sscan(in.Text(), &name, &lines); {
		case n == 2:
			for i := range lines {
				if _, err := fmt.Fprintf(l, "%s %d %s\n", name, i, strings.Repeat("x", i%200)); err != nil {
					t.Fatal(err)
				}
			}
		case name == "crash":
			l.mu.Lock() // until the file is opened anew, where that is under way
			go panic("a crash")
			select {}
		}
	}
}

// process is a TestLogProcess.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Reader
}

func newLogProcess(t *testing.T, path string, size int64) *process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLogProcess$")
	cmd.Env = append(os.Environ(), logProcess+"="+path, fmt.Sprintf("OCIFS_TEST_LOG_SIZE=%d", size))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	p := &process{t, cmd, in, bufio.NewReader(out)}
	p.answers("ready")
	return p
}

func (p *process) say(line string) {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.in, line); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) answers(want string) {
	p.t.Helper()
	if got, err := p.out.ReadString('\n'); err != nil || strings.TrimSpace(got) != want {
		p.t.Fatalf("it answers %q, %v; want %q", got, err, want)
	}
}

// does says a line and waits for its answer.
func (p *process) does(line string) {
	p.t.Helper()
	p.say(line)
	p.answers("done")
}

// Several processes that write at once rotate the log they share many times, and lose and tear
// no line: the two files together end with all that each wrote last, in order.
func TestProcessesShareALogThatIsRotated(t *testing.T) {
	const size, lines = 32 << 10, 10_000 // some 1.1 MB each
	path := filepath.Join(t.TempDir(), "log")
	names := []string{"a", "b", "c"}
	var all []*process
	for _, name := range names {
		p := newLogProcess(t, path, size)
		all = append(all, p)
		p.say(fmt.Sprint(name, " ", lines))
	}
	for _, p := range all {
		p.answers("done")
	}
	next := map[string]int{}
	total := 0
	for _, line := range append(readLines(t, path+".1"), readLines(t, path)...) {
		total++
		var name, rest string
		var i int
		if n, err := fmt.Sscanf(line, "%s %d %s", &name, &i, &rest); n < 2 || n < 3 && i%200 != 0 || len(rest) != i%200 {
			t.Fatalf("a torn line: %q, %v", line, err)
		}
		if want, ok := next[name]; ok && i != want {
			t.Fatalf("after line %d of %s comes %d", want-1, name, i)
		}
		next[name] = i + 1
	}
	if total == 0 || total == len(names)*lines {
		t.Errorf("%d lines are kept: it wasn't rotated", total)
	}
	for name, n := range next {
		if n != lines {
			t.Errorf("the last line of %s is %d", name, n-1)
		}
	}
	for _, f := range []string{path, path + ".1"} {
		if info, err := os.Stat(f); err != nil || info.Size() > 2*size {
			t.Errorf("%s has %d bytes, %v", f, info.Size(), err)
		}
	}
	if others, _ := filepath.Glob(path + ".*"); len(others) != 1 {
		t.Errorf("beside the log are %q", others)
	}
}

// A rotation waits for the line that another process writes, and no line waits for long: neither
// for a rotation nor for a process that was stopped.
func TestARotationWaitsForLinesUnderWay(t *testing.T) {
	l := newLogFile(t, 10)
	other, err := os.Open(l.path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	lock := func(how int) {
		t.Helper()
		if err := unix.Flock(int(other.Fd()), how); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Fprintln(l, "line 1")
	lock(unix.LOCK_SH) // it looked, and hasn't written yet
	fmt.Fprintln(l, "line 2")
	if got := readLines(t, l.path); len(got) != 2 {
		t.Errorf("the file holds %q", got)
	}
	lock(unix.LOCK_EX) // it is about to rename the file
	fmt.Fprintln(l, "line 3")
	if got := readLines(t, l.path); len(got) != 3 {
		t.Errorf("the file holds %q", got)
	}
	lock(unix.LOCK_UN)
	fmt.Fprintln(l, "line 4")
	if old, got := readLines(t, l.path+".1"), readLines(t, l.path); len(old) != 3 || len(got) != 1 {
		t.Errorf("the files hold %q and %q", old, got)
	}
}

// A crash is written to the log of today: after another process rotated it, and after it was
// moved and SIGHUP came.
func TestACrashFindsALogThatWasRotated(t *testing.T) {
	for name, rotate := range map[string]func(t *testing.T, p *process, path string){
		"by another process": func(t *testing.T, p *process, path string) {
			other := newLogProcess(t, path, 4<<10)
			other.does("b 100")
			p.does("a 1") // its next line notices
		},
		"and SIGHUP": func(t *testing.T, p *process, path string) {
			if err := os.Rename(path, path+".1"); err != nil {
				t.Fatal(err)
			}
			if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			for { // the test's own time-out is the bound
				if _, err := os.Stat(path); err == nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			p := newLogProcess(t, path, 1<<20)
			p.does("a 1")
			rotate(t, p, path)
			p.say("crash")
			if _, err := p.out.ReadString('\n'); err != io.EOF {
				t.Fatalf("it goes on: %v", err)
			}
			if text := strings.Join(readLines(t, path), "\n"); !strings.Contains(text, "panic: a crash") || !strings.Contains(text, "goroutine ") {
				t.Errorf("the log ends with %q", text)
			}
		})
	}
}

// A process that writes nothing notices a rotation all the same, in time for its crash.
func TestAnIdleProcessFollowsARotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLogFile(t, 1<<20)
		defer l.keepUp(nil)()
		if err := os.Rename(l.path, l.path+".1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(keepUpEvery)
		synctest.Wait()
		if _, err := os.Stat(l.path); err != nil || l.isMoved() {
			t.Errorf("after %s it still writes to the old one: %v", keepUpEvery, err)
		}
	})
}

// A log that is a device or a pipe is never renamed. A log that can't be put aside goes on growing,
// and loses no line.
func TestALogThatIsNotRotated(t *testing.T) {
	l := newLogFile(t, 10)
	if err := os.MkdirAll(filepath.Join(l.path+".1", "in/the/way"), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		fmt.Fprintln(l, "a line")
	}
	if lines := readLines(t, l.path); len(lines) != 3 {
		t.Errorf("it holds %q", lines)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	l, err = openLogFile(pipe, 10)
	if err != nil {
		t.Fatal(err)
	}
	defer closeLogFile(l)
	for range 3 {
		fmt.Fprintln(l, "a line")
	}
	b := make([]byte, 100)
	if n, err := r.Read(b); err != nil || string(b[:n]) != strings.Repeat("a line\n", 3) {
		t.Errorf("the pipe holds %q, %v", b[:n], err)
	}
}

// A log by another name is rotated where it is, so that the name stays a link to the newest.
func TestALogByAnotherNameIsRotatedWhereItIs(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "data/log"), filepath.Join(dir, "log")
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("data/log", link); err != nil {
		t.Fatal(err)
	}
	l, err := openLogFile(link, 10)
	if err != nil {
		t.Fatal(err)
	}
	defer closeLogFile(l)
	fmt.Fprintln(l, "first")
	fmt.Fprintln(l, "second")
	if got := readLines(t, link); got[0] != "second" {
		t.Errorf("the log begins with %q", got[0])
	}
	if got := readLines(t, file+".1"); got[0] != "first" {
		t.Errorf("what was put aside begins with %q", got[0])
	}
}

func newLogFile(t *testing.T, max int64) *logFile {
	t.Helper()
	l, err := openLogFile(filepath.Join(t.TempDir(), "log"), max)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeLogFile(l) })
	return l
}

// closeLogFile closes the log of a test, which is no place for a crash of the next test.
func closeLogFile(l *logFile) {
	l.Close()
	_ = debug.SetCrashOutput(nil, debug.CrashOptions{})
}
