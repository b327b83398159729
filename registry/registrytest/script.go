package registrytest

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Exchange is one request while it is answered. What a quirk changes of the request is
// what the registry gets; the record keeps what came.
type Exchange struct {
	*http.Request
	Server     *Server
	Kind       string // as in the record
	Repository string
	Reference  string

	w   http.ResponseWriter
	rec *Request
}

// Answer is what goes back.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte // of HEAD: what GET would have
	Length int64  // told as Content-Length; -1: not told
	// Then, where it is set, ends the answer After so many bytes of its body. It
	// doesn't return before the connection is done with.
	After int
	Then  func(x *Exchange)
}

// Plain is an answer of a status, a body, and headers: names and values in turns.
func Plain(status int, body string, header ...string) *Answer {
	a := &Answer{Status: status, Header: http.Header{}, Body: []byte(body), Length: int64(len(body))}
	for i := 0; i+1 < len(header); i += 2 {
		a.Header.Add(header[i], header[i+1])
	}
	return a
}

// Error is the body of an error as the specification has it (spec, "Error Codes").
func Error(code string) string { return `{"errors":[{"code":"` + code + `","message":"no"}]}` }

// refuse answers with an error.
func refuse(status int, code string) *Answer {
	return Plain(status, Error(code), "Content-Type", "application/json")
}

// Quirk is something else that is done with a request; the package doc says how to
// write one.
type Quirk func(x *Exchange, next func() *Answer) *Answer

func chain(quirks []Quirk, x *Exchange, last func() *Answer) *Answer {
	if len(quirks) == 0 {
		return last()
	}
	return quirks[0](x, func() *Answer {
		a := chain(quirks[1:], x, last)
		if a == nil {
			panic(http.ErrAbortHandler) // nothing is left to change
		}
		return a
	})
}

// Rule is quirks for some requests.
type Rule struct {
	s           *Server
	pattern     pattern
	first, last int // which of the requests, from 1; last is 0 for all
	seen        int // on s.mu
	quirks      []Quirk
}

// On has quirks done to every request that pattern matches: "GET blob".
func (s *Server) On(pattern string, quirks ...Quirk) *Rule {
	return s.rule(pattern, 1, 0, quirks)
}

// First has them done to the first n such requests from now on.
func (s *Server) First(n int, pattern string, quirks ...Quirk) *Rule {
	return s.rule(pattern, 1, n, quirks)
}

// Nth has them done to the nth such request from now on, counted from 1.
func (s *Server) Nth(n int, pattern string, quirks ...Quirk) *Rule {
	return s.rule(pattern, n, n, quirks)
}

func (s *Server) rule(pattern string, first, last int, quirks []Quirk) *Rule {
	r := &Rule{s: s, pattern: parsePattern(pattern), first: first, last: last, quirks: quirks}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = slices.Insert(s.rules, 0, r)
	return r
}

// End takes the rule away. Requests that are being answered aren't changed by that.
func (r *Rule) End() {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.s.rules = slices.DeleteFunc(r.s.rules, func(o *Rule) bool { return o == r })
}

// Seen says how many requests the rule's pattern has matched.
func (r *Rule) Seen() int {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return r.seen
}

// matching gives the quirks for a request, the outermost first.
func (s *Server) matching(x *Exchange) []Quirk {
	s.mu.Lock()
	defer s.mu.Unlock()
	var quirks []Quirk
	for _, r := range s.rules {
		if !r.pattern.matches(Request{Method: x.Method, Kind: x.Kind, Reference: x.Reference}) {
			continue
		}
		r.seen++
		if r.seen >= r.first && (r.last == 0 || r.seen <= r.last) {
			quirks = append(quirks, r.quirks...)
		}
	}
	return quirks
}

// pattern is method, kind and reference of requests.
type pattern [3]string

func parsePattern(s string) pattern {
	p := pattern{"*", "*", "*"}
	fields := strings.Fields(s)
	if len(fields) > len(p) {
		panic("registrytest: a pattern is METHOD KIND REFERENCE: " + s)
	}
	copy(p[:], fields)
	return p
}

func (p pattern) matches(r Request) bool {
	for i, v := range []string{r.Method, r.Kind, r.Reference} {
		if begin, ok := strings.CutSuffix(p[i], "*"); !(ok && strings.HasPrefix(v, begin) || v == p[i]) {
			return false
		}
	}
	return true
}

// deliver sends an answer as it is.
func (a *Answer) deliver(x *Exchange) {
	h := x.w.Header()
	for name, values := range a.Header {
		h[name] = values
	}
	bodyAllowed := a.Status >= 200 && a.Status != http.StatusNoContent && a.Status != http.StatusNotModified
	if a.Length >= 0 && bodyAllowed {
		h.Set("Content-Length", strconv.FormatInt(a.Length, 10))
	}
	x.Server.record.change(x.rec, func(r *Request) { r.Status = a.Status })
	x.w.WriteHeader(a.Status)
	rc := http.NewResponseController(x.w)
	body := a.Body
	if x.Method == http.MethodHead || !bodyAllowed {
		body = nil
	} else if a.Length < 0 {
		_ = rc.Flush() // so that no length is found out
	}
	if a.Then != nil {
		body = body[:min(max(a.After, 0), len(body))]
	}
	for len(body) > 0 {
		piece := body[:min(len(body), 64<<10)]
		x.Server.record.change(x.rec, func(r *Request) { r.Sent += int64(len(piece)) })
		if _, err := x.w.Write(piece); err != nil {
			break
		}
		body = body[len(piece):]
	}
	if a.Then != nil {
		_ = rc.Flush()
		a.Then(x)
		panic(http.ErrAbortHandler)
	}
}
