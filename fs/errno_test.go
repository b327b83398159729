package fs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/fs/internal/guard"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/fs/upload"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

func newKernel() *node.Kernel {
	return node.New(node.Options{Verdicts: verdicts, Quiet: guard.ToldBefore})
}

// Each situation has its errno, however deep the cause.
func TestErrnos(t *testing.T) {
	k := newKernel()
	for err, want := range map[error]syscall.Errno{
		node.ErrNotExist:            syscall.ENOENT,
		registry.ErrNotFound:        syscall.ENOENT,
		registry.ErrDenied:          syscall.EACCES,
		registry.ErrCorrupt:         syscall.EBADMSG,
		cache.ErrMismatch:           syscall.EBADMSG,
		registry.ErrTooManyRequests: syscall.EBUSY,
		registry.ErrServer:          remoteIO,
		registry.ErrUnreachable:     syscall.EHOSTUNREACH,
		registry.ErrTimeout:         syscall.ETIMEDOUT,
		context.DeadlineExceeded:    syscall.ETIMEDOUT,
		cache.ErrNoSpace:            syscall.ENOSPC,
		registry.ErrUnsupported:     syscall.EOPNOTSUPP,
		registry.ErrExists:          syscall.EEXIST,
		registry.ErrInUse:           syscall.EBUSY,
		registry.ErrTooLarge:        syscall.EFBIG,
		registry.ErrBlobUnknown:     syscall.ENOENT,
		upload.ErrMismatch:          syscall.EBADMSG,
		upload.ErrNoManifest:        syscall.EBADMSG,
		upload.ErrNoSpace:           syscall.ENOSPC,
		upload.ErrClosed:            syscall.ENOTCONN,
		cache.ErrClosed:             syscall.ENOTCONN,
		node.ErrReadOnly:            syscall.EROFS,
		errNoBlob:                   syscall.EPERM,
		guard.ErrOverdrawn:          syscall.EDQUOT,
		syscall.ENOTEMPTY:           syscall.ENOTEMPTY,
		syscall.EMFILE:              syscall.EMFILE,
		errors.New("anything"):      syscall.EIO,
	} {
		if got := k.Judge(t.Context(), fmt.Errorf("deep: %w", &registry.Error{Kind: err})); got.Errno != want {
			t.Errorf("%v is %v, want %v", err, got.Errno, want)
		}
	}
	interrupted, cancel := context.WithCancel(t.Context())
	cancel()
	if got := k.Judge(interrupted, registry.ErrServer); got.Errno != syscall.EINTR {
		t.Errorf("an interrupted caller gets %v", got.Errno)
	}
}

// What can't be done as it was asked for is told by its errno alone; what a person
// can do something about is told to a person.
func TestWhatIsTold(t *testing.T) {
	k := newKernel()
	lines := func() int64 {
		size, _, _ := k.Failures().Log().From(0)
		return size
	}
	for err, told := range map[error]bool{
		node.ErrNotExist: false, syscall.EEXIST: false, syscall.EXDEV: false, fs.ErrNotExist: false, node.ErrReadOnly: false,
		fmt.Errorf("%w: of a host", ref.ErrInvalid):      false,
		fmt.Errorf("%w: %w", errBadName, ref.ErrInvalid): true,
		errNoBlob: true,
		&registry.Error{Kind: registry.ErrExists}:                          true,
		&registry.Error{Kind: registry.ErrDenied}:                          true,
		&registry.Error{Kind: registry.ErrUnreachable, Err: syscall.EPERM}: true,
		upload.ErrMismatch: true,
		syscall.EIO:        true,
	} {
		before := lines()
		errno := k.Fail(t.Context(), "x", "close", err)
		if got := lines() > before; got != told {
			t.Errorf("%v, which is %v, is told: %v", err, errno, got)
		}
	}
}
