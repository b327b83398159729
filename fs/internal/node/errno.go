package node

import (
	"context"
	"errors"
	"slices"
	"syscall"
)

// Verdict says what an error means to a program and to a person.
type Verdict struct {
	Is    error // for errors.Is
	Errno syscall.Errno
	Hint  string // what to do next
	// HintFor gives the hint for one error in place of Hint, if it knows a better one; ""
	// if it doesn't. nil: it never does.
	HintFor func(error) string
}

// ordinary are the errnos of requests that can't be done as they were asked. Such an errno says
// everything, and programs make such requests all the time.
var ordinary = []syscall.Errno{
	syscall.ENOENT, syscall.EEXIST, syscall.ENOTEMPTY, syscall.EISDIR, syscall.ENOTDIR, syscall.EXDEV, syscall.EINVAL,
	syscall.EPERM, syscall.EBADF, syscall.ESTALE, syscall.EROFS,
}

// Judge gives the verdict on an error. ctx is that of the request: after an interrupt, each error
// is EINTR.
func (k *Kernel) Judge(ctx context.Context, err error) Verdict {
	if errors.Is(ctx.Err(), context.Canceled) {
		return Verdict{Errno: syscall.EINTR}
	}
	for _, v := range k.o.Verdicts {
		if !errors.Is(err, v.Is) {
			continue
		}
		if v.HintFor != nil {
			if hint := v.HintFor(err); hint != "" {
				v.Hint = hint
			}
		}
		return v
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

// Fail gives the errno of an operation that failed at a path, and reports the failure to a
// person. It reports neither an interrupt nor an ordinary errno without a hint.
func (k *Kernel) Fail(ctx context.Context, path, op string, err error) syscall.Errno {
	v := k.Judge(ctx, err)
	said := v.Hint == "" && slices.Contains(ordinary, v.Errno)
	if v.Errno != syscall.EINTR && !said {
		k.failures.add(path, op, v.Errno, v.Hint, err)
	}
	return v.Errno
}

// Tell reports a failure that no program sees, because something else is shown in place of what
// couldn't be requested.
func (k *Kernel) Tell(path, op, hint string, err error) {
	k.failures.add(path, op, k.Judge(context.Background(), err).Errno, hint, err)
}
