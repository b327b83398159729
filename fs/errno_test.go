package fs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"syscall"
	"testing"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/fs/upload"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// Each situation has its errno, however deep the cause.
func TestErrnos(t *testing.T) {
	for err, want := range map[error]syscall.Errno{
		errNotExist:                 syscall.ENOENT,
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
		errReadOnly:                 syscall.EROFS,
		errNoBlob:                   syscall.EPERM,
		&overdrawn{}:                syscall.EDQUOT,
		syscall.ENOTEMPTY:           syscall.ENOTEMPTY,
		syscall.EMFILE:              syscall.EMFILE,
		errors.New("anything"):      syscall.EIO,
	} {
		if got := judge(t.Context(), fmt.Errorf("deep: %w", &registry.Error{Kind: err})); got.errno != want {
			t.Errorf("%v is %v, want %v", err, got.errno, want)
		}
	}
	interrupted, cancel := context.WithCancel(t.Context())
	cancel()
	if got := judge(interrupted, registry.ErrServer); got.errno != syscall.EINTR {
		t.Errorf("an interrupted caller gets %v", got.errno)
	}
}

// What can't be done as it was asked for is told by its errno alone; what a person
// can do something about is told to a person.
func TestWhatIsTold(t *testing.T) {
	at := place{tree: &Tree{failures: newFailures(slog.New(slog.DiscardHandler))}, path: "x"}
	for err, told := range map[error]bool{
		errNotExist: false, syscall.EEXIST: false, syscall.EXDEV: false, fs.ErrNotExist: false, errReadOnly: false,
		fmt.Errorf("%w: of a host", ref.ErrInvalid):      false,
		fmt.Errorf("%w: %w", errBadName, ref.ErrInvalid): true,
		errNoBlob: true,
		&registry.Error{Kind: registry.ErrExists}:                          true,
		&registry.Error{Kind: registry.ErrDenied}:                          true,
		&registry.Error{Kind: registry.ErrUnreachable, Err: syscall.EPERM}: true,
		upload.ErrMismatch: true,
		syscall.EIO:        true,
	} {
		before := len(at.tree.failures.jsonl())
		errno := at.fail(t.Context(), "close", err)
		if got := len(at.tree.failures.jsonl()) > before; got != told {
			t.Errorf("%v, which is %v, is told: %v", err, errno, got)
		}
	}
}

// The last failures are kept, each a line of JSON; one that many met is one.
func TestFailuresAreKept(t *testing.T) {
	f := newFailures(slog.New(slog.DiscardHandler))
	for range 3 {
		f.add("a/b", "read", verdict{syscall.EBADMSG, "do this"}, errors.New("cause <1>"))
	}
	for i := range maxFailures {
		f.add(fmt.Sprint("p", i), "lookup", verdict{syscall.ENOENT, ""}, errors.New("no"))
	}
	lines := bytes.Split(bytes.TrimSpace(f.jsonl()), []byte("\n"))
	if len(lines) != maxFailures {
		t.Fatalf("%d lines are kept, want %d", len(lines), maxFailures)
	}
	var first, last failure
	if err := errors.Join(json.Unmarshal(lines[0], &first), json.Unmarshal(lines[len(lines)-1], &last)); err != nil {
		t.Fatal(err)
	}
	if first.Path != "p0" || last.Path != fmt.Sprint("p", maxFailures-1) || last.Errno != "ENOENT" {
		t.Errorf("the lines are from %+v to %+v", first, last)
	}
	if n := f.count()["EBADMSG"]; n != 3 {
		t.Errorf("%d failures were counted, want 3", n)
	}
}
