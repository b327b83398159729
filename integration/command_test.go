package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/mount"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// command runs ocifs with a home and a cache of the test's own: $HOME/cache,
// $HOME/mnt is an empty directory.
type command struct {
	t    *testing.T
	home string
}

func newCommand(t *testing.T) *command {
	t.Helper()
	c := &command{t, t.TempDir()}
	if err := os.Mkdir(c.mnt(), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 3 {
			if !mount.Mounted(c.mnt()) {
				return
			}
			c.run("umount -l $HOME/mnt || fusermount3 -uz $HOME/mnt")
		}
	})
	return c
}

func (c *command) mnt() string { return filepath.Join(c.home, "mnt") }

// run runs a script in which `ocifs` is the program.
func (c *command) run(script string) mount.Result {
	c.t.Helper()
	env := append(mount.Env(c.home, toolsDir), "XDG_CACHE_HOME="+c.home+"/cache-home", "XDG_STATE_HOME="+c.home+"/state",
		"GORACE=halt_on_error=1 exitcode=66 log_path="+c.home+"/race")
	r, err := mount.Run(limit(c.t, time.Minute), env, fmt.Sprintf("ocifs() { %s \"$@\"; }\n%s", quote(raceBin), script))
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

// ends checks the exit code, and that a failure comes with a sentence.
func (c *command) ends(code int, script string) mount.Result {
	c.t.Helper()
	r := c.run(script)
	if r.Code != code {
		c.t.Errorf("%s: exit code %d, want %d\n%s%s", script, r.Code, code, r.Stdout, r.Stderr)
	}
	if code != 0 && strings.TrimSpace(r.Stderr) == "" {
		c.t.Errorf("%s: failed without a word", script)
	}
	if strings.Contains(r.Stderr, "panic") || strings.Contains(r.Stderr, "goroutine ") {
		c.t.Errorf("%s: %s", script, r.Stderr)
	}
	return r
}

// In the background form the command returns when the mount answers, with nothing
// of the caller's held open; unmount returns when the mount and the daemon are
// gone.
func TestBackground(t *testing.T) {
	t.Parallel()
	s := startOlareg(t, registries.Options{})
	image := must(repo(t, s, testImage).Image(t.Context(), "v1", content.Small("x")))(t)
	c := newCommand(t)
	// In a command substitution: a daemon that kept its pipe would not let it end.
	c.ends(0, "out=$(ocifs mount --log-file $HOME/log $HOME/mnt 2>&1) && cat $HOME/mnt/.ocifs/version")
	manifest := fmt.Sprintf("cat $HOME/mnt/%s/%s/tags/v1/manifest.json", treeName(s), testImage)
	if got := c.ends(0, manifest).Stdout; got != string(image.Bytes) {
		t.Errorf("the manifest reads %.100s", got)
	}
	c.run("cat $HOME/mnt/" + treeName(s) + "/" + testImage + "/tags/absent/digest")
	pid, err := strconv.Atoi(strings.TrimSpace(c.ends(0, "jq .pid $HOME/mnt/.ocifs/stats.json").Stdout))
	if err != nil {
		t.Fatal(err)
	}
	c.ends(0, "ocifs unmount $HOME/mnt")
	if mount.Mounted(c.mnt()) {
		t.Error("after ocifs unmount the mount is still there")
	}
	for i := 0; syscall.Kill(pid, 0) == nil; i++ {
		if i == 100 {
			t.Fatal("the daemon still runs, 10 s after the unmount")
		}
		time.Sleep(100 * time.Millisecond)
	}
	if r := c.run("cat $HOME/log"); !strings.Contains(r.Stdout, "absent") {
		t.Errorf("the log says nothing of the failure: %q", r.Stdout)
	}
	if races, _ := filepath.Glob(c.home + "/race.*"); len(races) > 0 {
		t.Errorf("the daemon has a data race: see %s", c.run("cat $HOME/race.*").Stdout)
	}
	c.ends(0, "ocifs mount $HOME/mnt && ocifs unmount $HOME/mnt") // and once more, with the usual cache
}

// SIGINT and SIGTERM unmount cleanly, also where somebody stands in the mount.
func TestSignals(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		for _, busy := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s busy=%t", signal, busy), func(t *testing.T) {
				m := testMount(t, mounting{})
				if busy {
					m.shell()("cd $M/.ocifs && exec 3<version")
				}
				if err := m.Signal(signal); err != nil {
					t.Fatal(err)
				}
				if code, err := m.Wait(30 * time.Second); err != nil || code != 0 {
					t.Errorf("the daemon ended with %d, %v", code, err)
				}
				if mount.Mounted(m.Dir) {
					t.Error("the mount is still there")
				}
			})
		}
	}
}

