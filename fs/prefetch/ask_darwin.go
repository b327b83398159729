package prefetch

// askCommand is the command of the ioctl, _IOW('O', 1, askSize) of sys/ioccom.h.
const askCommand = 0x80000000 | askSize<<16 | 'O'<<8 | 1
