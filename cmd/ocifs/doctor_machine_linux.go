package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// What a container needs that is to mount.
const containerFlags = "--device /dev/fuse --cap-add SYS_ADMIN (Docker on Ubuntu and Debian also needs --security-opt apparmor=unconfined)"

// examineFUSE looks at what a mount needs of this system.
func (d *diagnosis) examineFUSE(ctx context.Context) {
	d.do(ctx, "device", func(context.Context) check { return device() })
	d.do(ctx, "privilege", func(context.Context) check { return privilege() })
	d.do(ctx, "allow-other", func(context.Context) check { return allowOther() })
	d.do(ctx, "time-out", func(context.Context) check { return requestTimeout() })
}

func device() check {
	const path = "/dev/fuse"
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	switch {
	case err == nil:
		f.Close()
		return fine("%s can be opened", path)
	case errors.Is(err, os.ErrNotExist) && hasFUSE():
		return wrong("give it to the container: "+containerFlags, "the kernel has FUSE, but %s isn't here", path)
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.ENXIO):
		return wrong("load it, as root: modprobe fuse", "the kernel's fuse module isn't loaded (%v)", err)
	case errors.Is(err, syscall.EPERM):
		return wrong("give the device to the container: "+containerFlags, "%s is here, and this container may not use it", path)
	case errors.Is(err, os.ErrPermission):
		return wrong("let everyone open it, as root: chmod 666 "+path, "%s may not be opened by you", path)
	}
	return wrong("", "%s can't be opened: %v", path, err)
}

// hasFUSE says whether the kernel knows the file system.
func hasFUSE() bool {
	b, err := os.ReadFile("/proc/filesystems")
	return err == nil && slices.Contains(strings.Fields(string(b)), "fuse")
}

// privilege looks at what lets this process mount: root's own right, or a helper.
func privilege() check {
	status := procStatus()
	if os.Geteuid() == 0 {
		caps, err := strconv.ParseUint(status["CapEff"], 16, 64)
		if err == nil && caps&(1<<unix.CAP_SYS_ADMIN) == 0 {
			return wrong("start the container with "+containerFlags, "root may not mount here: CAP_SYS_ADMIN is missing")
		}
		return fine("root mounts without a helper")
	}
	const helper = "fusermount3"
	path, err := exec.LookPath(helper)
	if err != nil {
		return wrong("install the package fuse3", "there is no %s, by which users who aren't root mount", helper)
	}
	st, err := os.Stat(path)
	if err != nil {
		return wrong("install the package fuse3", "%v", err)
	}
	if st.Mode()&os.ModeSetuid == 0 {
		_, err := unix.Getxattr(path, "security.capability", nil)
		if err != nil {
			return wrong("as root: chmod u+s "+path, "%s isn't setuid root, so it may not mount for you", path)
		}
	}
	if status["NoNewPrivs"] == "1" {
		return wrong("start the container without no-new-privileges", "%s is setuid root, but this process may not gain privileges", path)
	}
	return fine("you mount by %s", path)
}

// procStatus is /proc/self/status.
func procStatus() map[string]string {
	b, _ := os.ReadFile("/proc/self/status") // without it nothing is known
	all := map[string]string{}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		all[name] = strings.TrimSpace(value)
	}
	return all
}

func allowOther() check {
	if os.Geteuid() == 0 {
		return fine("--allow-other can be used")
	}
	b, _ := os.ReadFile("/etc/fuse.conf") // without it, others can't be let in
	for line := range strings.Lines(string(b)) {
		if strings.TrimSpace(line) == "user_allow_other" {
			return fine("--allow-other can be used")
		}
	}
	return fine("--allow-other can't be used: user_allow_other isn't in /etc/fuse.conf; you alone read your mounts")
}

// requestTimeout looks at the kernel's limit of an answer, beyond which it aborts the
// whole mount. A registry may well take longer.
func requestTimeout() check {
	const dir = "/proc/sys/fs/fuse/"
	for _, name := range []string{"default_request_timeout", "max_request_timeout"} {
		b, err := os.ReadFile(dir + name)
		if n := strings.TrimSpace(string(b)); err == nil && n != "0" {
			return warning("as root: sysctl fs.fuse."+name+"=0", "the kernel aborts a mount that takes longer than %s s to answer, as a registry may", n)
		}
	}
	return fine("the kernel waits for answers as long as they take")
}

// passthrough tells whether the kernel reads cached blobs by itself, and why not.
func passthrough(works bool) check {
	const cost = "cached blobs are read by way of ocifs, which is slower and else the same"
	major, minor := kernelVersion()
	switch {
	case works:
		return fine("the kernel reads cached blobs straight from the disk")
	case major < 6 || major == 6 && minor < 9:
		return warning("use Linux 6.9 or later, if that matters", "this kernel has no FUSE passthrough: %s", cost)
	case os.Geteuid() != 0:
		return warning("mount as root, if that matters", "passthrough is for root alone: %s", cost)
	}
	return warning("mount outside of containers, or keep the cache on another file system (--cache-dir), if that matters", "the kernel refuses passthrough here: %s", cost)
}

// kernel names the system as uname does.
func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "Linux"
	}
	return "Linux " + unix.ByteSliceToString(u.Release[:])
}

func kernelVersion() (major, minor int) {
	fmt.Sscanf(kernel(), "Linux %d.%d", &major, &minor)
	return major, minor
}
