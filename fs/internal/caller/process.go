package caller

import "fmt"

// called gives the name and number of a process for a person.
func called(pid int, name string) string {
	if name == "" {
		return fmt.Sprintf("process %d", pid)
	}
	return fmt.Sprintf("%s (process %d)", name, pid)
}
