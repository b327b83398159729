package mount

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// Mounted says whether something is mounted at dir, without asking what is.
func Mounted(dir string) bool {
	_, _, ok := Find(dir)
	return ok
}

// Find gives the type and the options of what is mounted at dir.
func Find(dir string) (fsType, options string, ok bool) {
	if real, err := filepath.EvalSymlinks(filepath.Dir(dir)); err == nil {
		dir = filepath.Join(real, filepath.Base(dir))
	}
	if runtime.GOOS != "linux" {
		// TYPE and options stand in brackets: "x on /dir (fuse.ocifs, …)".
		out, _ := exec.Command("mount").Output()
		for line := range strings.Lines(string(out)) {
			if _, rest, found := strings.Cut(line, " on "+dir+" ("); found {
				fsType, options, _ = strings.Cut(strings.TrimRight(rest, ")\n"), ", ")
				return fsType, options, true
			}
		}
		return "", "", false
	}
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", "", false
	}
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		f := strings.Fields(s.Text())
		if len(f) < 7 || unescape(f[4]) != dir {
			continue
		}
		for i := 6; i+1 < len(f); i++ {
			if f[i] == "-" {
				fsType, options, ok = f[i+1], f[5], true
			}
		}
	}
	return fsType, options, ok
}

// unescape reads a path as mountinfo writes it.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// PeakMemory is the most that a process had in memory, in bytes (VmHWM).
func PeakMemory(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("peak memory: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("peak memory: no VmHWM in /proc/%d/status", pid)
}

// OpenFiles are the paths that a process holds open, those below dir only.
func OpenFiles(pid int, dir string) ([]string, error) {
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return nil, err
	}
	var open []string
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil && strings.HasPrefix(target, dir) {
			open = append(open, target)
		}
	}
	return open, nil
}
