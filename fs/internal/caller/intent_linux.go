package caller

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A thread that made a request a moment ago may still run before it sleeps. intentTries and
// intentPause limit the wait for that.
const (
	intentTries = 20
	intentPause = 50 * time.Microsecond
)

// intentOfThread reads the system call in which a thread sleeps. /proc shows the call to those
// who may trace the thread: root, and usually the thread's user.
func intentOfThread(thread int) Intent {
	path := fmt.Sprintf("/proc/%d/syscall", thread)
	for range intentTries {
		line, err := os.ReadFile(path)
		if err != nil {
			return Unknown
		}
		if text := string(line); !strings.HasPrefix(text, "running") {
			return intentOfCall(text, func(address uint64) (uint64, bool) { return wordAt(thread, address) })
		}
		time.Sleep(intentPause)
	}
	return Unknown
}

// wordAt reads eight bytes of a thread's memory.
func wordAt(thread int, address uint64) (word uint64, ok bool) {
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", thread))
	if err != nil {
		return 0, false
	}
	defer memory.Close()
	var b [8]byte
	if _, err := memory.ReadAt(b[:], int64(address)); err != nil {
		return 0, false
	}
	return binary.NativeEndian.Uint64(b[:]), true
}

// intentOfCall parses a syscall file of /proc: the number of the call, in decimal, and its six
// arguments, in hexadecimal. word reads the memory of the program.
func intentOfCall(line string, word func(address uint64) (uint64, bool)) Intent {
	fields := strings.Fields(line)
	if len(fields) < 7 {
		return Unknown // a kernel thread
	}
	number, err := strconv.Atoi(fields[0])
	if err != nil {
		return Unknown
	}
	argument := func(n int) uint64 {
		v, err := strconv.ParseUint(strings.TrimPrefix(fields[1+n], "0x"), 16, 64)
		if err != nil {
			return 0
		}
		return v
	}
	has := func(n int, flags uint64) bool { return argument(n)&flags == flags }
	const fresh = unix.O_CREAT | unix.O_EXCL
	switch number {
	case unix.SYS_OPENAT:
		return makesIf(has(2, fresh))
	case openCall:
		return makesIf(has(1, fresh))
	case unix.SYS_RENAMEAT2:
		return makesIf(has(4, unix.RENAME_NOREPLACE))
	case unix.SYS_LINKAT, unix.SYS_SYMLINKAT, unix.SYS_MKDIRAT, unix.SYS_MKNODAT, linkCall, symlinkCall:
		return Makes
	// The third argument is a struct open_how, whose first field is the flags.
	case unix.SYS_OPENAT2:
		if flags, ok := word(argument(2)); ok {
			return makesIf(flags&fresh == fresh)
		}
		return Unknown
	// One call has any number of operations.
	case unix.SYS_IO_URING_ENTER:
		return Unknown
	}
	return Looks
}

func makesIf(so bool) Intent {
	if so {
		return Makes
	}
	return Looks
}
