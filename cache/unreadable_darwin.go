package cache

import "syscall"

var unreadableErrnos = []syscall.Errno{syscall.EIO}
