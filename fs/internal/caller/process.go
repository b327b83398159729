package caller

import "fmt"

// called gives what a person calls a process.
func called(pid int, name string) string {
	if name == "" {
		return fmt.Sprintf("process %d", pid)
	}
	return fmt.Sprintf("%s (process %d)", name, pid)
}
