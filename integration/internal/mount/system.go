package mount

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
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
	all, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) { return m.Mountpoint != dir, false })
	if err != nil || len(all) == 0 {
		return "", "", false
	}
	top := all[len(all)-1]
	return top.FSType, top.Options, true
}

// PeakMemory is the most that a process had in memory, in bytes (VmHWM), since it
// started or since [ForgetPeak].
func PeakMemory(pid int) (int64, error) { return memory(pid, "VmHWM") }

// Memory is what a process has in memory now, in bytes (VmRSS).
func Memory(pid int) (int64, error) { return memory(pid, "VmRSS") }

// ForgetPeak makes what a process has in memory now its peak: proc(5), clear_refs.
func ForgetPeak(pid int) error {
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil {
		return fmt.Errorf("forgetting the peak of the memory: %w", err)
	}
	return nil
}

// memory reads a field of proc(5), status, and gives it in bytes.
func memory(pid int, field string) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("memory of a process: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("memory of a process: no %s in /proc/%d/status", field, pid)
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
