package main

import (
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// fsType is the type of a mount of ocifs in mountinfo.
const fsType = "fuse.ocifs"

// mountAt gives the topmost mount on path, if it is ocifs'. It touches no file system, and can't
// hang on a dead one.
func mountAt(path string) (m mounted, ok bool) {
	on, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) { return m.Mountpoint != path, false })
	if err != nil || len(on) == 0 || on[len(on)-1].FSType != fsType {
		return mounted{}, false
	}
	return mountedFrom(on[len(on)-1]), true
}

// isFUSEDevice says whether a descriptor of this process is a FUSE device.
func isFUSEDevice(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == fuseDevice
}

// fuseDevice is the number of /dev/fuse: 10, 229, in the kernel's admin-guide/devices.txt.
const fuseDevice = 10<<8 | 229

// ocifsParts lists the mounts of this process' namespace that are ocifs', or a directory of such a
// mount (mount --bind), one for each mountpoint. It touches no file system, and can't hang on a dead one.
func ocifsParts() (all []mounted) {
	infos, err := mountinfo.GetMounts(mountinfo.FSTypeFilter(fsType))
	if err != nil {
		return nil
	}
	for _, m := range infos {
		all = slices.DeleteFunc(all, func(below mounted) bool { return below.mountpoint == m.Mountpoint })
		all = append(all, mountedFrom(m))
	}
	return all
}

// mountedFrom gives a mount from its line of mountinfo.
func mountedFrom(m *mountinfo.Info) mounted {
	return mounted{
		mountpoint: m.Mountpoint, source: m.Source, root: m.Root, device: fmt.Sprintf("%d:%d", m.Major, m.Minor), owner: ownerOf(m.VFSOptions),
	}
}

// ownerOf gives the user who mounted, from the options of a FUSE file system; -1: it isn't told.
func ownerOf(options string) int {
	for o := range strings.SplitSeq(options, ",") {
		if id, ok := strings.CutPrefix(o, "user_id="); ok {
			if n, err := strconv.Atoi(id); err == nil {
				return n
			}
		}
	}
	return -1
}

// detach takes a mount away from its path at once; what is open stays open.
func detach(path string) error { return unmount(path, unix.MNT_DETACH, "-z") }

// detachIdle takes a mount away if nobody uses it.
func detachIdle(path string) error { return unmount(path, 0) }

// unmount asks the kernel, or, without the privilege, fusermount3.
func unmount(path string, flags int, options ...string) error {
	err := unix.Unmount(path, flags|unix.UMOUNT_NOFOLLOW)
	if err != unix.EPERM {
		return err
	}
	out, err := exec.Command("fusermount3", append(append([]string{"-u"}, options...), "--", path)...).CombinedOutput()
	if err == nil {
		return nil
	}
	if strings.Contains(string(out), "busy") {
		return unix.EBUSY
	}
	if text := strings.TrimSpace(string(out)); text != "" {
		return fmt.Errorf("%s", text)
	}
	return err
}
