package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal gives a terminal of the test's own, of that size, and what is printed on it.
func terminal(t *testing.T, size unix.Winsize) (pts, master *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	raw, err := master.SyscallConn() // Fd would make reads wait past their deadline
	if err != nil {
		t.Fatal(err)
	}
	n := uint32(0)
	raw.Control(func(f uintptr) {
		fd := int(f)
		n, err = unix.IoctlGetUint32(fd, unix.TIOCGPTN)
		err = errors.Join(err, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0), unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &size))
	})
	if err != nil {
		t.Fatal(err)
	}
	pts, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pts.Close() })
	return pts, master
}

// On a terminal there is a bar, which moves, and lines besides. A terminal that doesn't know its size, as
// script(1) makes it, is one of 80 columns.
func TestProgressIsABarOnATerminal(t *testing.T) {
	for _, size := range []unix.Winsize{{Row: 25, Col: 100}, {}} {
		t.Run(fmt.Sprintf("%d columns", size.Col), func(t *testing.T) { testBarOnATerminal(t, size) })
	}
}

func testBarOnATerminal(t *testing.T, size unix.Winsize) {
	pts, master := terminal(t, size)
	if err := master.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	var seen strings.Builder
	until := func(what string) {
		t.Helper()
		for b := make([]byte, 4096); !strings.Contains(seen.String(), what); {
			n, err := master.Read(b)
			if err != nil {
				t.Fatalf("after %q: %v", seen.String(), err)
			}
			seen.Write(b[:n])
		}
	}
	p := newProgress(pts, "hashed")
	p.set(1<<20, 4<<20)
	until("1.0 MiB of 4.0 MiB")
	p.set(3<<20, 4<<20)
	until("3.0 MiB of 4.0 MiB")
	p.setParts(5<<20, 9<<20, []part{{"download one", 1 << 20, 5 << 20}, {"unpack two", 3 << 20, -1}})
	until("5.0 MiB of 9.0 MiB")
	until("download one")
	until("unpack two 3.0 MiB")
	p.line(pts, "one is damaged")
	until("one is damaged")
	p.end()
}