// An unmount by the system's own tools ends the daemon cleanly.
func TestUnmountFromOutside(t *testing.T) {
	t.Parallel()
	m := testMount(t, mounting{})
	m.sh("umount $M 2>/dev/null || fusermount3 -u $M")
	if code, err := m.Wait(15 * time.Second); err != nil || code != 0 {
		t.Errorf("the daemon ended with %d, %v", code, err)
	}
}

// What is in the way is said, and left as it is.
func TestInTheWay(t *testing.T) {
	t.Parallel()
	c := newCommand(t)
	c.ends(0, "ocifs mount $HOME/mnt")
	for _, form := range []string{"", "-f "} {
		for name, script := range map[string]string{
			"a live mount":             "ocifs mount %s$HOME/mnt",
			"a file":                   "touch $HOME/file; ocifs mount %s$HOME/file",
			"nothing":                  "ocifs mount %s$HOME/no/such/directory",
			"the cache":                "mkdir -p $HOME/cache/mnt; ocifs mount --cache-dir $HOME/cache %s$HOME/cache/mnt",
			"around the cache":         "mkdir -p $HOME/d; ocifs mount --cache-dir $HOME/d/cache %s$HOME/d",
			"a directory of others":    "mkdir -p $HOME/e $HOME/data; echo precious >$HOME/data/file; ocifs mount --cache-dir $HOME/data %s$HOME/e",
			"a log that can't be made": "mkdir -p $HOME/e; ocifs mount --log-file /dev/null/log %s$HOME/e",
		} {
			r := c.ends(1, fmt.Sprintf(script, form))
			if n := strings.Count(strings.TrimSpace(r.Stderr), "\n"); n > 3 {
				t.Errorf("%s: %d lines, want a sentence: %s", name, n+1, r.Stderr)
			}
		}
	}
	c.ends(0, "cat $HOME/mnt/.ocifs/version && grep -qx precious $HOME/data/file && [ $(ls -A $HOME/data) = file ]")
	c.ends(0, "ocifs unmount $HOME/mnt")
	c.ends(1, "ocifs unmount $HOME/mnt")
	c.ends(1, "ocifs unmount $HOME/file")
	c.ends(1, "ocifs unmount /no/such/directory")
	c.ends(1, "ocifs unmount /proc")
}

// Usage errors are 2, with a sentence; help and version are 0.
func TestUsage(t *testing.T) {
	t.Parallel()
	c := newCommand(t)
	for _, args := range []string{
		"mount", "mount a b c", "unmount", "unmount a b", "frobnicate", "mount --no-such-flag $HOME/mnt",
		"mount --cache-size banana $HOME/mnt", "mount --cache-size -1GiB $HOME/mnt", "mount --tag-ttl soon $HOME/mnt",
		"mount --log-level loud $HOME/mnt", "mount --plain-http 'no host' $HOME/mnt", "version now",
		"mount 'not a source' $HOME/mnt", "mount ghcr.io/UPPER $HOME/mnt",
	} {
		c.ends(2, "ocifs "+args)
	}
	for _, args := range []string{"--help", "help mount", "mount --help", "unmount -h", "version", "--version"} {
		if r := c.ends(0, "ocifs "+args); r.Stdout == "" {
			t.Errorf("ocifs %s prints nothing", args)
		}
	}
	if mount.Mounted(c.mnt()) {
		t.Error("something was mounted all the same")
	}
}

// Flags reach the kernel and .ocifs/config.json.
func TestFlags(t *testing.T) {
	t.Parallel()
	m := testMount(t, mounting{flags: []string{"--read-only", "--cache-size", "48MiB", "--tag-ttl", "5s", "--log-level", "debug"}})
	fsType, options, _ := mount.Find(m.Dir)
	if !strings.HasSuffix(fsType, "ocifs") || !strings.HasPrefix(options+",", "ro,") {
		t.Errorf("mounted as %s with %s, want fuse.ocifs, ro", fsType, options)
	}
	m.sh("jq -e '.cache_size == 48*1024*1024 and .tag_ttl == \"5s\" and .read_only == true' $M/.ocifs/config.json")
}

// By default no other user reads the mount; with --allow-other all do.
func TestOtherUsers(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Log("only root can become another user: the flag is tested as far as it goes")
		return
	}
	s := startOlareg(t, registries.Options{})
	must(repo(t, s, testImage).Image(t.Context(), "v1", content.Small("x")))(t)
	for _, allow := range []bool{false, true} {
		dir := must(os.MkdirTemp("/tmp", "ocifs-other-"))(t)
		t.Cleanup(func() { os.Remove(dir) })
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		o := mounting{dir: dir}
		if allow {
			o.flags = []string{"--allow-other"}
		}
		m := testMount(t, o)
		r := m.run("setpriv --reuid 65534 --regid 65534 --clear-groups cat " + m.at(s, testImage, "tags/v1/manifest.json"))
		if (r.Code == 0) != allow {
			t.Errorf("allow-other %t: another user's cat ended with %d: %s", allow, r.Code, r.Stderr)
		}
		m.unmount()
	}
}
