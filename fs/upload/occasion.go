package upload

import (
	"maps"

	"github.com/opencontainers/go-digest"
)

// occasion is why a layout is looked at: its index.json was written, or the push of its tag
// is due (rewritten), or a piece came that its entries waited for (arrival).
type occasion struct {
	piece digest.Digest // the piece that came; "": none did
}

// rewritten is the occasion of an index.json that was written: all of it is looked at.
var rewritten = occasion{}

// arrival is the occasion of a piece that came.
func arrival(piece digest.Digest) occasion { return occasion{piece} }

// isArrival says whether a piece came.
func (o occasion) isArrival() bool { return o.piece != "" }

// stillMissing gives the pieces that are known to be missing, of those that were. The registry
// isn't asked for them again because another one came.
func (o occasion) stillMissing(were pieces) pieces {
	still := pieces{}
	if o.isArrival() {
		maps.Copy(still, were)
		delete(still, o.piece)
	}
	return still
}

// due gives the entries to be pushed now: all of an index.json that was written, and where a
// piece came those that waited for it, and new ones.
func (o occasion) due(es []*entry) (now []*entry) {
	for _, e := range es {
		_, waited := e.missing[o.piece]
		if !o.isArrival() || waited || e.missing == nil && !e.tried {
			now = append(now, e)
		}
	}
	return now
}
