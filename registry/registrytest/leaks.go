package registrytest

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// NoLeaks runs the tests of a package, and gives their exit code: 1 too, where a
// goroutine of this module is left some seconds after the last of them.
//
//	func TestMain(m *testing.M) { os.Exit(registrytest.NoLeaks(m)) }
func NoLeaks(m *testing.M) int {
	code := m.Run()
	if code != 0 {
		return code
	}
	left := goroutines()
	for began := time.Now(); len(left) > 0 && time.Since(began) < patience; left = goroutines() {
		time.Sleep(10 * time.Millisecond)
	}
	if len(left) > 0 {
		fmt.Fprintf(os.Stderr, "%d goroutines are left:\n\n%s\n", len(left), strings.Join(left, "\n\n"))
		return 1
	}
	return 0
}

// goroutines gives the stacks of all goroutines that have to do with this module, but
// that which runs the tests.
func goroutines() []string {
	stacks := make([]byte, 64<<10)
	for {
		n := runtime.Stack(stacks, true)
		if n < len(stacks) {
			stacks = stacks[:n]
			break
		}
		stacks = make([]byte, 2*len(stacks))
	}
	var left []string
	for s := range strings.SplitSeq(string(stacks), "\n\n") {
		if strings.Contains(s, "github.com/ocifs/ocifs") && !strings.Contains(s, "registrytest.NoLeaks(") {
			left = append(left, s)
		}
	}
	return left
}
