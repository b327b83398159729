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
	"time"

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

// foreignMounts lists the FUSE mounts of other types, one for each mountpoint that isn't ocifs'. It
// touches no file system.
func foreignMounts() (all []mounted) {
	infos, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil
	}
	for _, m := range infos {
		all = slices.DeleteFunc(all, func(below mounted) bool { return below.mountpoint == m.Mountpoint })
		if m.FSType != fsType && (m.FSType == "fuse" || strings.HasPrefix(m.FSType, "fuse.")) && m.Root == "/" {
			f := mountedFrom(m)
			f.foreign = true
			all = append(all, f)
		}
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
	if err := unix.Unmount(path, flags|unix.UMOUNT_NOFOLLOW); err != unix.EPERM {
		return err
	}
	return fusermount(fusermountFor, path, options...)
}

// mtab is the list of mounts that fusermount3 reads before it unmounts for a user.
const mtab = "/etc/mtab"

// fusermount has fusermount3 unmount path within limit. It is killed then, which a program that waits
// for a mount that hangs may survive. The caller's error names the path.
func fusermount(limit time.Duration, path string, options ...string) error {
	ctx, kill := context.WithCancel(context.Background())
	defer kill()
	out, err := answerWithin(context.Background(), limit, func() ([]byte, error) {
		c := exec.CommandContext(ctx, "fusermount3", append(append([]string{"-u"}, options...), "--", path)...)
		c.WaitDelay = time.Second
		return c.CombinedOutput()
	})
	text := strings.TrimSpace(string(out))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errSilent):
		return fmt.Errorf("fusermount3 -u: %w within %s", err, limit)
	case strings.Contains(text, "busy"):
		return unix.EBUSY
	case strings.Contains(text, mtab):
		if _, err := os.Stat(mtab); errors.Is(err, os.ErrNotExist) {
			text += "; it reads the list of mounts there: as root, ln -s /proc/self/mounts " + mtab
		}
		return errors.New(text)
	case text != "":
		return errors.New(text)
	}
	return fmt.Errorf("fusermount3 -u: %w", err)
}
