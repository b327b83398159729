package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/auth"
	"github.com/ocifs/ocifs/registry/ref"
)

const (
	// quietTimeout is how long a body waits for its writer: less than servers and
	// proxies wait for a body, which is a minute mostly.
	quietTimeout = 10 * time.Second
	// aheadPiece is how much has to have come, in bytes, for another part to be sent
	// after the first one ended: each has a price at the registry.
	aheadPiece = 8 << 20
	// lastTimeout bounds how long a part that is interrupted takes to end in order: what was
	// written to the connection goes on its way first, some MiB on a slow line.
	lastTimeout = 5 * time.Second
	// growthWork stands for the size of a body whose end isn't known.
	growthWork = 1 << 30
)

// Growing is a Source that is being written, from its start on.
type Growing interface {
	Source
	// Grown says how many bytes there are from the start on, and whether more may come.
	// The channel is closed some time after either has changed.
	Grown() (size int64, more bool, changed <-chan struct{})
}

// Ahead is a blob that was sent as far as it was written. Either PushBlob is given it,
// once, or it is cancelled.
type Ahead struct {
	u       *upload // nil: the repository has the blob
	existed bool
}

// Cancel gives up what was sent.
func (a *Ahead) Cancel() {
	if a.u != nil {
		a.u.abandon()
	}
}

// PushAhead sends a blob to a repository while it is being written, until there is no
// more of it: PushBlob then sends the rest, if there is any, and closes the session.
// Until then nobody sees anything of it at the registry. Nothing is sent where the
// repository has the blob. A digest that isn't known yet is "": PushBlob tells it, and
// the repository isn't asked for the blob.
//
// The first request goes on for as long as bytes come, as those of docker do, and
// counts among Options.Uploads, where nobody waits for that. It ends when there is
// nothing to be sent at the moment and another upload waits, or when nothing
// came for ten seconds; what comes later goes in parts. What breaks off isn't
// continued: an error leaves nothing behind at the registry, and says nothing about
// whether the blob can be pushed as a whole. ErrNotAhead is of a host of which that is
// known. src is closed in any case.
func (c *Client) PushAhead(ctx context.Context, r ref.Repository, d digest.Digest, src Growing, p Push) (*Ahead, error) {
	defer src.Close()
	err := checkRepository("POST blob upload", r)
	if d != "" {
		err = checkDigest("POST blob upload", r, d)
	}
	if err != nil {
		return nil, err
	}
	if !c.learnt.takesAhead(r.Host) {
		return nil, fmt.Errorf("%s: %w", named(r, d.String()), ErrNotAhead)
	}
	u := &upload{c: c, r: r, desc: v1.Descriptor{Digest: d}, access: auth.Access{Do: auth.Push}, progress: p.Sent, done: new(Pushed), src: src}
	if d != "" && !p.Absent {
		existed, err := u.exists(ctx)
		if err != nil || existed {
			return &Ahead{existed: existed}, err
		}
	}
	if err := u.follow(ctx, src); err != nil {
		u.abandon()
		if u.phase != starting && ctx.Err() == nil {
			// Whatever it was, the next blob needn't be sent twice for it.
			c.learnt.lacksAhead(r.Host)
		}
		return nil, err
	}
	u.src, u.progress = nil, nil
	// What it has is what we sent, which may not be what became of the blob.
	u.resumed = true
	return &Ahead{u: u}, nil
}

// follow sends what is written, until nothing more comes.
func (u *upload) follow(ctx context.Context, src Growing) error {
	for {
		size, more, changed := src.Grown()
		if !more {
			return nil
		}
		if u.acked == 0 && size > 0 || size-u.acked >= u.c.bounds.piece {
			if release, wanted, ok := u.c.uploads.spare(u.r.Host); ok {
				err := u.next(ctx, src, size, wanted)
				release()
				if err != nil {
					return err
				}
				continue
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// next sends the next part of what is written: the first one for as long as more comes.
// If it is interrupted, that one is ended in order, so that the answer says where the session
// is now: distribution 2 answers 404 to the DELETE of a session whose part broke off, and keeps
// its bytes for a week.
func (u *upload) next(ctx context.Context, src Growing, size int64, wanted <-chan struct{}) error {
	if u.at == nil {
		if err := u.start(ctx); err != nil {
			return err
		}
	}
	u.desc.Size = size
	if u.acked > 0 {
		return u.part(ctx)
	}
	u.phase = parting
	g := &growth{ended: ctx.Done(), src: src, wanted: wanted, quiet: u.c.bounds.quiet, over: make(chan struct{})}
	sending, cancel := outlasting(ctx, lastTimeout)
	defer cancel()
	err := u.patch(sending, u.sessionCall(http.MethodPatch, u.at), &part{u: u, growth: g})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// outlasting gives a context that ends some time after ctx.
func outlasting(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		t := time.NewTimer(by)
		defer t.Stop()
		select {
		case <-t.C:
			cancel()
		case <-longer.Done():
		}
	})
	return longer, func() { stop(); cancel() }
}

// growth is what a part that has no end yet is read by.
type growth struct {
	ended  <-chan struct{} // closed when whoever asks is interrupted: the part ends there
	src    Growing
	wanted <-chan struct{} // closed when another upload waits for this one to end
	quiet  time.Duration
	once   sync.Once
	over   chan struct{} // closed when the part has ended
}

func (g *growth) stop() { g.once.Do(func() { close(g.over) }) }

// growingReader waits for the writer of its bytes.
type growingReader struct {
	*partReader
	once   sync.Once
	closed chan struct{}
}

func (r *growingReader) Close() error {
	r.once.Do(func() { close(r.closed) })
	return nil
}

func (r *growingReader) Read(b []byte) (int, error) {
	g := r.p.growth
	var quiet <-chan time.Time
	for {
		select {
		case <-g.ended:
			return r.last()
		default:
		}
		n, changed, err := r.have(b)
		if n > 0 || err != nil {
			return n, err
		}
		if quiet == nil {
			t := time.NewTimer(g.quiet)
			defer t.Stop()
			quiet = t.C
		}
		select {
		case <-changed:
		case <-g.over:
			return 0, errPartOver
		case <-r.closed:
			return 0, errPartOver
		case <-g.ended:
			return r.last()
		case <-g.wanted:
			return r.last()
		case <-quiet:
			return r.last()
		}
	}
}

// have reads what is there. It never waits.
func (r *growingReader) have(b []byte) (n int, changed <-chan struct{}, err error) {
	p := r.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cur != r.partReader {
		return 0, nil, errPartOver
	}
	if len(b) == 0 {
		return 0, nil, io.ErrShortBuffer
	}
	size, more, changed := p.growth.src.Grown()
	at := p.from + r.at
	if size <= at {
		if !more {
			p.n = r.at
			return 0, nil, io.EOF
		}
		return 0, changed, nil
	}
	n, err = p.growth.src.ReadAt(b[:min(int64(len(b)), size-at)], at)
	if n > 0 {
		err = nil // if there is more to say, the next call does
	} else if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		p.err = err
		return 0, nil, err
	}
	r.at += int64(n)
	p.u.sent(p.from+r.at, n)
	return n, nil, nil
}

// last ends the part where it is.
func (r *growingReader) last() (int, error) {
	p := r.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cur != r.partReader {
		return 0, errPartOver
	}
	p.n = r.at
	return 0, io.EOF
}
