package transport

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Plan says how one request is sent, and how long its answer is waited for. Package registry
// makes it, and the RoundTrippers read it. It travels in the request's context, as the one value
// there of this module. The zero value is a request like any other.
type Plan struct {
	// Server is the server that the request is made for; nil: none in particular. Its
	// transports and headers don't count where the request is led to another server.
	Server *Server
	// Bulk sends the request by the connections that are for blobs.
	Bulk bool
	// Part sends the request by a connection that carries nothing else meanwhile. It counts before
	// Bulk.
	Part bool
	// Bare sends the request with no header and no certificate that people configured for a
	// server, wherever it is led to: whoever wrote its address isn't trusted with them.
	Bare bool
	// Repeats counts how often the request was sent again, and says that it may be, although
	// it is no GET or HEAD: to repeat it changes nothing; nil: it mustn't be.
	Repeats *int
	// Hurried gives the request up early: another server can be asked instead.
	Hurried bool
	// Impatient waits for the answer as short as if hurried, but tries as often as ever:
	// something older can be had instead.
	Impatient bool
	// Once doesn't try again where a connection is refused: that is what is expected.
	Once bool
	// Work is how many bytes a registry may have to hash before it answers, and so how much
	// longer than usual its answer is waited for.
	Work int64
	// Here gives a 303 back, in place of going where it leads: to something else than what
	// was asked for, which matters to some.
	Here bool
	// Token says that the request is for a token that Server wants, be it there or elsewhere.
	Token bool
}

// Server is a server that requests are made for, by its settings.
type Server struct {
	Base   *url.URL          // of its API
	Header http.Header       // that goes along with each request to it, and to its token server
	Meta   http.RoundTripper // sends requests
	Bulk   http.RoundTripper // sends requests that carry a blob
	Part   http.RoundTripper // sends requests with Plan.Part
	Bare   http.RoundTripper // sends requests with Plan.Bare
	// HTTPFallback says that it may be asked by http if it doesn't speak TLS. Base is https then.
	HTTPFallback bool
}

// Is says whether an address is of the server. With HTTPFallback and no port that is port 443 by
// https and port 80 by http.
func (s *Server) Is(u *url.URL) bool {
	if s.HTTPFallback && s.Base.Port() == "" && u.Scheme == "http" {
		base := *s.Base
		base.Scheme = "http"
		return SameServer(&base, u)
	}
	return SameServer(s.Base, u)
}

type planKey struct{}

// WithPlan gives a context for a request that is sent by a plan. It replaces the plan of ctx.
func WithPlan(ctx context.Context, p Plan) context.Context {
	return context.WithValue(ctx, planKey{}, p)
}

// PlanOf gives the plan of a context; the zero value where it has none.
func PlanOf(ctx context.Context) Plan {
	p, _ := ctx.Value(planKey{}).(Plan)
	return p
}

// ForToken is the plan of the request for a token that a request of plan p needs. The patience
// of p is of whoever waits for both. The transports of its server count if the tokens come from
// there, and its headers wherever they come from. All else is of the request itself.
func (p Plan) ForToken() Plan {
	return Plan{Server: p.Server, Hurried: p.Hurried, Impatient: p.Impatient, Token: true}
}

const (
	// hurryWait is how long a server is waited for that asks for a wait where another
	// can be asked instead, hurryAnswer how long its answer is.
	hurryWait   = time.Second
	hurryAnswer = 10 * time.Second
	// workRate is how many bytes a slow registry hashes and stores in a second.
	workRate = 10 << 20
)

// answerWithin is how long an answer is waited for that usually is so long.
func (p Plan) answerWithin(usual time.Duration) time.Duration {
	d := usual + time.Duration(p.Work/workRate)*time.Second
	if p.Hurried || p.Impatient {
		d = min(d, hurryAnswer)
	}
	return d
}
