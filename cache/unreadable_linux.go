package cache

import "syscall"

// unreadableErrnos: EUCLEAN and EBADMSG are ext4's and XFS' for what fails a checksum. ENODATA
// and EILSEQ are the block layer's for a broken sector and a failed integrity check
// (blk_errors of block/blk-core.c).
var unreadableErrnos = []syscall.Errno{syscall.EIO, syscall.EUCLEAN, syscall.EBADMSG, syscall.ENODATA, syscall.EILSEQ}
