package registries

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Kind is the part of the distribution API that a request is about.
type Kind string

// The kinds of requests, by the end points of the specification.
const (
	Base      Kind = "base" // GET /v2/
	Manifest  Kind = "manifest"
	Blob      Kind = "blob"
	Upload    Kind = "upload"
	Tags      Kind = "tags"
	Referrers Kind = "referrers"
	Catalog   Kind = "catalog"
	Other     Kind = "other"
)

// endpoints recognise each kind in a path. Groups: the repository, the object.
var endpoints = []struct {
	kind Kind
	re   *regexp.Regexp
}{
	{Base, regexp.MustCompile(`^/v2/?()()$`)},
	{Catalog, regexp.MustCompile(`^/v2/_catalog()()$`)},
	{Tags, regexp.MustCompile(`^/v2/(.+)/tags/list()$`)},
	{Manifest, regexp.MustCompile(`^/v2/(.+)/manifests/([^/]+)$`)},
	{Upload, regexp.MustCompile(`^/v2/(.+)/blobs/uploads/(.*)$`)},
	{Blob, regexp.MustCompile(`^/v2/(.+)/blobs/([^/]+)$`)},
	{Referrers, regexp.MustCompile(`^/v2/(.+)/referrers/([^/]+)$`)},
}

// Request is one request that reached the registry, and its answer.
type Request struct {
	Method     string
	Path       string // as sent, with the query
	Kind       Kind
	Repository string // where the path names one
	Object     string // tag or digest, where the path names one
	Range      string // the Range header
	Authorized bool   // whether it carried any credential
	Header     http.Header
	Time       time.Time
	Sent       int64 // of the request's body, as far as the registry read it
	Status     int   // of the answer; 0 while there is none
	Bytes      int64 // of the answer's body, as sent
}

func (r Request) String() string {
	s := fmt.Sprintf("%s %s → %d, %d bytes", r.Method, r.Path, r.Status, r.Bytes)
	if r.Range != "" {
		s += " (" + r.Range + ")"
	}
	if r.Sent > 0 {
		s += fmt.Sprintf(" (%d bytes were sent)", r.Sent)
	}
	return s
}

// Counts are numbers of requests by METHOD kind, such as "GET manifest". What
// did not happen is not in it.
type Counts map[string]int

func (c Counts) String() string {
	if len(c) == 0 {
		return "no request"
	}
	var b strings.Builder
	for i, k := range slices.Sorted(maps.Keys(c)) {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%d %s", c[k], k)
	}
	return b.String()
}

// recorder is the part of a front that remembers.
type recorder struct {
	mu   sync.Mutex
	seen []*Request // guarded, elements too
}

// Forget drops what was recorded so far.
func (r *recorder) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = nil
}

// Requests are the requests since the last Forget, in the order in which they
// arrived, those that are still being answered included.
func (r *recorder) Requests() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Request, len(r.seen))
	for i, q := range r.seen {
		out[i] = *q
	}
	return out
}

// Counts sums up Requests.
func (r *recorder) Counts() Counts {
	c := Counts{}
	for _, q := range r.Requests() {
		c[q.Method+" "+string(q.Kind)]++
	}
	return c
}

// Sent sums up what Requests brought in bodies of a kind.
func (r *recorder) Sent(k Kind) (bytes int64) {
	for _, q := range r.Requests() {
		if q.Kind == k {
			bytes += q.Sent
		}
	}
	return bytes
}

// record remembers every request that next answers.
func (r *recorder) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		q := &Request{
			Method: req.Method, Path: req.URL.RequestURI(), Kind: Other,
			Range: req.Header.Get("Range"), Authorized: req.Header.Get("Authorization") != "",
			Header: req.Header.Clone(), Time: time.Now(),
		}
		for _, e := range endpoints {
			if m := e.re.FindStringSubmatch(req.URL.Path); m != nil {
				q.Kind, q.Repository, q.Object = e.kind, m[1], m[2]
				break
			}
		}
		r.mu.Lock()
		r.seen = append(r.seen, q)
		r.mu.Unlock()
		req.Body = &countingReader{ReadCloser: req.Body, r: r, q: q}
		next.ServeHTTP(&countingWriter{ResponseWriter: w, r: r, q: q}, req)
	})
}

// countingReader notes how much of a request's body was read.
type countingReader struct {
	io.ReadCloser
	r *recorder
	q *Request
}

func (b *countingReader) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.r.mu.Lock()
	b.q.Sent += int64(n)
	b.r.mu.Unlock()
	return n, err
}

// countingWriter notes the status and the bytes of an answer as they go out.
type countingWriter struct {
	http.ResponseWriter
	r *recorder
	q *Request
}

func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *countingWriter) WriteHeader(status int) {
	w.r.mu.Lock()
	w.q.Status = status
	w.r.mu.Unlock()
	w.ResponseWriter.WriteHeader(status)
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.count(int64(n))
	return n, err
}

// ReadFrom keeps the fast way from a file to the socket.
func (w *countingWriter) ReadFrom(src io.Reader) (int64, error) {
	n, err := io.Copy(w.ResponseWriter, src)
	w.count(n)
	return n, err
}

func (w *countingWriter) count(n int64) {
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	if w.q.Status == 0 {
		w.q.Status = http.StatusOK
	}
	if w.q.Method != http.MethodHead { // its body isn't sent
		w.q.Bytes += n
	}
}
