package known

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// Repository is one repository as a mount knows it. It decides what to ask the registry, and what
// to answer from memory and the cache. It is only a name: all Repositories with one name share
// what is known, and an unused one takes no memory.
//
// A blob in the cache doesn't mean that this repository may show it. Content comes from the cache
// only if the repository has confirmed the digest, by naming it in a manifest or by answering for
// it.
type Repository struct {
	ref.Repository
	rs *Registries
}

// notice makes a Notice about the repository.
func (r Repository) notice(op, below string) Notice {
	return Notice{Host: r.Host, Path: r.Path, Op: op, Below: below}
}

// fmtShowing makes the message for something that is shown as it was some time ago.
func fmtShowing(what string, ago time.Duration, err error) error {
	return fmt.Errorf("showing %s as it was %s ago: %w", what, ago.Round(time.Second), err)
}

// visit notes that the repository exists, because its registry just showed something of it.
// Listings name it from now on.
func (r Repository) visit() { r.rs.visits.set(r.Repository, r.rs.answered(r.rs.o.ListTTL)) }

// exists asks the registry whether the repository exists, with one page of its tags. It doesn't
// ask if the repository has already shown something.
func (r Repository) exists(ctx context.Context) error {
	if r.rs.visits.get(r.Repository).Believed(r.rs.now()) || r.knownTags().Names != nil {
		return nil
	}
	if err := r.refused(); err != nil {
		return err
	}
	for _, err := range r.rs.o.Client.TagPages(ctx, r.Repository) {
		if errors.Is(err, registry.ErrNotFound) && r.answersForATag(ctx) {
			break
		}
		if errors.Is(err, registry.ErrNotFound) {
			r.rs.visits.deny(r.Repository, r.rs.denied())
		}
		if err != nil {
			return err
		}
		break
	}
	r.visit()
	return nil
}

// confirmed is exists, except that the last answer counts if the registry is out of reach or
// doesn't list tags. If it is out of reach, a person is told.
func (r Repository) confirmed(ctx context.Context) error {
	err := r.exists(ctx)
	out := registry.OutOfReach(err)
	if !out && !refuses(err) {
		return err
	}
	seen, tell := r.rs.visits.showOn(r.Repository, r.rs.now())
	switch {
	case !seen.Known() && errors.Is(err, registry.ErrUnsupported):
		return fmt.Errorf("nothing tells of such a repository: %w: %w", registry.ErrNotFound, err)
	case !seen.Known():
		return err
	case out && tell:
		r.rs.showing(r.notice("opendir", ""), "the repository", seen.Since, err)
	}
	return nil
}

// Want tells the cache how to get a blob of the repository: its digest and size count, and its
// URLs if the repository lacks it. A size of -1 isn't known. If a mirror's bytes are wrong, the
// blob is got from the registry itself; if those of a URL are, from another URL.
func (r Repository) Want(d v1.Descriptor) cache.Want {
	var mirrored, fromURL atomic.Bool // whether bytes came from there, since the last Doubt
	client := r.rs.o.Client
	by := func(get func(context.Context, ref.Repository, v1.Descriptor, int64, int64) (*registry.Body, error)) cache.Fetch {
		return func(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
			b, err := get(ctx, r.Repository, d, offset, length)
			if errors.Is(err, registry.ErrNoPlace) {
				return nil, cache.ErrNoPlace
			}
			if err != nil {
				return nil, err
			}
			if !b.FromURL() {
				r.visit()
			}
			return &tracedBody{b, &mirrored, &fromURL}, nil
		}
	}
	return cache.Want{
		Digest: d.Digest, Size: d.Size, From: r.String(),
		Fetch: by(client.BlobRange), Part: by(client.BlobPart),
		Doubt: func() bool {
			m, u := mirrored.Swap(false), fromURL.Swap(false)
			if m || u {
				client.Doubt(r.Repository, d.Digest)
			}
			return m || u && len(d.URLs) > 1
		},
	}
}

// tracedBody notes in Close whether any of its bytes came from a mirror, or from a URL of the
// descriptor.
type tracedBody struct {
	*registry.Body
	mirrored, fromURL *atomic.Bool
}

func (b *tracedBody) Close() error {
	if b.Mirrored() {
		b.mirrored.Store(true)
	}
	if b.FromURL() {
		b.fromURL.Store(true)
	}
	return b.Body.Close()
}
