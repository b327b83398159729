package integration

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ocifs/ocifs/integration/internal/mount"
)

// units are systemd's units by file, below cmd/ocifs/packaging, and how the tests name an instance.
var units = map[string]string{
	"systemd/user/ocifs.service":    "ocifs.service",
	"systemd/system/ocifs@.service": "ocifs@mnt-oci.service",
}

func unit(t *testing.T, file string) string {
	t.Helper()
	return string(must(os.ReadFile(filepath.Join(root, "cmd/ocifs/packaging", file)))(t))
}

// systemd finds nothing wrong with the units: no key that it doesn't know, and no value.
func TestUnitsAreWhatSystemdReads(t *testing.T) {
	t.Parallel()
	for file, instance := range units {
		dir := t.TempDir()
		text := strings.ReplaceAll(unit(t, file), "/usr/bin/ocifs ", plainBin+" ") // it has to be there
		writeFile(t, filepath.Join(dir, filepath.Base(file)), []byte(text), 0o644)
		args := []string{"verify", "--man=no", filepath.Join(dir, instance)}
		if strings.Contains(file, "/user/") {
			args = append([]string{"--user"}, args...)
		}
		cmd := exec.CommandContext(limit(t, time.Minute), "systemd-analyze", args...)
		cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+dir)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("systemd-analyze verify %s: %v\n%s", file, err, out)
		}
	}
}

// The command of each unit does what Type=notify means: it says READY=1 when the mount
// answers, STOPPING=1 when it is told to end, and ends with 0. Its log is the journal's.
func TestTheCommandsOfTheUnits(t *testing.T) {
	t.Parallel()
	for file := range units {
		t.Run(filepath.Base(file), func(t *testing.T) {
			home := t.TempDir()
			dir := must(filepath.EvalSymlinks(t.TempDir()))(t)
			_, command, ok := strings.Cut(unit(t, file), "\nExecStart=/usr/bin/ocifs ")
			command, _, _ = strings.Cut(command, "\n")
			if !ok {
				t.Fatal("the unit doesn't start /usr/bin/ocifs")
			}
			// What systemd does: the words of a variable each become an argument.
			args := strings.Fields(strings.NewReplacer("$OCIFS_ARGS", "--log-level debug", "%f", dir, "%h/oci", dir).Replace(command))
			socket := filepath.Join(home, "notify")
			manager := must(net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"}))(t)
			defer manager.Close()
			journal := must(os.Create(filepath.Join(home, "journal")))(t)
			defer journal.Close()
			st := must(journal.Stat())(t).Sys().(*syscall.Stat_t)

			cmd := exec.Command(raceBin, args...)
			cmd.Env = append(mount.Env(home), "NOTIFY_SOCKET="+socket, fmt.Sprintf("JOURNAL_STREAM=%d:%d", st.Dev, st.Ino), "CACHE_DIRECTORY="+home+"/cache")
			cmd.Stderr = journal
			must(0, cmd.Start())(t)
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			defer func() {
				_ = cmd.Process.Kill()
				if mount.Mounted(dir) {
					_ = exec.Command("umount", "-l", dir).Run()
				}
			}()
			hears := func(want string) {
				t.Helper()
				b := make([]byte, 4096)
				must(0, manager.SetReadDeadline(time.Now().Add(30*time.Second)))(t)
				n, err := manager.Read(b)
				if got := string(b[:n]); err != nil || !strings.HasPrefix(got, want) {
					said, _ := os.ReadFile(journal.Name())
					t.Fatalf("systemd hears %q, %v; want %q\n%s", got, err, want, said)
				}
			}
			hears("READY=1\nSTATUS=serving every registry on " + dir + "\n")
			if r := must(mount.Run(limit(t, 10*time.Second), mount.Env(home), "cat "+quote(dir)+"/.ocifs/version"))(t); r.Code != 0 {
				t.Errorf("after READY=1: %s", r.Stderr)
			}
			must(0, cmd.Process.Signal(syscall.SIGTERM))(t)
			hears("STOPPING=1\n")
			select {
			case err := <-ended:
				if err != nil {
					t.Errorf("it ends with %v", err)
				}
			case <-time.After(30 * time.Second):
				t.Error("it goes on for 30 s")
			}
			if mount.Mounted(dir) {
				t.Error("the mount is still there")
			}
			lines := bytes.Split(bytes.TrimSpace(must(os.ReadFile(journal.Name()))(t)), []byte("\n"))
			for _, line := range lines {
				if len(line) < 4 || line[0] != '<' || line[2] != '>' || bytes.Contains(line, []byte("time=")) || !bytes.Contains(line, []byte("mountpoint="+dir)) {
					t.Errorf("the journal gets %q", line)
				}
			}
		})
	}
}
