package fs

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// errNotExist is for names that can't exist, or don't, as is known without
// asking: nobody needs to be told why.
var errNotExist = errors.New("no such name")

// verdict is what an error means to a program and to a person.
type verdict struct {
	errno syscall.Errno
	hint  string // what to do next
}

// verdicts decides errnos, in this order. Programs see nothing else of an
// error, so its cause and the hint go to the log and to .ocifs/errors.jsonl.
var verdicts = []struct {
	is error
	verdict
}{
	{errNotExist, verdict{syscall.ENOENT, ""}},
	{ref.ErrInvalid, verdict{syscall.ENOENT, "check the spelling: no registry can have this name"}},
	{cache.ErrMismatch, verdict{syscall.EBADMSG, "the registry, or something before it, serves other bytes than the digest promises; nothing of it was shown. Try again; if it stays, tell those who run the registry"}},
	{registry.ErrCorrupt, verdict{syscall.EBADMSG, "the registry's answer doesn't match its digest or is no valid manifest; nothing of it was shown. Try again; if it stays, tell those who run the registry"}},
	{cache.ErrNoSpace, verdict{syscall.ENOSPC, "free space where the cache is, or mount with another --cache-dir"}},
	{registry.ErrNotFound, verdict{syscall.ENOENT, "check the repository and the tag or digest; the registry doesn't have it"}},
	{registry.ErrDenied, verdict{syscall.EACCES, "log in with 'docker login' or 'podman login', and check that this account may pull; many registries say the same of a repository that doesn't exist"}},
	{registry.ErrTooManyRequests, verdict{syscall.EBUSY, "the registry limits the rate: wait and try again, log in for a higher limit, or raise --retry-max-wait"}},
	{registry.ErrUnsupported, verdict{syscall.EOPNOTSUPP, "this registry doesn't offer it"}},
	{registry.ErrTimeout, verdict{syscall.ETIMEDOUT, "the registry didn't answer in time: check the network and try again"}},
	{registry.ErrUnreachable, verdict{syscall.EHOSTUNREACH, "check the host's name, the network and the registry's certificate; a registry that speaks plain HTTP needs --plain-http HOST"}},
	{registry.ErrServer, verdict{remoteIO, "the registry failed or answered nonsense: try again later, or ask those who run it"}},
	{context.DeadlineExceeded, verdict{syscall.ETIMEDOUT, "the registry didn't answer in time: check the network and try again"}},
	{fs.ErrNotExist, verdict{syscall.ENOENT, ""}},
}

// judge gives the errno of err. ctx is the caller's: where that has ended
// because the caller was interrupted, it is EINTR whatever err says.
func judge(ctx context.Context, err error) verdict {
	if errors.Is(ctx.Err(), context.Canceled) {
		return verdict{errno: syscall.EINTR}
	}
	for _, v := range verdicts {
		if errors.Is(err, v.is) {
			return v.verdict
		}
	}
	var errno syscall.Errno
	if errors.As(err, &errno) { // of the cache's disk
		return verdict{errno, "check the disk that the cache is on"}
	}
	if errors.Is(err, context.Canceled) {
		return verdict{syscall.EINTR, ""}
	}
	return verdict{syscall.EIO, ""}
}

// tell leaves the sentence of a failure that no program sees, as what was known
// is shown in place of what couldn't be asked for.
func (p place) tell(ctx context.Context, op, hint string, err error) {
	p.tree.failures.add(p.path, op, verdict{judge(ctx, err).errno, hint}, err)
}

// fail decides the errno of a failed operation and leaves its sentence where a
// person will find it.
func (p place) fail(ctx context.Context, op string, err error) syscall.Errno {
	v := judge(ctx, err)
	if v.errno != syscall.EINTR && !errors.Is(err, errNotExist) && !errors.Is(err, ref.ErrInvalid) {
		p.tree.failures.add(p.path, op, v, err)
	}
	return v.errno
}
