package prefetch

// askCommand is the command of the ioctl, _IOW('O', 1, askSize) of asm-generic/ioctl.h.
const askCommand = 1<<30 | askSize<<16 | 'O'<<8 | 1
