package registrytest

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// Request is what was asked of a registry, and what came of it.
type Request struct {
	Server     string // "" for the first address, "elsewhere" for others
	Host       string // that the client asked for
	Proto      string // "HTTP/2.0"
	Method     string
	Path       string
	Query      string // as it came
	Kind       string // manifest, blob, upload, tags, catalog, referrers, ping, token, other
	Repository string
	Reference  string // the tag, digest or session
	Header     http.Header
	Form       url.Values // what was asked of the token endpoint, by query and by body
	Credential Credential // that came along
	Read       int64      // bytes of the body that were read
	Status     int        // of the answer; 0: there was none
	Sent       int64      // bytes of the answer's body that went to the connection
}

// Credential is who a request says it is from.
type Credential struct {
	Scheme string // "Basic", "Bearer", or another; "" for none
	User   string // whose it is; "" for a token that was given to nobody in particular
	Scope  string // of a token, as it was granted: "repository:a/b:pull"
	Valid  bool   // the password is right, or the token one that isn't over
}

// String is how a request reads in the record; the package doc says how.
func (r Request) String() string {
	parts := []string{r.Method, r.Kind}
	if r.Server != "" {
		parts = slices.Insert(parts, 0, r.Server)
	}
	if r.Kind == "manifest" && !strings.Contains(r.Reference, ":") {
		parts = append(parts, r.Reference)
	}
	for _, name := range []string{"Range", "Content-Range"} {
		if v := r.Header.Get(name); v != "" {
			parts = append(parts, v)
		}
	}
	return strings.Join(parts, " ")
}

// record is what was asked, in the order in which it arrived.
type record struct {
	mu       sync.Mutex
	requests []*Request
}

func (r *record) add(q *Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, q)
}

// change changes what is written of a request.
func (r *record) change(q *Request, change func(*Request)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(q)
}

// Requests gives what was asked since the start or Forget, in order. Status and Read
// are there once the client has the answer.
func (s *Server) Requests() []Request {
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	all := make([]Request, len(s.record.requests))
	for i, r := range s.record.requests {
		all[i] = *r
		all[i].Header = r.Header.Clone()
	}
	return all
}

// Asked gives the requests as they read.
func (s *Server) Asked() []string {
	all := []string{}
	for _, r := range s.Requests() {
		all = append(all, r.String())
	}
	return all
}

// Count says how many requests a pattern of rules matches: "GET manifest",
// "* blob sha256:*".
func (s *Server) Count(pattern string) int {
	p, n := parsePattern(pattern), 0
	for _, r := range s.Requests() {
		if p.matches(r) {
			n++
		}
	}
	return n
}

// Forget begins a new record.
func (s *Server) Forget() {
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	s.record.requests = nil
}

// Want checks that exactly this was asked, in this order, as Request.String has it.
func (s *Server) Want(want ...string) {
	s.t.Helper()
	if got := s.Asked(); !slices.Equal(got, want) {
		s.t.Errorf("asked %q\nwant  %q", got, want)
	}
}

// arrived writes down a request, and prepares its answer.
func (s *Server) arrived(w http.ResponseWriter, req *http.Request) *Exchange {
	q := &Request{
		Server: s.name, Host: req.Host, Proto: req.Proto, Method: req.Method, Path: req.URL.Path, Query: req.URL.RawQuery,
		Header: req.Header.Clone(), Credential: s.tokens.credential(s.opts.Login, req.Header.Get("Authorization")),
	}
	q.Kind, q.Repository, q.Reference = s.kind(req.URL.Path)
	if q.Kind == "token" {
		q.Form = req.URL.Query()
	}
	s.record.add(q)
	req.Body = &countedBody{req.Body, func(n int) { s.record.change(q, func(q *Request) { q.Read += int64(n) }) }}
	return &Exchange{Request: req, Server: s, Kind: q.Kind, Repository: q.Repository, Reference: q.Reference, w: w, rec: q}
}

// kind tells what a path is of.
func (s *Server) kind(path string) (kind, repository, reference string) {
	if path == tokenPath {
		return "token", "", ""
	}
	rest, ok := strings.CutPrefix(path, s.opts.Base)
	if !ok || rest != "" && rest[0] != '/' {
		return "other", "", ""
	}
	rest = strings.TrimPrefix(rest, "/")
	switch rest {
	case "":
		return "ping", "", ""
	case "_catalog":
		return "catalog", "", ""
	}
	if repo, ok := strings.CutSuffix(rest, "/tags/list"); ok {
		return "tags", repo, ""
	}
	for _, k := range []struct{ infix, kind string }{
		{"/blobs/uploads/", "upload"}, {"/blobs/", "blob"}, {"/manifests/", "manifest"}, {"/referrers/", "referrers"},
	} {
		if i := strings.LastIndex(rest, k.infix); i > 0 && !strings.Contains(rest[i+len(k.infix):], "/") {
			return k.kind, rest[:i], rest[i+len(k.infix):]
		}
	}
	if repo, ok := strings.CutSuffix(rest, "/blobs/uploads"); ok {
		return "upload", repo, ""
	}
	return "other", "", ""
}

// countedBody tells how much of a body was read.
type countedBody struct {
	io.ReadCloser
	read func(n int)
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.read(n)
	}
	return n, err
}
