package registry

import (
	"fmt"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/ref"
)

// What can't be valid is never sent: it isn't at the registry, and could lead
// anywhere below its API. Each public method checks what it is given. op is what was to be done,
// as Error.Op: "GET manifest".

// impossible makes an *Error of a name that can't be.
func impossible(op, name string, err error) error {
	return &Error{Op: op, Name: plain(name), Kind: ErrNotFound, Err: err}
}

// checkRepository says whether r can be a repository.
func checkRepository(op string, r ref.Repository) error {
	if _, err := ref.NewRepository(r.Host, r.Path); err != nil {
		return impossible(op, r.String(), err)
	}
	return nil
}

// checkReference says whether reference is a tag or a digest; d is "" for a tag.
func checkReference(op string, r ref.Repository, reference string) (d digest.Digest, err error) {
	if err := checkRepository(op, r); err != nil {
		return "", err
	}
	if ref.ValidTag(reference) {
		return "", nil
	}
	if reference == "" {
		return "", impossible(op, r.String(), fmt.Errorf("%w: there is neither a tag nor a digest", ref.ErrInvalid))
	}
	if d, err = ref.ParseDigest(reference); err != nil {
		return "", impossible(op, r.String(), fmt.Errorf("%q is no tag, and %w", reference, err))
	}
	return d, nil
}

// checkDigest says whether d is a digest. A tag isn't: it would be sent in its place.
func checkDigest(op string, r ref.Repository, d digest.Digest) error {
	if err := checkRepository(op, r); err != nil {
		return err
	}
	if _, err := ref.ParseDigest(d.String()); err != nil {
		return impossible(op, r.String(), err)
	}
	return nil
}

// hasDigest says whether a descriptor's digest is one that can be asked for.
func hasDigest(d v1.Descriptor) bool {
	_, err := ref.ParseDigest(d.Digest.String())
	return err == nil
}

// checkTag says whether tag is a tag. A digest isn't.
func checkTag(op string, r ref.Repository, tag string) error {
	if err := checkRepository(op, r); err != nil {
		return err
	}
	if !ref.ValidTag(tag) {
		return impossible(op, r.String(), fmt.Errorf("%q is no tag", tag))
	}
	return nil
}

// checkManifest says whether m and what it refers to have digests.
func checkManifest(op string, r ref.Repository, m *Manifest) error {
	if err := checkDigest(op, r, m.Digest); err != nil || m.Subject == nil {
		return err
	}
	return checkDigest(op, r, m.Subject.Digest)
}
