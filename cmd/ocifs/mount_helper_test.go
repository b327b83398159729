package main

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

// A mount helper is told by the base name of argv[0].
func TestMountHelperIsTold(t *testing.T) {
	for name, want := range map[string]bool{
		"mount.ocifs": true, "/sbin/mount.ocifs": true, "/usr/sbin/mount.fuse.ocifs": true,
		"ocifs": false, "/usr/bin/ocifs": false, "mount.fuse": false, "/sbin/mount.ocifs/ocifs": false,
	} {
		if isMountHelper(name) != want {
			t.Errorf("%s is a mount helper: %t, want %t", name, !want, want)
		}
	}
}

// The command line is that of mount(8), and what a person types of it.
func TestMountHelperCalls(t *testing.T) {
	for args, want := range map[string]helperCall{
		"ocifs /mnt": {spec: "ocifs", dir: "/mnt"},
		"ocifs /mnt -s -f -n -v -o ro,x -t ocifs":   {spec: "ocifs", dir: "/mnt", sloppy: true, fake: true, verbose: true, options: []string{"ro,x"}},
		"-sfv -oro -o a=b -t fuse.ocifs ocifs /mnt": {spec: "ocifs", dir: "/mnt", sloppy: true, fake: true, verbose: true, options: []string{"ro", "a=b"}},
		"-fo ro -- -spec -dir":                      {spec: "-spec", dir: "-dir", fake: true, options: []string{"ro"}},
		"--help":                                    {help: true},
		"-V":                                        {version: true},
	} {
		got, err := readHelperCall(strings.Fields(args))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %+v, %v; want %+v", args, got, err, want)
		}
	}
	for _, args := range []string{"", "ocifs", "a b c", "ocifs /mnt -o", "ocifs /mnt -x", "ocifs /mnt -N 1", "ocifs /mnt --foreground"} {
		if got, err := readHelperCall(strings.Fields(args)); err == nil {
			t.Errorf("%q is taken for %+v", args, got)
		}
	}
}

// The exit code tells mount(8) whose fault it is.
func TestMountHelperExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{usageError{errors.New("x")}, 1},
		{fmt.Errorf("mount: %w", syscall.EPERM), 1},
		{fmt.Errorf("mkdir: %w", syscall.EACCES), 1},
		{noProcess{syscall.EAGAIN}, 2},
		{noProcess{syscall.EPERM}, 2},
		{interruptedError{"mount"}, 8},
		{errors.New("x"), 32},
		{fmt.Errorf("mount: %w", syscall.ENODEV), 32},
		{daemonError{code: 1, text: "x"}, 1},
	} {
		if got := helperExit(c.err); got != c.want {
			t.Errorf("%v ends with %d, want %d", c.err, got, c.want)
		}
	}
	for report, want := range map[string]daemonError{"32 a b\nc": {code: 32, text: "a b\nc"}, "1 ": {code: 1}} {
		if got, ok := parseReport(report); !ok || got != want {
			t.Errorf("the report %q is %+v, %t", report, got, ok)
		}
	}
	for _, report := range []string{"", "ready", "panic: x"} {
		if got, ok := parseReport(report); ok {
			t.Errorf("the report %q is taken for %+v", report, got)
		}
	}
}

// -v prints the ocifs mount that does the same, as a shell reads it. Options that mount(8) means
// for the kernel are flags there.
func TestMountHelperTellsTheCommand(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	for list, want := range map[string]string{
		"rw":                                    "ocifs mount -- oci://ghcr.io/a /no/such/dir",
		"ro,allow_other":                        "ocifs mount --read-only=true --allow-other=true -- oci://ghcr.io/a /no/such/dir",
		"env.OCIFS_A='x y'":                     `env 'OCIFS_A='\''x y'\''' ocifs mount -- oci://ghcr.io/a /no/such/dir`,
		"tag_ttl=5s,noexec":                     "ocifs mount --fuse-option=noexec --tag-ttl=5s -- oci://ghcr.io/a /no/such/dir",
		`context="a:s0,c1"`:                     `ocifs mount '--fuse-option=context="a:s0,c1"' -- oci://ghcr.io/a /no/such/dir`,
		"plain-http=a:1,_netdev,plain_http=b.c": "ocifs mount --plain-http=a:1 --plain-http=b.c -- oci://ghcr.io/a /no/such/dir",
	} {
		t.Setenv("OCIFS_A", "")
		var said strings.Builder
		h := helperCall{spec: "oci://ghcr.io/a", dir: "/no/such/dir", options: []string{list}, verbose: true, fake: true}
		if err := h.run(t.Context(), &said); helperExit(err) != 32 {
			t.Errorf("%s: %v", list, err)
		}
		if got := strings.TrimSpace(said.String()); got != want {
			t.Errorf("%s is\n%s, want\n%s", list, got, want)
		}
	}
	for _, list := range []string{"no_such", "fuse_option=noexec", "foreground", "cache_size=", "ro=1"} {
		h := helperCall{spec: "ocifs", dir: "/no/such/dir", options: []string{list}, fake: true}
		if err := h.run(t.Context(), io.Discard); helperExit(err) != 1 {
			t.Errorf("%s: %v", list, err)
		}
	}
	for in, want := range map[string]string{"nodev": "nodev", "context=a": "context=a", `context="a,b"`: `context="a,b"`} {
		if got, err := readFUSEOption(in); err != nil || got != want {
			t.Errorf("--fuse-option %s is %s, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "ro", "suid", "allow_other", "context", "context=a,b", "nodev,noexec", "remount,nodev", "env.A=b"} {
		if got, err := readFUSEOption(in); err == nil {
			t.Errorf("--fuse-option %q is taken for %s", in, got)
		}
	}
}
