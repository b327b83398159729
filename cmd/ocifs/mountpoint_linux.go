package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// mountType gives the type of the file system that is mounted on path, the
// topmost one; "" where path is no mountpoint. It touches no file system, so it
// can't hang on a dead one.
func mountType(path string) string {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	kind := ""
	for s := bufio.NewScanner(f); s.Scan(); {
		head, tail, ok := strings.Cut(s.Text(), " - ")
		fields := strings.Fields(head)
		if ok && len(fields) > 4 && unescape(fields[4]) == path {
			kind, _, _ = strings.Cut(tail, " ")
		}
	}
	return kind
}

// unescape undoes the octal escapes of mountinfo.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

func isOurs(path string) bool { return mountType(path) == "fuse.ocifs" }

// detach takes a mount away from its path at once; what is open stays open.
func detach(path string) error { return unmount(path, unix.MNT_DETACH, "-z") }

// detachIdle takes a mount away if nobody uses it.
func detachIdle(path string) error { return unmount(path, 0) }

// unmount asks the kernel, or, without the privilege, fusermount3.
func unmount(path string, flags int, options ...string) error {
	err := unix.Unmount(path, flags|unix.UMOUNT_NOFOLLOW)
	if err != unix.EPERM {
		return err
	}
	out, err := exec.Command("fusermount3", append(append([]string{"-u"}, options...), "--", path)...).CombinedOutput()
	if err == nil {
		return nil
	}
	if strings.Contains(string(out), "busy") {
		return unix.EBUSY
	}
	if text := strings.TrimSpace(string(out)); text != "" {
		return fmt.Errorf("%s", text)
	}
	return err
}
