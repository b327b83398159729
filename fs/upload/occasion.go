package upload

import (
	"maps"

	"github.com/opencontainers/go-digest"
)

// occasion says why a layout is looked at. Either its index.json was written or the push of
// its tag is due (rewritten), or a piece came that its entries waited for (arrival).
type occasion struct {
	piece digest.Digest // the piece that came; "": none
}

// rewritten is the occasion of a written index.json: all its entries are looked at.
var rewritten = occasion{}

// arrival is the occasion of a piece that came.
func arrival(piece digest.Digest) occasion { return occasion{piece} }

// isArrival says whether a piece came.
func (o occasion) isArrival() bool { return o.piece != "" }

// stillMissing gives those of the pieces were that are still known to be missing.
// When a piece arrives, the registry isn't asked for the other ones again.
func (o occasion) stillMissing(were pieces) pieces {
	still := pieces{}
	if o.isArrival() {
		maps.Copy(still, were)
		delete(still, o.piece)
	}
	return still
}

// due gives the entries to push now. For a written index.json that is all of them. For the
// arrival of a piece, it is the entries that wait for the piece, and new entries.
func (o occasion) due(es []*entry) (now []*entry) {
	for _, e := range es {
		_, waited := e.missing[o.piece]
		if !o.isArrival() || waited || e.missing == nil && !e.tried {
			now = append(now, e)
		}
	}
	return now
}
