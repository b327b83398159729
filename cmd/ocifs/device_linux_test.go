package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// deviceMount has ocifs serve a FUSE device that this process mounts under a type of its own.
func deviceMount(t *testing.T) (mountpoint string) {
	t.Helper()
	asRoot(t)
	dir := t.TempDir()
	device, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", device.Fd())
	if err := unix.Mount("driver", dir, "fuse.driver", unix.MS_NODEV|unix.MS_NOSUID, options); err != nil {
		t.Fatal(os.NewSyscallError("mount", err))
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	cmd := exec.Command(os.Args[0], "mount", "ghcr.io", "/dev/fd/3") // its mount ends it, and not the test's context
	cmd.Env = command(t).Env
	cmd.ExtraFiles = []*os.File{device}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Unmount(dir, unix.MNT_DETACH)
		if err := cmd.Wait(); err != nil {
			t.Errorf("it ends with %v", err)
		}
	})
	return dir
}

// A mount of a device, whose type is the driver's, is told of when it is named, and prefetch finds it by
// a path. FUSE mounts that aren't ocifs' are walked through.
func TestAMountOfADeviceIsFound(t *testing.T) {
	dir := deviceMount(t)
	link := t.TempDir() + "/link"
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir, link} {
		out, err := output("status", "--json", name)
		var all struct{ Mounts []mountState }
		if err != nil || json.Unmarshal([]byte(out), &all) != nil || len(all.Mounts) != 1 || !all.Mounts[0].Alive || all.Mounts[0].Source != "ghcr.io" {
			t.Errorf("status %s: %v, %s", name, err, out)
		}
		m, below, err := newPlaces().of(t.Context(), name+"/org/app/tags")
		if err != nil || m.mountpoint != dir || strings.Trim(below, "/") != "org/app/tags" {
			t.Errorf("%s/org is %q in %s, %v", name, below, m.mountpoint, err)
		}
	}
	other := t.TempDir()
	p := &places{ours: []mounted{{mountpoint: dir, root: "/"}}, foreign: []mounted{{mountpoint: other, root: "/", foreign: true}}}
	if err := os.Symlink(dir, other+"/out"); err != nil {
		t.Fatal(err)
	}
	if m, _, err := p.of(t.Context(), other+"/out/org"); err != nil || m.mountpoint != dir || len(p.foreign) != 0 {
		t.Errorf("through another mount, the path is in %+v, %v", m, err)
	}
}

// A named mount that isn't ocifs', or doesn't answer, is told as that within seconds.
func TestAForeignMountIsNoOcifs(t *testing.T) {
	asRoot(t)
	dir := t.TempDir()
	if err := unix.Mount("x", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(os.NewSyscallError("mount", err))
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	if out, err := output("status", dir); err == nil || !strings.Contains(out, "no ocifs is mounted there") {
		t.Errorf("of a tmpfs: %v, %s", err, out)
	}
	hung := hungMount(t, "driver")
	began := time.Now()
	if out, err := output("status", hung); err == nil || !strings.Contains(out, "no ocifs is mounted there, or none that answers") {
		t.Errorf("of one that hangs: %v, %s", err, out)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
	if m, _, err := newPlaces().of(t.Context(), hung); err == nil {
		t.Errorf("prefetch finds it in %+v", m)
	}
}
