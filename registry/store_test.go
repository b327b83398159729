package registry

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/ref"
)

// store is a registry in memory that takes what is pushed to it, strictly: bytes in
// order, digests that match, manifests whose pieces are there. It writes down what it
// was asked. Scripts make it misbehave.
type store struct {
	t    *testing.T
	url  string
	repo ref.Repository

	mu       sync.Mutex
	blobs    map[string]string // by digest
	objects  map[string]string // manifests, by tag and by digest
	sessions map[string]*strings.Builder
	asked    []string
	counts   map[string]int
	scripts  map[string]func(w http.ResponseWriter, req *http.Request) bool

	// What it is like.
	least     int  // of a part but the last
	frozen    bool // its Range never moves, and PATCH is 201
	ociTag    bool // it confirms tags
	subjects  bool // it keeps the list of referrers
	etags     bool
	elsewhere string // where sessions are; "": here
	mounts    bool

	limit time.Duration // of a client's patience; 0: a minute
}

// newStore starts a store, and gives a client of it whose pauses are short.
func newStore(t *testing.T) (*store, *Client) {
	t.Helper()
	s := &store{
		t: t, blobs: map[string]string{}, objects: map[string]string{}, sessions: map[string]*strings.Builder{},
		counts: map[string]int{}, scripts: map[string]func(http.ResponseWriter, *http.Request) bool{},
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.url = server.URL
	s.repo = ref.Repository{Host: strings.TrimPrefix(server.URL, "http://"), Path: "a/b"}
	return s, s.client(t, Options{})
}

func (s *store) client(t *testing.T, o Options) *Client {
	o.PlainHTTP, o.RetryMaxWait = []string{s.repo.Host}, 2*time.Second
	if s.limit == 0 {
		s.limit = time.Minute
	}
	c := newClient(o, bounds{idle: s.limit, answer: s.limit, pauses: []time.Duration{1, 1, 1}, chunk: 4})
	t.Cleanup(c.Close)
	return c
}

// on has something else done with the nth request of a kind, as asked has it; n is 0
// for all. What returns false lets the request go on.
func (s *store) on(kind string, n int, do func(w http.ResponseWriter, req *http.Request) bool) {
	s.scripts[fmt.Sprintf("%s#%d", kind, n)] = do
}

// answer is a script that only answers.
func answer(status int, body string, header ...string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
		return true
	}
}

func code(c string) string { return `{"errors":[{"code":"` + c + `","message":"no"}]}` }

// hangUp resets the connection.
func hangUp(w http.ResponseWriter, _ *http.Request) bool {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		conn.Close()
	}
	return true
}

// cut is a script that takes n bytes into the session, and hangs up.
func (s *store) cut(n int64) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, req *http.Request) bool {
		b := make([]byte, n)
		_, _ = io.ReadFull(req.Body, b)
		s.sessions[sessionID(req)].Write(b)
		return hangUp(w, req)
	}
}

func sessionID(req *http.Request) string {
	return strings.TrimPrefix(req.URL.Path, "/v2/a/b/blobs/uploads/")
}

// kind names a request: its method and what it is of.
func kind(req *http.Request) string {
	of := "?"
	switch p := req.URL.Path; {
	case strings.HasPrefix(p, "/v2/a/b/blobs/uploads/"):
		of = "upload"
	case strings.HasPrefix(p, "/v2/a/b/blobs/"):
		of = "blob"
	case strings.HasPrefix(p, "/v2/a/b/manifests/"):
		of = strings.TrimPrefix(p, "/v2/a/b/manifests/")
		if strings.Contains(of, ":") {
			of = "manifest"
		}
	case strings.HasPrefix(p, "/v2/a/b/referrers/"):
		of = "referrers"
	}
	return req.Method + " " + of
}

