package upload

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry"
)

// server is a registry in memory, as strict as distribution: a manifest whose pieces
// are missing is refused.
type server struct {
	*httptest.Server
	host string

	mu        sync.Mutex
	blobs     map[string]map[digest.Digest][]byte // by repository
	manifests map[string]map[string][]byte        // by repository, then tag or digest
	uploads   map[string][]byte
	next      int
	asked     []string // METHOD path
	received  int64    // bytes of blobs
	// fault answers a request in place of the registry where it says so.
	fault func(w http.ResponseWriter, r *http.Request) bool
}

func newServer(t *testing.T) *server {
	s := &server{blobs: map[string]map[digest.Digest][]byte{}, manifests: map[string]map[string][]byte{}, uploads: map[string][]byte{}}
	s.Server = httptest.NewServer(s)
	s.host = strings.TrimPrefix(s.URL, "http://")
	t.Cleanup(s.Close)
	return s
}

var paths = regexp.MustCompile(`^/v2/(.+)/(manifests|blobs|blobs/uploads|referrers)/([^/]*)$`)

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, r.Method+" "+r.URL.RequestURI())
	fault := s.fault
	s.mu.Unlock()
	if fault != nil && fault(w, r) {
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := paths.FindStringSubmatch(r.URL.Path)
	if m == nil {
		http.NotFound(w, r)
		return
	}
	switch repo, what, name := m[1], m[2], m[3]; what {
	case "manifests":
		s.manifest(w, r, repo, name, body)
	case "blobs":
		s.blob(w, r, repo, digest.Digest(name))
	case "blobs/uploads":
		s.upload(w, r, repo, name, body)
	default:
		http.NotFound(w, r)
	}
}

func (s *server) blob(w http.ResponseWriter, r *http.Request, repo string, d digest.Digest) {
	b, ok := s.blobs[repo][d]
	if !ok {
		refuse(w, http.StatusNotFound, "BLOB_UNKNOWN")
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	if r.Method == http.MethodGet {
		w.Write(b)
	}
}

func (s *server) upload(w http.ResponseWriter, r *http.Request, repo, id string, body []byte) {
	q := r.URL.Query()
	if r.Method == http.MethodPost {
		d := digest.Digest(q.Get("mount"))
		if b, ok := s.blobs[q.Get("from")][d]; ok {
			s.put(repo, d, b)
			w.WriteHeader(http.StatusCreated)
			return
		}
		s.next++
		id = fmt.Sprint("session", s.next)
		s.uploads[id] = nil
		w.Header().Set("Location", "/v2/"+repo+"/blobs/uploads/"+id+"?state=x")
		w.WriteHeader(http.StatusAccepted)
		return
	}
	got, ok := s.uploads[id]
	switch {
	case !ok:
		refuse(w, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
	case r.Method == http.MethodDelete:
		delete(s.uploads, id)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPut:
		s.received += int64(len(body))
		got = append(got, body...)
		d := digest.Digest(q.Get("digest"))
		if d.Validate() != nil || d.Algorithm().FromBytes(got) != d {
			refuse(w, http.StatusBadRequest, "DIGEST_INVALID")
			return
		}
		delete(s.uploads, id)
		s.put(repo, d, got)
		w.WriteHeader(http.StatusCreated)
	}
}

func (s *server) put(repo string, d digest.Digest, b []byte) {
	if s.blobs[repo] == nil {
		s.blobs[repo] = map[digest.Digest][]byte{}
	}
	s.blobs[repo][d] = b
}

func (s *server) manifest(w http.ResponseWriter, r *http.Request, repo, name string, body []byte) {
	if r.Method == http.MethodPut {
		m, err := registry.ParseManifest(body, r.Header.Get("Content-Type"), "")
		if err != nil {
			refuse(w, http.StatusBadRequest, "MANIFEST_INVALID")
			return
		}
		for _, d := range m.Layers {
			if _, ok := s.blobs[repo][d.Digest]; !ok {
				refuse(w, http.StatusNotFound, "MANIFEST_BLOB_UNKNOWN")
				return
			}
		}
		for _, d := range m.Manifests {
			if _, ok := s.manifests[repo][d.Digest.String()]; !ok {
				refuse(w, http.StatusNotFound, "MANIFEST_BLOB_UNKNOWN")
				return
			}
		}
		if s.manifests[repo] == nil {
			s.manifests[repo] = map[string][]byte{}
		}
		s.manifests[repo][name], s.manifests[repo][m.Digest.String()] = body, body
		w.Header().Set("Docker-Content-Digest", m.Digest.String())
		w.WriteHeader(http.StatusCreated)
		return
	}
	b, ok := s.manifests[repo][name]
	if !ok {
		refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN")
		return
	}
	m, err := registry.ParseManifest(b, "", "")
	if err != nil {
		refuse(w, http.StatusInternalServerError, "UNKNOWN")
		return
	}
	w.Header().Set("Content-Type", m.MediaType)
	w.Header().Set("Docker-Content-Digest", m.Digest.String())
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	if r.Method == http.MethodGet {
		w.Write(b)
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"errors":[{"code":%q,"message":"no"}]}`, code)
}

// spoil sets the fault.
func (s *server) spoil(fault func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// tagged gives what a tag points at, or nil.
func (s *server) tagged(repo, tag string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.manifests[repo][tag]
}

// count says how many requests since the last call had a prefix.
func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}
