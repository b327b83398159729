package registrytest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
)

// blob answers for blobs (spec, "Pulling blobs", "Deleting Blobs").
func (s *Server) blob(x *Exchange) *Answer {
	d := digest.Digest(x.Reference)
	s.content.mu.Lock()
	o := known(s.content.repo(x.Repository).blobs[d])
	s.content.mu.Unlock()
	switch {
	case d.Validate() != nil:
		return refuse(http.StatusBadRequest, "DIGEST_INVALID")
	case o == nil:
		return refuse(http.StatusNotFound, "BLOB_UNKNOWN")
	}
	switch x.Method {
	case http.MethodGet, http.MethodHead:
		a := Plain(http.StatusOK, "", "Content-Type", "application/octet-stream", "Docker-Content-Digest", d.String(), "Accept-Ranges", "bytes")
		a.Body, a.Length = o.raw, int64(len(o.raw))
		return a.part(x.Header.Get("Range"))
	case http.MethodDelete:
		if s.Traits().Keep {
			return refuse(http.StatusMethodNotAllowed, "UNSUPPORTED")
		}
		s.content.mu.Lock()
		defer s.content.mu.Unlock()
		delete(s.content.repo(x.Repository).blobs, d)
		return Plain(http.StatusAccepted, "")
	}
	return refuse(http.StatusMethodNotAllowed, "UNSUPPORTED")
}

// part makes an answer that of a Range (RFC 9110, 14.2); one that makes no sense is
// left alone.
func (a *Answer) part(of string) *Answer {
	first, last, ok := parseRange(of, a.Length)
	if !ok {
		return a
	}
	if first >= a.Length {
		return Plain(http.StatusRequestedRangeNotSatisfiable, "", "Content-Range", fmt.Sprintf("bytes */%d", a.Length))
	}
	a.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, a.Length))
	a.Status, a.Body, a.Length = http.StatusPartialContent, a.Body[first:last+1], last+1-first
	return a
}

// parseRange reads a Range of one part of so many bytes. first may be beyond the end,
// last isn't.
func parseRange(s string, size int64) (first, last int64, ok bool) {
	s, ok = strings.CutPrefix(s, "bytes=")
	from, to, dash := strings.Cut(s, "-")
	if !ok || !dash {
		return 0, 0, false
	}
	if from == "" {
		n, err := strconv.ParseInt(to, 10, 64)
		return max(size-n, 0), size - 1, err == nil && n > 0
	}
	first, err := strconv.ParseInt(from, 10, 64)
	if err != nil || first < 0 {
		return 0, 0, false
	}
	last = size - 1
	if to != "" {
		n, err := strconv.ParseInt(to, 10, 64)
		if err != nil || n < first {
			return 0, 0, false
		}
		last = min(last, n)
	}
	return first, last, true
}
