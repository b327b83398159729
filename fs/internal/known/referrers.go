package known

import (
	"context"
	"encoding/json"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry"
)

// Referrers are the referrers of a digest.
type Referrers struct {
	Answer
	Index       []byte          // an index.json with all of them; nil: not known
	Digest      digest.Digest   // of Index
	Descriptors []v1.Descriptor // as in Index
}

// newReferrers makes one index of the referrers that a registry gave.
func newReferrers(a Answer, ds []v1.Descriptor) (Referrers, error) {
	if ds == nil {
		ds = []v1.Descriptor{}
	}
	index, err := json.Marshal(v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageIndex,
		Manifests: ds,
	})
	if err != nil {
		return Referrers{}, err
	}
	index = append(index, '\n')
	return Referrers{a, index, digest.FromBytes(index), ds}, nil
}

// Referrers gives the referrers of a digest. If the registry is out of reach, its last answer
// counts, and a person is told.
func (r Repository) Referrers(ctx context.Context, subject digest.Digest) (Referrers, error) {
	key := digestKey{r.Repository, subject}
	if known := r.rs.referrers.Get(key); known.Believed(r.rs.now()) {
		return known, nil
	}
	rs, err := r.rs.referring.do(ctx, key, func(ctx context.Context) (Referrers, error) {
		moment := r.rs.changes.now()
		rs, err := r.rs.o.Client.Referrers(ctx, r.Repository, subject, "")
		if err != nil {
			return Referrers{}, err
		}
		got, err := newReferrers(r.rs.answered(r.rs.o.ListTTL), rs.Descriptors)
		if err != nil {
			return Referrers{}, err
		}
		r.rs.referrers.addUnless(key, got, func() bool { return r.rs.changes.since(r.Repository, moment) })
		return got, nil
	})
	if registry.OutOfReach(err) {
		if old := r.oldReferrers(subject, err); old.Index != nil {
			return old, nil
		}
	}
	return rs, err
}

// oldReferrers shows the last answer for a moment more; zero: there is none.
func (r Repository) oldReferrers(subject digest.Digest, err error) Referrers {
	key := digestKey{r.Repository, subject}
	if known := r.rs.referrers.Get(key); known.Index == nil {
		return Referrers{}
	}
	tell := false
	old := r.rs.referrers.update(key, func(known Referrers) Referrers {
		tell = known.Index != nil && known.showOn(r.rs.now())
		return known
	})
	if tell {
		at := r.notice("lookup", "referrers/"+subject.Algorithm().String()+"/"+subject.Encoded())
		r.rs.showing(at, "the referrers", old.Since, err)
	}
	return old
}

// dropReferrers drops the known referrers of a subject, because they have changed.
func (r Repository) dropReferrers(subject digest.Digest) {
	r.rs.changes.changed(r.Repository)
	r.rs.referrers.Remove(digestKey{r.Repository, subject})
}
