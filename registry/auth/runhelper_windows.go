package auth

import (
	"io/fs"
	"os/exec"
	"syscall"
)

// programSuffix ends the file names of programs.
const programSuffix = ".exe"

// isProgram says whether a file can be run: its name says so.
func isProgram(fs.FileInfo) bool { return true }

// alone runs a helper in a process group of its own, without a console to wait at. A helper
// that takes too long is ended by exec's own way, which doesn't end what it started.
func alone(cmd *exec.Cmd) {
	const createNoWindow = 0x08000000 // CREATE_NO_WINDOW, of CreateProcess
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP | createNoWindow, HideWindow: true}
}
