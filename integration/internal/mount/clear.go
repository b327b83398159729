package mount

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/moby/sys/mountinfo"
)

// Clear takes away whatever is mounted below dir, also what hangs: a FUSE mount is aborted first,
// so that the programs that wait for it get an error.
func Clear(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second) // a clean-up: its caller's context may have ended
	defer cancel()
	for range 5 { // a mountpoint may have several mounts
		below, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
		if err != nil || len(below) == 0 {
			return err
		}
		for _, m := range below {
			// Linux has this file for each FUSE mount, by the minor number of its device.
			_ = os.WriteFile("/sys/fs/fuse/connections/"+strconv.Itoa(m.Minor)+"/abort", []byte("1"), 0)
			at := "'" + m.Mountpoint + "'"
			if _, err := Run(ctx, Env(dir), "umount -l "+at+" || fusermount3 -uz "+at+" || umount -f "+at); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("something stays mounted below %s", dir)
}
