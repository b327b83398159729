package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// explainMount adds what to do to the error of a mount that failed. Package fuse gives no more than
// a text for some.
func explainMount(err error, s settings) error {
	text := strings.TrimSpace(err.Error())
	switch {
	case errors.As(err, new(*exec.Error)):
		return fmt.Errorf("%w; only root mounts without fusermount3: install the package fuse3", err)
	case strings.Contains(text, "fusermount"): // it has written why to standard error
		if s.allowOther && os.Geteuid() != 0 {
			return fmt.Errorf("%s; for --allow-other put user_allow_other into /etc/fuse.conf", text)
		}
		if strings.Contains(text, "exited with code") { // a number that means nothing, as it is a wait status
			text = "fusermount3 refused, and said why on standard error; 'ocifs doctor' looks for what keeps a mount from working"
		}
		return errors.New(text)
	case errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENODEV) || strings.Contains(text, "/dev/fuse"):
		return fmt.Errorf("%w; this machine has no usable /dev/fuse: load the fuse module, or give the container the device", err)
	case errors.Is(err, syscall.EPERM):
		return fmt.Errorf("%w; mounting isn't permitted here: a container needs CAP_SYS_ADMIN and /dev/fuse", err)
	case errors.Is(err, syscall.EINVAL) && len(s.fuseOptions) > 0:
		return fmt.Errorf("%w; the kernel doesn't take one of %s: labels need SELinux", err, strings.Join(s.fuseOptions, ", "))
	}
	return err
}
