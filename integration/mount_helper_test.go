//go:build linux

package integration

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/mount"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// machine runs scripts on a machine where ocifs is installed as a mount helper. Each script is the
// first process of a process and of a mount namespace, so that mounts and daemons end with it, and
// nothing of the real machine changes. There $T is a directory of the test that everybody may
// enter, /etc/fstab is empty, root's home is
// $T/root and the user someone's is $T/home. $R is the registry with team/app.
type machine struct {
	t        *testing.T
	dir      string // $T
	registry string // $R
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("only root can be a machine of its own")
	}
	m := &machine{t: t, dir: openDir(t)}
	for _, dir := range []string{"root", "mnt", "sbin", "races"} {
		if err := os.Mkdir(filepath.Join(m.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	must(0, os.Chmod(m.dir+"/races", 0o777))(t)
	if err := os.WriteFile(filepath.Join(m.dir, "fstab"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", "-c", `cp -a "$(readlink -f /sbin)/." "$0" && cd "$0" && touch ocifs probe && ln -sf ocifs mount.ocifs && ln -sf ocifs mount.fuse.ocifs`, m.dir+"/sbin").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s := startOlareg(t, registries.Options{})
	must(repo(t, s, testImage).Image(t.Context(), "v1", content.Small("x")))(t)
	m.registry = s.Host
	t.Cleanup(func() {
		races, _ := filepath.Glob(m.dir + "/races/*")
		for _, r := range races {
			t.Errorf("a data race: %s", must(os.ReadFile(r))(t))
		}
	})
	return m
}

// run runs a script.
func (m *machine) run(script string) mount.Result {
	m.t.Helper()
	prelude := `
		sbin=$(readlink -f /sbin)
		mount --bind $T/sbin $sbin &&
		mount --bind ` + quote(raceBin) + ` $sbin/ocifs && mount --bind ` + quote(probeBin) + ` $sbin/probe &&
		{ [ -e $T/fuse ] || mknod -m 666 $T/fuse c 10 229; } && mount --bind $T/fuse /dev/fuse && # as udev makes it
		mount --bind $T/fstab /etc/fstab && mount --bind $T/root /root && cd / || exit 99
		{ cat /etc/passwd; echo someone:x:4242:4242::$T/home:/bin/sh; } >$T/passwd && mount --bind $T/passwd /etc/passwd || exit 99
		someone() { setpriv --reuid 4242 --regid 4242 --clear-groups "$@"; }
		gone() { i=0; while pgrep -x ocifs >/dev/null; do i=$((i+1)); [ $i -lt 100 ] || return 1; sleep .1; done; }
	`
	env := append(mount.Env("/root", toolsDir), "T="+m.dir, "R="+m.registry, "GORACE=halt_on_error=1 exitcode=66 log_path="+m.dir+"/races/race")
	r, err := mount.Run(limit(m.t, time.Minute), env, "exec unshare --mount --pid --fork --kill-child --mount-proc sh -c "+quote(prelude+script))
	if err != nil {
		m.t.Fatal(err)
	}
	return r
}

// says checks what a script that has to succeed prints.
func (m *machine) says(want, script string) {
	m.t.Helper()
	r := m.run(script)
	want = strings.NewReplacer("$T", m.dir, "$R", m.registry).Replace(want)
	if got := strings.TrimSpace(r.Stdout); r.Code != 0 || got != want {
		m.t.Errorf("%s: exit code %d\n%s\nwant\n%s\n%s", script, r.Code, got, want, r.Stderr)
	}
}

// What stands in fstab is mounted once, and found by its first field.
func TestFstab(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.says(`
first 0
oci://$R/team/app fuse.ocifs ro noexec
v1
second 0
alone 0
mounts 2
$T/other
5s a.example:5000 b.example
umount 0
umount 0
mounts 0`[1:], `
		mkdir $T/other
		cat >/etc/fstab <<EOF
oci://$R/team/app  $T/mnt    ocifs       ro,noexec,_netdev,nofail,allow_other,comment=x,x-systemd.automount,cache_dir=$T/c  0 0
ocifs              $T/other  fuse.ocifs  noatime,tag_ttl=5s,plain_http="a.example:5000,b.example",cache_dir=$T/c            0 0
EOF
		mount -a; echo first $?
		echo $(findmnt -nro SOURCE,FSTYPE $T/mnt) $(findmnt -nro OPTIONS -S oci://$R/team/app | tr , '\n' | grep -x -e ro -e noexec)
		someone ls $T/mnt/tags
		mount -a; echo second $?
		mount $T/mnt; echo alone $?
		echo mounts $(grep -c "$T.* fuse.ocifs " /proc/self/mountinfo)
		findmnt -nro TARGET -S ocifs | grep $T
		jq -r '[.tag_ttl] + .plain_http | join(" ")' $T/other/.ocifs/config.json
		umount oci://$R/team/app; echo umount $?
		umount ocifs; echo umount $?
		echo mounts $(grep -c "$T.* fuse.ocifs " /proc/self/mountinfo)
		gone`)
}

// A mount helper ends with mount(8)'s exit codes, and with a sentence for each failure.
func TestMountHelperExits(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	calls := []struct {
		code int
		call string
		says []string // in the message
	}{
		{0, "mount.ocifs -f oci://$R $T/mnt", nil},
		{0, "mount.ocifs none $T/mnt -fn -t ocifs -orw,auto", nil},
		{0, "mount -f -t ocifs ocifs $T/mnt", nil},
		{0, "mount.ocifs -s -f ocifs $T/mnt -o no_such,other=1", nil},
		{1, "mount.ocifs -f ocifs $T/mnt -o no_such,other=1,cach_dir=/x", []string{`"no_such"`, `"other"`, `"cache_dir"`}},
		{1, "mount -t ocifs ocifs $T/mnt -o no_such", []string{`"no_such"`}},
		{1, "mount.ocifs -s ocifs $T/mnt -o cache_size=banana", []string{"cache_size"}},
		{1, "mount.ocifs ocifs $T/mnt -o 'cache_dir=\"/x'", []string{"quote"}},
		{1, "mount.ocifs", []string{"SPEC DIR"}},
		{1, "mount.ocifs ocifs", []string{"SPEC DIR"}},
		{1, "mount.ocifs -x ocifs $T/mnt", []string{"-x"}},
		{1, "mount.ocifs -N 1 ocifs $T/mnt", []string{"-N"}},
		{1, "mount.ocifs oci://no/registry $T/mnt", []string{"oci://no/registry"}},
		{1, "mount.ocifs /srv/ghcr.io $T/mnt", []string{"oci://"}},
		{1, "someone mount.ocifs ocifs /srv", []string{"/srv"}},
		{32, "mount.ocifs ocifs $T/absent", []string{"$T/absent"}},
		{32, "mount.ocifs -f ocifs $T/absent", []string{"$T/absent"}},
		{32, "mount -t ocifs ocifs $T/mnt -o remount,ro", []string{"remount"}},
		{32, "mount.ocifs ocifs $T/mnt -o bind", []string{"bind"}},
		{32, "mount.ocifs ocifs $T/mnt -o log_file=/dev/null/log", []string{"log"}},
		{0, "mount.ocifs -v none $T/mnt -o xattr,env.A='b c' 2>$T/v && grep -qx \"env 'A=b c' ocifs mount --xattr=true -- none $T/mnt\" $T/v", nil},
		{0, "mount.ocifs none $T/mnt", nil},
		{0, "mount.fuse.ocifs -f none $T/mnt", nil},
		{32, "mount.ocifs ocifs $T/mnt", []string{"already", "none"}},
		{32, "mount.ocifs -f ocifs $T/mnt", []string{"already", "none"}},
		{0, "umount none && gone", nil},
		{8, "mkfifo $T/fifo; mount.ocifs ocifs $T/mnt -o log_file=$T/fifo & sleep 1; kill -TERM $!; wait $!", []string{"interrupted"}},
		{0, "gone", nil},
		{32, "mount -t tmpfs none /dev && mknod /dev/null c 1 3 && mount.ocifs ocifs $T/mnt", []string{"/dev/fuse"}},
	}
	var script strings.Builder
	for i, c := range calls {
		fmt.Fprintf(&script, "( %s\n) 2>$T/err%d; echo $?\n", c.call, i)
	}
	r := m.run(script.String())
	codes := strings.Fields(r.Stdout)
	if len(codes) != len(calls) {
		t.Fatalf("%d calls said %q: %s", len(calls), r.Stdout, r.Stderr)
	}
	for i, c := range calls {
		text := string(must(os.ReadFile(fmt.Sprintf("%s/err%d", m.dir, i)))(t))
		if codes[i] != fmt.Sprint(c.code) {
			t.Errorf("%s: exit code %s, want %d: %s", c.call, codes[i], c.code, text)
		}
		for _, word := range c.says {
			if word = strings.ReplaceAll(word, "$T", m.dir); !strings.Contains(text, word) {
				t.Errorf("%s says nothing of %s: %s", c.call, word, text)
			}
		}
		if n := strings.Count(text, "\n"); c.code != 0 && (n == 0 || n > 3) {
			t.Errorf("%s says %d lines: %s", c.call, n, text)
		}
	}
}

// A user mounts and unmounts what fstab lets users mount, also without any environment.
func TestFstabUser(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.says(`
oci://$R 4242
v1
umount 0
oci://$R 4242
umount 0
mounts 0`[1:], `
		mkdir $T/home $T/home/mnt && chown -R 4242 $T/home
		line="oci://$R $T/home/mnt ocifs noauto,user,_netdev,ro"
		shown() { findmnt -nro SOURCE,OPTIONS $T/home/mnt | sed 's/ .*user_id=\([0-9]*\).*/ \1/'; }
		echo "$line 0 0" >/etc/fstab
		someone mount $T/home/mnt || exit
		shown
		someone ls $T/home/mnt/team/app/tags
		someone umount $T/home/mnt; echo umount $?
		gone || exit
		echo "$line,cache_dir=$T/home/c,log_file=$T/home/log 0 0" >/etc/fstab
		someone env -i /bin/mount $T/home/mnt || exit
		shown
		someone env -i /bin/umount $T/home/mnt; echo umount $?
		echo mounts $(grep -c "$T.* fuse.ocifs " /proc/self/mountinfo)
		gone`)
	// What fusermount3 says of a refusal reaches the user.
	m.says("1 32", `
		mkdir -p $T/home/other && chown -R 4242 $T/home
		sed '/^user_allow_other/d' /etc/fuse.conf >$T/fuse.conf && mount --bind $T/fuse.conf /etc/fuse.conf || exit
		someone mount.ocifs ocifs $T/home/other -o allow_other,cache_dir=$T/home/c,log_file=$T/home/log 2>$T/said
		code=$?; cat $T/said >&2
		echo $(grep -c 'fusermount3: .*user_allow_other' $T/said) $code`)
}

// At boot there is no environment: neither PATH nor HOME.
func TestMountWithoutEnvironment(t *testing.T) {
	t.Parallel()
	newMachine(t).says(`
first 0
v1
$T/root/.cache/ocifs
umount 0`[1:], `
		echo "oci://$R/team/app $T/mnt ocifs defaults 0 0" >/etc/fstab
		env -i /bin/mount -a; echo first $?
		ls $T/mnt/tags
		ls -d $T/root/.cache/ocifs
		env -i /bin/umount $T/mnt; echo umount $?
		gone`)
}

// An automounter lets its own process group through, and makes everybody else wait: until the
// mount is made, the daemon belongs to the group.
func TestAutomount(t *testing.T) {
	t.Parallel()
	r := newMachine(t).run(`probe automount $T/mnt $T/mnt/tags/v1/digest mount -t ocifs oci://$R/team/app $T/mnt && gone`)
	if r.Code != 0 || !strings.HasPrefix(r.Stdout, "ok sha256:") {
		t.Errorf("exit code %d: %s%s", r.Code, r.Stdout, r.Stderr)
	}
}

// The daemon leaves the group, the terminal and the descriptors of who mounts when the mount is
// made.
func TestDaemonLeaves(t *testing.T) {
	t.Parallel()
	newMachine(t).says(`
its own group and session
lock free`[1:], `
		exec 9>$T/lock; flock 9
		ocifs mount $T/mnt || exit
		exec 9>&-
		set -- $(ps -o pid=,pgid=,sid= -C ocifs)
		[ $1 = $2 ] && [ $1 = $3 ] && echo its own group and session
		flock -n $T/lock echo lock free
		umount $T/mnt && gone`)
}

// A program with the privilege mounts a FUSE device, and ocifs serves it without any privilege, in
// the foreground until it is unmounted.
func TestDevice(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Fatal("only root can mount a device")
	}
	s := startOlareg(t, registries.Options{})
	must(repo(t, s, testImage).Image(t.Context(), "v1", content.Small("x")))(t)
	for name, end := range map[string]func(dir string, ocifs *exec.Cmd) error{
		"unmounted":  func(dir string, _ *exec.Cmd) error { return unix.Unmount(dir, unix.MNT_DETACH) },
		"terminated": func(_ string, ocifs *exec.Cmd) error { return ocifs.Process.Signal(syscall.SIGTERM) },
	} {
		t.Run(name, func(t *testing.T) {
			home, dir := openDir(t), t.TempDir()
			binary := filepath.Join(home, "ocifs") // where everybody may enter
			copyFile(t, binary, raceBin)
			device := must(os.OpenFile("/dev/fuse", os.O_RDWR, 0))(t)
			defer device.Close()
			options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", device.Fd())
			if err := unix.Mount("driver", dir, "fuse.driver", unix.MS_NODEV|unix.MS_NOSUID, options); err != nil {
				t.Fatal(os.NewSyscallError("mount", err))
			}
			t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
			cache := filepath.Join(home, "cache")
			must(0, os.MkdirAll(cache, 0o700))(t)
			must(0, os.Chown(cache, 65534, 65534))(t)
			ocifs := exec.Command("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set=-all",
				binary, "mount", "--cache-dir", cache, "--allow-other", s.Host, "/dev/fd/3")
			ocifs.ExtraFiles = []*os.File{device}
			ocifs.Env = append(mount.Env(home), "GORACE=halt_on_error=1 exitcode=66")
			var said strings.Builder
			ocifs.Stdout, ocifs.Stderr = &said, &said
			if err := ocifs.Start(); err != nil {
				t.Fatal(err)
			}
			device.Close() // as a driver does
			kill := time.AfterFunc(time.Minute, func() { ocifs.Process.Kill() })
			defer kill.Stop()
			r, err := mount.Run(limit(t, 30*time.Second), mount.Env(home), fmt.Sprintf("cd %s && cat %s/tags/v1/digest && cat .ocifs/config.json", dir, testImage))
			if err != nil || r.Code != 0 || !strings.HasPrefix(r.Stdout, "sha256:") || !strings.Contains(r.Stdout, `"/dev/fd/3"`) {
				t.Errorf("the mount reads %q, %s, %v", r.Stdout, r.Stderr, err)
			}
			if err := end(dir, ocifs); err != nil {
				t.Error(err)
			}
			if err := ocifs.Wait(); err != nil {
				t.Errorf("ocifs ended with %v", err)
			}
			if !strings.Contains(said.String(), "allow-other") {
				t.Errorf("someone is told that --allow-other is without effect")
			}
			if t.Failed() {
				t.Log(said.String())
			}
		})
	}
	c := newCommand(t)
	c.ends(2, "ocifs mount /dev/fd/x")
	c.ends(1, "ocifs mount /dev/fd/7 7</dev/null")
	c.ends(1, "ocifs mount /dev/fd/7 7<>/dev/fuse") // opened, and not mounted
}

// openDir is a temporary directory that everybody may enter.
func openDir(t *testing.T) string {
	t.Helper()
	dir := must(os.MkdirTemp("", "ocifs-"))(t)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(0, os.Chmod(dir, 0o755))(t)
	return dir
}

func copyFile(t *testing.T, to, from string) {
	t.Helper()
	in := must(os.Open(from))(t)
	defer in.Close()
	out := must(os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755))(t)
	_, err := io.Copy(out, in)
	if err == nil {
		err = out.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}
