package node

import (
	"context"
	"errors"
	"slices"
	"syscall"
)

// Verdict is what an error means to a program and to a person.
type Verdict struct {
	Is    error // the kind of error, for errors.Is
	Errno syscall.Errno
	Hint  string // what to do next
}

// ordinary are the errnos of what can't be done as it was asked for: they say all that there
// is to say, and programs ask for such things all the time.
var ordinary = []syscall.Errno{
	syscall.ENOENT, syscall.EEXIST, syscall.ENOTEMPTY, syscall.EISDIR, syscall.ENOTDIR, syscall.EXDEV, syscall.EINVAL,
	syscall.EPERM, syscall.EBADF, syscall.ESTALE, syscall.EROFS,
}

// Judge gives what an error means. ctx is the caller's: once that was interrupted, all errors
// are EINTR.
func (k *Kernel) Judge(ctx context.Context, err error) Verdict {
	if errors.Is(ctx.Err(), context.Canceled) {
		return Verdict{Errno: syscall.EINTR}
	}
	for _, v := range k.o.Verdicts {
		if errors.Is(err, v.Is) {
			return v
		}
	}
	var errno syscall.Errno
	switch {
	case !errors.As(err, &errno):
	case slices.Contains(ordinary, errno):
		return Verdict{Errno: errno}
	default: // of the cache's disk
		return Verdict{Errno: errno, Hint: "check the disk that the cache is on"}
	}
	if errors.Is(err, context.Canceled) {
		return Verdict{Errno: syscall.EINTR}
	}
	return Verdict{Errno: syscall.EIO}
}

// Fail gives the errno of an operation that failed at a path, and leaves its sentence where a
// person will find it. An ordinary errno without a hint, and an interrupt, say all.
func (k *Kernel) Fail(ctx context.Context, path, op string, err error) syscall.Errno {
	v := k.Judge(ctx, err)
	said := v.Hint == "" && slices.Contains(ordinary, v.Errno)
	if v.Errno != syscall.EINTR && !said {
		k.failures.add(path, op, v.Errno, v.Hint, err)
	}
	return v.Errno
}

// Tell leaves the sentence of a failure that no program sees, as something else is shown in
// place of what couldn't be asked for.
func (k *Kernel) Tell(path, op, hint string, err error) {
	k.failures.add(path, op, k.Judge(context.Background(), err).Errno, hint, err)
}
