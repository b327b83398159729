package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/auth"
	"github.com/ocifs/ocifs/registry/ref"
)

// maxRaces is how often a fallback tag that others write too is read again.
const maxRaces = 5

// addReferrer lists a manifest with its subject by the tag schema (spec, "Pushing
// Manifests with Subject").
func (c *Client) addReferrer(ctx context.Context, r ref.Repository, m *Manifest) error {
	d := m.Descriptor()
	d.ArtifactType, d.Annotations = m.ArtifactType, m.Annotations
	if d.ArtifactType == "" && m.Config != nil {
		d.ArtifactType = m.Config.MediaType
	}
	entry, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("%s: %w", named(r, m.Digest.String()), corrupt("a descriptor of it: %w", err))
	}
	if err := json.Unmarshal(entry, &d); err != nil { // as it will be read
		return err
	}
	return c.changeReferrers(ctx, r, m.Subject.Digest, func(all []json.RawMessage) ([]json.RawMessage, bool) {
		var kept []json.RawMessage
		n, same := 0, false
		for _, raw := range all {
			var old v1.Descriptor
			if json.Unmarshal(raw, &old) != nil || old.Digest != m.Digest {
				kept = append(kept, raw)
				continue
			}
			if n++; n == 1 {
				kept, same = append(kept, entry), reflect.DeepEqual(old, d)
			}
		}
		if n == 0 {
			kept = append(kept, entry)
		}
		return kept, n != 1 || !same
	})
}

// dropReferrer takes a manifest off its subject's list by the tag schema.
func (c *Client) dropReferrer(ctx context.Context, r ref.Repository, m *Manifest) error {
	return c.changeReferrers(ctx, r, m.Subject.Digest, func(all []json.RawMessage) ([]json.RawMessage, bool) {
		kept := slices.DeleteFunc(slices.Clone(all), func(raw json.RawMessage) bool {
			var old v1.Descriptor
			return json.Unmarshal(raw, &old) == nil && old.Digest == m.Digest
		})
		return kept, len(kept) != len(all)
	})
}

// changeReferrers reads the index that lists what refers to a subject, has it
// changed, and writes it back, unless there was nothing to change. All else that is
// in the index stays. One caller of a Client does that at a time; others that write
// it too are noticed by a condition of the PUT, where the registry knows conditions.
func (c *Client) changeReferrers(ctx context.Context, r ref.Repository, subject digest.Digest, change func([]json.RawMessage) ([]json.RawMessage, bool)) error {
	tag := fallbackTag(subject)
	done, err := c.turn(ctx, named(r, tag))
	if err != nil {
		return fmt.Errorf("%s: %w", named(r, tag), err)
	}
	defer done()
	conditions, nothing := true, 0
	for attempt := 0; ; attempt++ {
		index, etag, err := c.readReferrers(ctx, r, tag, subject)
		if err != nil {
			return fmt.Errorf("the list of what refers to %s: %w", subject, err)
		}
		var all []json.RawMessage
		if err := json.Unmarshal(index["manifests"], &all); err != nil {
			return fmt.Errorf("the list of what refers to %s: %w", subject, corrupt("%w", err))
		}
		all, changed := change(all)
		if !changed {
			return nil
		}
		if all == nil {
			all = []json.RawMessage{}
		}
		if index["manifests"], err = json.Marshal(all); err != nil {
			return err
		}
		raw, err := json.Marshal(index)
		if err != nil {
			return err
		}
		m, err := ParseManifest(raw, v1.MediaTypeImageIndex, "")
		if err != nil {
			return fmt.Errorf("the list of what refers to %s: %w", subject, err)
		}
		k := putCall(r, m, tag)
		conditional := conditions && k.onlyIf(etag)
		_, err = c.put(ctx, k, m)
		var e *Error
		if errors.As(err, &e) && conditional && attempt < maxRaces {
			if etag == noETag {
				nothing++
			}
			switch {
			case e.Status == http.StatusPreconditionFailed:
				// Another was faster. A registry that says so twice of a tag that isn't there
				// doesn't know what it was asked.
				conditions = nothing < 2
				continue
			case e.Status == http.StatusNotImplemented, e.Status == http.StatusBadRequest && e.Kind == ErrServer:
				conditions = false
				continue
			}
		}
		if err != nil {
			return fmt.Errorf("the list of what refers to %s: %w", subject, err)
		}
		return nil
	}
}

// noETag stands for the ETag of a tag that isn't there.
const noETag = "*"

// onlyIf makes a PUT depend on what was read before (RFC 9110, section 13.1), and says whether it
// can: on the ETag, unless that is weak, which no If-Match matches; or on that nothing was there.
func (k call) onlyIf(etag string) bool {
	switch {
	case etag == noETag:
		k.header.Set("If-None-Match", "*")
	case etag == "" || strings.HasPrefix(etag, "W/"):
		return false
	default:
		k.header.Set("If-Match", etag)
	}
	return true
}

// readReferrers reads the index of the tag schema, as its fields. No tag is an empty
// one, whose ETag is noETag. A tag that holds something else is left alone.
func (c *Client) readReferrers(ctx context.Context, r ref.Repository, tag string, subject digest.Digest) (index map[string]json.RawMessage, etag string, err error) {
	k := manifestCall(http.MethodGet, r, tag)
	k.access.Do = auth.Push
	m, err := c.manifest(ctx, k, "")
	switch {
	case errors.Is(err, ErrNotFound):
		return map[string]json.RawMessage{
			"schemaVersion": json.RawMessage("2"), "manifests": json.RawMessage("[]"),
			"mediaType": json.RawMessage(`"` + v1.MediaTypeImageIndex + `"`),
		}, noETag, nil
	case err != nil:
		return nil, "", err
	case m.Digest == subject:
		return nil, "", &Error{Op: k.op(), Name: k.name, Kind: ErrExists, Err: errors.New("the registry gives the subject itself for it")}
	case m.MediaType != v1.MediaTypeImageIndex:
		return nil, "", &Error{Op: k.op(), Name: k.name, Kind: ErrExists, Err: fmt.Errorf("it holds %s, which isn't overwritten", plain(m.MediaType))}
	}
	if err := json.Unmarshal(m.Raw, &index); err != nil {
		return nil, "", &Error{Op: k.op(), Name: k.name, Kind: ErrCorrupt, Err: err}
	}
	return index, m.etag, nil
}

// turn is held by the one who changes something of a name.
type turn struct {
	held  chan struct{}
	users int
}

// turn waits until no other caller holds the name.
func (c *Client) turn(ctx context.Context, name string) (done func(), err error) {
	c.mu.Lock()
	t := c.turns[name]
	if t == nil {
		t = &turn{held: make(chan struct{}, 1)}
		c.turns[name] = t
	}
	t.users++
	c.mu.Unlock()
	leave := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if t.users--; t.users == 0 {
			delete(c.turns, name)
		}
	}
	select {
	case t.held <- struct{}{}:
		return func() { <-t.held; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
