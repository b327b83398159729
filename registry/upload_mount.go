package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/auth"
	"github.com/ocifs/ocifs/registry/internal/transport"
	"github.com/ocifs/ocifs/registry/ref"
)

// MountBlob takes a blob over from another repository of the same registry (spec, "Mounting a
// blob from another repository"): no byte of it is sent. desc needs a digest alone.
//
// ErrNotMounted: the registry doesn't do that, from has no such blob, or from is of another
// registry; PushBlob brings the blob then. An upload session that the registry begins in place
// of a mount is cancelled, and Close of the client waits for that. PushBlob with Push.From
// mounts where it can, and goes on with such a session.
func (c *Client) MountBlob(ctx context.Context, r ref.Repository, desc v1.Descriptor, from ref.Repository) error {
	if err := checkDigest("POST blob upload", r, desc.Digest); err != nil {
		return err
	}
	if err := checkRepository("POST blob upload", from); err != nil {
		return err
	}
	if from.Host != r.Host {
		return fmt.Errorf("mounting %s: %w: %s is of another registry, %s", named(r, desc.Digest.String()), ErrNotMounted, from, from.Host)
	}
	u := &upload{c: c, r: r, desc: desc, access: auth.Access{Do: auth.Push}, done: &Pushed{}}
	defer func() { u.abandon() }()
	mounted, err := u.mount(ctx, from)
	var e *Error
	switch {
	case mounted:
		return err // as another blob, maybe
	case err == nil:
		return fmt.Errorf("mounting %s from %s: %w: it wants the bytes instead", u.name(), from, ErrNotMounted)
	case errors.As(err, &e) && (e.Kind == ErrNotFound || e.Kind == ErrUnsupported || e.Status == http.StatusBadRequest):
		return fmt.Errorf("mounting %s from %s: %w: %w", u.name(), from, ErrNotMounted, err)
	}
	return err
}

// mount asks the registry to take the blob from another of its repositories. It may begin a
// session instead.
func (u *upload) mount(ctx context.Context, from ref.Repository) (mounted bool, err error) {
	u.access.From = from.Path
	k := u.startCall("mount=" + url.QueryEscape(u.desc.Digest.String()) + "&from=" + url.QueryEscape(from.Path))
	resp, err := u.c.do(ctx, k, http.StatusCreated, http.StatusAccepted)
	switch {
	case err != nil:
		return false, err
	case resp.StatusCode == http.StatusAccepted && resp.Header.Get("Location") != "":
		return false, u.begun(resp, k)
	}
	transport.Aside(resp)
	if resp.StatusCode == http.StatusAccepted {
		return false, nil // no mount, and no session to go on with either
	}
	return true, k.checkDigest(resp, u.desc.Digest)
}

// mountOrGoOn is mount for who can send the blob instead: what the registry refuses is no error.
func (u *upload) mountOrGoOn(ctx context.Context, from ref.Repository) (mounted bool, err error) {
	mounted, err = u.mount(ctx, from)
	if err != nil && ctx.Err() == nil && u.at == nil {
		u.c.opts.Logger.Debug("a blob can't be mounted", "blob", u.name(), "from", from, "cause", err)
		return false, nil
	}
	return mounted, err
}