func (s *store) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := kind(req)
	if cr := req.Header.Get("Content-Range"); cr != "" {
		s.asked = append(s.asked, k+" "+cr)
	} else {
		s.asked = append(s.asked, k)
	}
	s.counts[k]++
	for _, n := range []int{s.counts[k], 0} {
		if do := s.scripts[fmt.Sprintf("%s#%d", k, n)]; do != nil && do(w, req) {
			return
		}
	}
	switch path := req.URL.Path; {
	case strings.HasPrefix(path, "/v2/a/b/blobs/uploads/"):
		s.upload(w, req)
	case strings.HasPrefix(path, "/v2/a/b/blobs/"):
		s.get(w, req, s.blobs, strings.TrimPrefix(path, "/v2/a/b/blobs/"))
	case strings.HasPrefix(path, "/v2/a/b/manifests/"):
		if req.Method == http.MethodPut {
			s.put(w, req, strings.TrimPrefix(path, "/v2/a/b/manifests/"))
			return
		}
		s.get(w, req, s.objects, strings.TrimPrefix(path, "/v2/a/b/manifests/"))
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (s *store) get(w http.ResponseWriter, req *http.Request, from map[string]string, name string) {
	b, ok := from[name]
	switch {
	case !ok:
		w.WriteHeader(http.StatusNotFound)
	case req.Method == http.MethodDelete:
		delete(from, name)
		w.WriteHeader(http.StatusAccepted)
	default:
		w.Header().Set("Docker-Content-Digest", digest.FromString(b).String())
		w.Header().Set("Content-Length", strconv.Itoa(len(b)))
		if s.etags {
			w.Header().Set("ETag", `"`+digest.FromString(b).String()+`"`)
		}
		_, _ = io.WriteString(w, b)
	}
}

func (s *store) put(w http.ResponseWriter, req *http.Request, name string) {
	b, _ := io.ReadAll(req.Body)
	m, err := ParseManifest(b, req.Header.Get("Content-Type"), "")
	if err != nil {
		answer(http.StatusBadRequest, code("MANIFEST_INVALID"))(w, req)
		return
	}
	if match := req.Header.Get("If-Match"); match != "" && match != `"`+digest.FromString(s.objects[name]).String()+`"` {
		w.WriteHeader(http.StatusPreconditionFailed)
		return
	}
	for _, d := range m.Blobs() {
		if _, ok := s.blobs[d.Digest.String()]; !ok {
			answer(http.StatusNotFound, code("MANIFEST_BLOB_UNKNOWN"))(w, req)
			return
		}
	}
	if s.ociTag {
		for _, t := range req.URL.Query()["tag"] {
			s.objects[t] = string(b)
			w.Header().Add("OCI-Tag", t)
		}
	}
	if s.subjects && m.Subject != nil {
		w.Header().Set("OCI-Subject", m.Subject.Digest.String())
	}
	s.objects[name], s.objects[m.Digest.String()] = string(b), string(b)
	w.Header().Set("Docker-Content-Digest", m.Digest.String())
	w.WriteHeader(http.StatusCreated)
}

func (s *store) upload(w http.ResponseWriter, req *http.Request) {
	id, q := sessionID(req), req.URL.Query()
	if id == "" {
		if s.mounts && q.Get("from") != "" {
			s.blobs[q.Get("mount")] = "mounted"
			w.WriteHeader(http.StatusCreated)
			return
		}
		id = "s" + strconv.Itoa(len(s.sessions)+1)
		s.sessions[id] = &strings.Builder{}
		s.told(w, id, http.StatusAccepted)
		return
	}
	have := s.sessions[id]
	if have == nil {
		answer(http.StatusNotFound, code("BLOB_UPLOAD_UNKNOWN"))(w, req)
		return
	}
	if q.Get("_state") != "x/y" {
		s.t.Errorf("the session's query was lost: %q", req.URL.RawQuery)
	}
	switch req.Method {
	case http.MethodGet:
		s.told(w, id, http.StatusNoContent)
	case http.MethodDelete:
		s.sessions[id] = nil
		w.WriteHeader(http.StatusNoContent)
	case http.MethodPatch:
		var first, last int
		n, _ := fmt.Sscanf(req.Header.Get("Content-Range"), "%d-%d", &first, &last)
		b, err := io.ReadAll(req.Body)
		if n != 2 || first != have.Len() || last-first+1 != len(b) || err != nil {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		have.Write(b)
		status := http.StatusAccepted
		if s.frozen {
			status = http.StatusCreated
		}
		s.told(w, id, status)
	case http.MethodPut:
		b, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		have.Write(b)
		d := digest.Digest(q.Get("digest"))
		if d.Validate() != nil || d.Algorithm().FromString(have.String()) != d {
			answer(http.StatusBadRequest, code("DIGEST_INVALID"))(w, req)
			return
		}
		s.blobs[d.String()] = have.String()
		s.sessions[id] = nil
		w.Header().Set("Docker-Content-Digest", d.String())
		w.WriteHeader(http.StatusCreated)
	}
}

// told answers with what a session has.
func (s *store) told(w http.ResponseWriter, id string, status int) {
	w.Header().Set("Location", s.elsewhere+"/v2/a/b/blobs/uploads/"+id+"?_state=x/y")
	last := max(s.sessions[id].Len()-1, 0)
	if s.frozen {
		last = 3
	}
	w.Header().Set("Range", "0-"+strconv.Itoa(last))
	if s.least > 0 {
		w.Header().Set("OCI-Chunk-Min-Length", strconv.Itoa(s.least))
	}
	w.WriteHeader(status)
}

// requests gives what was asked, once c has nothing more to ask. Sessions are
// cancelled beside the rest: these requests come last here.
func (s *store) requests(c *Client) []string {
	c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	got := slices.Clone(s.asked)
	slices.SortStableFunc(got, func(a, b string) int {
		return strings.Count(a, cancelled) - strings.Count(b, cancelled)
	})
	return got
}

const cancelled = "DELETE upload"

// asks gives how often something was asked.
func (s *store) asks(kind string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[kind]
}

func (s *store) want(c *Client, want ...string) {
	s.t.Helper()
	if got := s.requests(c); !slices.Equal(got, want) {
		s.t.Errorf("asked %q\nwant  %q", got, want)
	}
}

// bytesSource is a Source in memory that counts.
type bytesSource struct {
	*strings.Reader
	opened, closed int
}

func (b *bytesSource) Close() error { b.closed++; return nil }

func (b *bytesSource) open(context.Context) (Source, error) { b.opened++; return b, nil }

// push pushes content, and checks that the source was opened at most once, and closed.
func push(c *Client, s *store, content string, p Push) (Pushed, error) {
	s.t.Helper()
	return pushAs(context.Background(), c, s, content, digest.FromString(content), p)
}

func pushAs(ctx context.Context, c *Client, s *store, content string, d digest.Digest, p Push) (Pushed, error) {
	s.t.Helper()
	src := &bytesSource{Reader: strings.NewReader(content)}
	done, err := c.PushBlob(ctx, s.repo, v1.Descriptor{Digest: d, Size: int64(len(content))}, src.open, p)
	if src.opened > 1 || src.opened != src.closed {
		s.t.Errorf("the source was opened %d times and closed %d times", src.opened, src.closed)
	}
	return done, err
}

// has checks that the store has the blob whole.
func (s *store) has(content string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if got, ok := s.blobs[digest.FromString(content).String()]; !ok || got != content {
		s.t.Errorf("the registry has %d bytes of it, %v", len(got), ok)
	}
}
