//go:build unix

package auth

import (
	"io/fs"
	"os/exec"
	"syscall"
)

// programSuffix ends the file names of programs.
const programSuffix = ""

// isProgram says whether somebody may run a file.
func isProgram(st fs.FileInfo) bool { return st.Mode()&0o111 != 0 }

// alone runs a helper in a session of its own, so that what it starts is ended with it when it
// takes too long, and nothing waits at a terminal.
func alone(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
