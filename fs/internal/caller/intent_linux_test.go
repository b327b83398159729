package caller

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// A program has ended as soon as it does nothing more, whether or not its parent has
// waited for it.
func TestAProgramEnds(t *testing.T) {
	c := exec.Command("sleep", "60")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	p, ok := Caller{Thread: uint32(c.Process.Pid), Program: true}.Process()
	if !ok || p.Ended() || p.pid != c.Process.Pid {
		t.Errorf("%+v has ended", p)
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if p.Ended() {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if !p.Ended() {
		t.Error("it hasn't ended, though it was killed")
	}
	_ = c.Wait()
	if !p.Ended() {
		t.Error("it hasn't ended, though it was waited for")
	}
	if own := (Process{os.Getpid()}); own.Ended() {
		t.Error("this test has ended")
	}
}
