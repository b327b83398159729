package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/auth"
	"github.com/ocifs/ocifs/registry/ref"
)

// Push says what is known of a blob that is pushed, and who wants to be told.
type Push struct {
	// From are repositories that have the blob. The registry is asked to mount it from each
	// in turn, until it does or wants the bytes; those of other hosts are passed over.
	From []ref.Repository
	// Absent: the repository is known not to have it, and isn't asked.
	Absent bool
	// Ahead is what PushAhead has sent of it; nil: nothing. The other fields but Sent
	// don't count then.
	Ahead *Ahead
	// Sent is told how many bytes of the blob have been sent, by one goroutine at a
	// time, and must return at once. It may go back, when a part is sent again. nil:
	// nobody is told.
	Sent func(total int64)
}

// Pushed says what came of a push.
type Pushed struct {
	Existed bool  // the repository had it
	Mounted bool  // it came from another repository of the host
	Sent    int64 // bytes that left, those that were sent again included
}

// PushBlob brings a blob into a repository (spec, "Pushing blobs"): nothing is sent
// where the repository has it, it is mounted where another repository is known to
// have it, and else sent in one piece, or in chunks where the registry doesn't take
// it so. What breaks off is continued from where the registry says that it stopped,
// a few times. desc says its digest and its size; the registry checks the one, and
// answers ErrCorrupt where the bytes haven't got it.
//
// open is called once, when bytes are needed, and never for an empty blob; what it
// gave is closed before PushBlob returns. An error of the source comes back as it is,
// wrapped. Options.Uploads bounds the blobs that are sent to a host at once: others wait,
// before their sessions begin. ctx is over all of it; a session that doesn't come to
// its end is cancelled.
func (c *Client) PushBlob(ctx context.Context, r ref.Repository, desc v1.Descriptor, open Opener, p Push) (done Pushed, err error) {
	if err := checkDigest("POST blob upload", r, desc.Digest); err != nil {
		return done, err
	}
	if desc.Size < 0 {
		return done, fmt.Errorf("%s: %w", named(r, desc.Digest.String()), corrupt("a blob of %d bytes", desc.Size))
	}
	u := &upload{c: c, r: r, desc: desc, access: auth.Access{Do: auth.Push}, progress: p.Sent, done: &done}
	if p.Ahead != nil {
		err = u.goOn(ctx, p.Ahead, open)
		return done, err
	}
	var from []ref.Repository
	for _, f := range p.From {
		if f.Host == r.Host && f != r && checkRepository("POST blob upload", f) == nil {
			from = append(from, f)
		}
	}
	if len(from) > 0 {
		u.access.From = from[0].Path // one token for all that follows
	}
	if !p.Absent {
		if done.Existed, err = u.exists(ctx); err != nil || done.Existed {
			return done, err
		}
	}
	defer func() { u.abandon() }()
	for _, f := range from {
		if done.Mounted, err = u.mountOrGoOn(ctx, f); err != nil || done.Mounted {
			return done, err
		}
		if u.at != nil {
			break // declined, with a session to go on with
		}
	}
	if u.at == nil {
		u.access.From = ""
	}
	err = u.limited(ctx, open)
	return done, err
}

// limited sends the blob once Options.Uploads lets it.
func (u *upload) limited(ctx context.Context, open Opener) error {
	release, err := u.c.uploads.take(ctx, u.r.Host)
	if err != nil {
		return fmt.Errorf("%s: %w", u.name(), err)
	}
	defer release()
	return u.run(ctx, open)
}

// goOn sends what is left of a blob that was sent ahead.
func (u *upload) goOn(ctx context.Context, a *Ahead, open Opener) error {
	if a.existed {
		u.done.Existed = true
		return nil
	}
	was := a.u
	a.u = nil
	u.at, u.origin, u.foreign, u.acked, u.high, u.resumed = was.at, was.origin, was.foreign, was.acked, was.high, was.resumed
	u.least, u.frozen, u.done.Sent = was.least, was.frozen, was.done.Sent
	defer func() { u.abandon() }()
	if u.acked > u.desc.Size { // more than there is of it
		u.abandon()
	}
	return u.limited(ctx, open)
}

// upload is a blob on its way to a repository, and the session that it goes by. It
// isn't safe for concurrent use.
type upload struct {
	c        *Client
	r        ref.Repository
	desc     v1.Descriptor
	access   auth.Access
	progress func(int64) // is given the bytes sent so far; nil: nobody is
	src      Source
	done     *Pushed

	// The session.
	at      *url.URL // nil: there is none
	origin  *url.URL // of the registry that gave it
	foreign bool     // it is on another server
	acked   int64    // bytes that it has, as far as is known
	high    int64    // bytes that may have come to it
	resumed bool     // acked is what the registry said, not what was counted

	// How it is sent.
	inParts bool  // not in one piece
	chunk   int64 // bytes of one part, 0: all that is left
	shrunk  bool  // chunk is smaller than a part that was refused
	least   int64 // of a part but the last, as the registry wants it
	frozen  bool  // what the registry says of its progress is nonsense
	noPatch bool  // the registry doesn't take parts
	refusal error // of sending it in one piece

	// What went wrong on end.
	phase  phase
	tries  int
	stalls int
	waited time.Duration // as the registry asked
	short  int           // parts of which the registry took next to nothing
	best   int64         // the most that any session had
}

func (u *upload) name() string { return named(u.r, u.desc.Digest.String()) }

// exists asks whether the repository has the blob. A registry that can't tell, or
// won't, says no.
func (u *upload) exists(ctx context.Context) (bool, error) {
	k := blobCall(http.MethodHead, u.r, u.desc.Digest)
	k.access = u.access
	resp, err := u.c.head(ctx, k)
	if err == nil {
		resp.Body.Close()
		return true, nil
	}
	var e *Error
	if !errors.As(err, &e) || e.Status == 0 && e.Kind != ErrDenied || e.Kind == ErrTooManyRequests {
		return false, err
	}
	return false, nil
}

// lasting is an error that another attempt doesn't cure.
type lasting struct{ error }

func (e lasting) Unwrap() error { return e.error }

// openSource opens the bytes, once, when some are needed.
func (u *upload) openSource(ctx context.Context, open Opener) error {
	if u.src != nil || u.desc.Size == 0 {
		return nil
	}
	src, err := open(ctx)
	if err != nil {
		return lasting{fmt.Errorf("%s: opening the blob: %w", u.name(), err)}
	}
	u.src = src
	return nil
}

// withDigest adds the digest to a session's address, whose query stays as it is.
func withDigest(at *url.URL, d digest.Digest) *url.URL {
	u := *at
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += "digest=" + url.QueryEscape(d.String())
	return &u
}
