package registrytest

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry/ref"
)

// sessionState is the query of a session's address. It has to come back as it was
// given.
const sessionState = "_state=x/y"

// sessions are the uploads that aren't closed.
type sessions struct {
	mu   sync.Mutex
	n    int
	open map[string]*session
}

type session struct {
	repo  string
	have  []byte
	short bool // its last part was shorter than is allowed within
	stuck bool // a part broke off, and Traits.Stuck
}

func newSessions() sessions { return sessions{open: map[string]*session{}} }

// Sessions says how many uploads were begun and are neither closed nor cancelled.
func (s *Server) Sessions() int {
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	return len(s.sessions.open)
}

// upload answers for uploads (spec, "Pushing blobs").
func (s *Server) upload(x *Exchange) *Answer {
	if x.Reference == "" {
		if x.Method != http.MethodPost {
			return refuse(http.StatusMethodNotAllowed, "UNSUPPORTED")
		}
		return s.begin(x)
	}
	s.sessions.mu.Lock()
	u := s.sessions.open[x.Reference]
	stuck := u != nil && u.stuck
	s.sessions.mu.Unlock()
	if u == nil || u.repo != x.Repository || stuck {
		return refuse(http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
	}
	if x.URL.Query().Get("_state") != "x/y" {
		s.t.Errorf("the query of the session is lost: %q", x.URL.RawQuery)
		return refuse(http.StatusBadRequest, "BLOB_UPLOAD_INVALID")
	}
	switch x.Method {
	case http.MethodGet:
		return s.told(x, x.Reference, http.StatusNoContent)
	case http.MethodDelete:
		s.end(x.Reference)
		return Plain(http.StatusNoContent, "")
	case http.MethodPatch:
		return s.patch(x, u)
	case http.MethodPut:
		return s.finish(x, u)
	}
	return refuse(http.StatusMethodNotAllowed, "UNSUPPORTED")
}

// begin begins a session, or mounts, or takes all of a blob.
func (s *Server) begin(x *Exchange) *Answer {
	q := x.URL.Query()
	if from := q.Get("from"); from != "" && s.Traits().Mounts && s.may(x, from, "pull") {
		if a := s.mount(x, from, digest.Digest(q.Get("mount"))); a != nil {
			return a
		}
	}
	if algo := q.Get("digest-algorithm"); algo != "" && !ref.ValidAlgorithm(algo) {
		return refuse(http.StatusBadRequest, "DIGEST_INVALID")
	}
	u := &session{repo: x.Repository}
	if q.Has("digest") {
		return s.finish(x, u)
	}
	s.sessions.mu.Lock()
	s.sessions.n++
	id := "s" + strconv.Itoa(s.sessions.n)
	s.sessions.open[id] = u
	s.sessions.mu.Unlock()
	return s.told(x, id, http.StatusAccepted)
}

func (s *Server) mount(x *Exchange, from string, d digest.Digest) *Answer {
	s.content.mu.Lock()
	defer s.content.mu.Unlock()
	o := s.content.repo(from).blobs[d]
	if o == nil {
		return nil
	}
	s.content.repo(x.Repository).blobs[d] = &object{raw: o.raw, late: s.Traits().Late}
	return s.there(x, d)
}

// there says where a blob is now.
func (s *Server) there(x *Exchange, d digest.Digest) *Answer {
	return Plain(http.StatusCreated, "", "Docker-Content-Digest", d.String(), "Location", s.opts.Base+"/"+x.Repository+"/blobs/"+d.String())
}

// told says what a session has.
func (s *Server) told(x *Exchange, id string, status int) *Answer {
	traits := s.Traits()
	a := Plain(status, "", "Location", traits.Sessions+s.opts.Base+"/"+x.Repository+"/blobs/uploads/"+id+"?"+sessionState, "Docker-Upload-UUID", id)
	s.sessions.mu.Lock()
	last := 0
	if u := s.sessions.open[id]; u != nil {
		last = max(len(u.have)-1, 0)
	}
	s.sessions.mu.Unlock()
	if traits.FrozenRange {
		last = 3
	}
	a.Header.Set("Range", "0-"+strconv.Itoa(last))
	if traits.ChunkMin > 0 {
		a.Header.Set("OCI-Chunk-Min-Length", strconv.Itoa(traits.ChunkMin))
	}
	return a
}

func (s *Server) end(id string) {
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	delete(s.sessions.open, id)
}

// part says whether the Content-Range of a part, if there is one, goes on where the
// session is.
func (u *session) follows(contentRange string, n int) bool {
	var first, last int
	k, err := fmt.Sscanf(contentRange, "%d-%d", &first, &last)
	return k == 2 && err == nil && first == len(u.have) && last-first+1 == n
}

// patch takes a part. What came of one that broke off is kept.
func (s *Server) patch(x *Exchange, u *session) *Answer {
	b, err := io.ReadAll(x.Body)
	if err != nil {
		s.take(u, b)
		return nil
	}
	traits := s.Traits()
	if traits.PartMax > 0 && len(b) > traits.PartMax {
		return tooLarge(traits)
	}
	s.sessions.mu.Lock()
	streamed := traits.Streamed && x.ContentLength < 0 && x.Header.Get("Content-Range") == ""
	ok := (streamed || u.follows(x.Header.Get("Content-Range"), len(b))) && !u.short
	if ok {
		u.have, u.short = append(u.have, b...), len(b) < traits.ChunkMin
	}
	s.sessions.mu.Unlock()
	switch {
	case !ok:
		a := s.told(x, x.Reference, http.StatusRequestedRangeNotSatisfiable)
		return a
	case traits.FrozenRange:
		return s.told(x, x.Reference, http.StatusCreated)
	}
	return s.told(x, x.Reference, http.StatusAccepted)
}

// tooLarge refuses a part in GHCR's words.
func tooLarge(traits Traits) *Answer {
	status := traits.TooLarge
	if status == 0 {
		status = http.StatusRequestEntityTooLarge
	}
	body := fmt.Sprintf(`{"errors":[{"code":"BLOB_UPLOAD_INVALID","message":"the request body is too large and exceeds the maximum permissible limit of %d bytes"}]}`, traits.PartMax)
	return Plain(status, body, "Content-Type", "application/json")
}

func (s *Server) take(u *session, b []byte) {
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	u.have, u.stuck = append(u.have, b...), s.Traits().Stuck
}

// finish takes the rest, and makes it a blob.
func (s *Server) finish(x *Exchange, u *session) *Answer {
	b, err := io.ReadAll(x.Body)
	s.sessions.mu.Lock()
	if r := x.Header.Get("Content-Range"); r != "" && err == nil && !u.follows(r, len(b)) {
		s.sessions.mu.Unlock()
		return s.told(x, x.Reference, http.StatusRequestedRangeNotSatisfiable)
	}
	u.have = append(u.have, b...)
	raw := u.have
	s.sessions.mu.Unlock()
	if err != nil {
		return nil
	}
	d, err := ref.ParseDigest(x.URL.Query().Get("digest"))
	if err != nil || d.Algorithm().FromBytes(raw) != d {
		return refuse(http.StatusBadRequest, "DIGEST_INVALID")
	}
	s.content.mu.Lock()
	s.content.repo(x.Repository).blobs[d] = &object{raw: raw, late: s.Traits().Late}
	s.content.mu.Unlock()
	s.end(x.Reference)
	return s.there(x, d)
}
