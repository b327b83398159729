package registrytest

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// Options says what a Server is. The zero value is a plain one that lets everyone in.
type Options struct {
	TLS        bool   // https by a certificate of its own authority, with HTTP/2
	HTTP1      bool   // https without HTTP/2
	ClientCert bool   // https to clients with a certificate that Server.ClientCert made
	Base       string // path of the API; "": /v2
	Login      *Login // who may do what; nil: everyone everything
	Traits     Traits
}

// Traits are what a registry is like throughout. The zero value has nothing that the
// specification leaves open.
type Traits struct {
	Mounts      bool   // blobs are mounted from where they are
	Referrers   bool   // the referrers API, and OCI-Subject
	NoFilter    bool   // the referrers API doesn't filter
	OCITag      bool   // ?tag= is done and confirmed
	ETags       bool   // manifests have one
	WeakETags   bool   // manifests have a weak one, which no If-Match matches (RFC 9110, section 13.1.1)
	Conditions  int    // the status of a PUT with If-Match or If-None-Match; 0: it is done as the condition says
	Sparse      bool   // an index may name manifests that aren't there
	Keep        bool   // nothing is deleted: 405
	ChunkMin    int    // bytes of a part but the last (OCI-Chunk-Min-Length); 0: any
	PartMax     int    // the most bytes of a PATCH; 0: any
	TooLarge    int    // the status of a PATCH beyond PartMax: GHCR's is 416 (seen in 2024); 0: 413
	Streamed    bool   // PATCH is taken without a length and a Content-Range, as docker sends it
	Stuck       bool   // a session whose part broke off answers 404, and is kept (distribution 2)
	FrozenRange bool   // a session's Range never moves, and PATCH is answered 201
	Sessions    string // where sessions are: the URL of another address; "": here
	Page        int    // the most names or descriptors of a page; 0: all
	Late        int    // how often what was pushed is still unknown afterwards
}

// Server is one address of a registry. Its methods are safe for concurrent use.
type Server struct {
	URL  string // "http://127.0.0.1:1234"
	Host string // "127.0.0.1:1234"
	CA   []byte // the certificate of its authority, PEM; nil without TLS

	t      testing.TB
	opts   Options
	name   string // in the record; "" for the first
	keys   *authority
	closed chan struct{} // no more is waited for
	wait   time.Duration // for clients to close
	once   sync.Once     // closing
	*state

	mu     sync.Mutex
	traits Traits
	rules  []*Rule // the last made is the first
	server *http.Server
	serves sync.WaitGroup
	conns  map[net.Conn]bool // whether it is counted when the test ends
	none   sync.Cond         // on mu: conns or at fell
	at     int               // requests that are being answered
}

// state is what all addresses of a registry have in common.
type state struct {
	record   record
	content  content
	sessions sessions
	tokens   tokens
}

// Start starts a registry. When the test ends it is stopped, and it is an error if a
// client has a connection to it then: every client is to be closed before. Those of
// HTTP/2 don't count: net/http leaves one open whose last stream ends while it is told
// to close what is idle.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	st := &state{content: newContent(), sessions: newSessions(), tokens: newTokens()}
	return start(t, o, "", st)
}

// Elsewhere starts another address of the same registry: what is held, sessions,
// tokens and the record are the same, rules and traits are its own.
func (s *Server) Elsewhere(t testing.TB, o Options) *Server {
	t.Helper()
	return start(t, o, "elsewhere", s.state)
}

func start(t testing.TB, o Options, name string, st *state) *Server {
	t.Helper()
	if o.Base == "" {
		o.Base = "/v2"
	}
	s := &Server{t: t, opts: o, name: name, traits: o.Traits, closed: make(chan struct{}), wait: patience, state: st, conns: map[net.Conn]bool{}}
	s.none.L = &s.mu
	scheme := "http"
	if o.TLS || o.HTTP1 || o.ClientCert {
		scheme = "https"
		s.keys = newAuthority(t)
		s.CA = s.keys.pem
	}
	s.listen("127.0.0.1:0")
	s.URL = scheme + "://" + s.Host
	if o.Login != nil {
		st.tokens.of(o.Login)
	}
	t.Cleanup(func() { s.once.Do(s.close) })
	return s
}

func (s *Server) listen(address string) {
	s.t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Host = l.Addr().String()
	srv := &http.Server{
		Handler: s, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute,
		ConnState: s.connState,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
	}
	serve := func() error { return srv.Serve(counted{l}) }
	if s.keys != nil {
		srv.TLSConfig = s.keys.config(s.opts.ClientCert)
		if s.opts.HTTP1 {
			srv.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
		}
		serve = func() error { return srv.ServeTLS(counted{l}, "", "") }
	}
	s.mu.Lock()
	s.server = srv
	s.mu.Unlock()
	s.serves.Go(func() { _ = serve() })
}

// connKey finds the connection of a request in its context.
type connKey struct{}

func (s *Server) connState(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		s.conns[c] = true
	case http.StateActive, http.StateIdle:
		if t, ok := c.(*tls.Conn); ok && t.ConnectionState().NegotiatedProtocol == "h2" {
			s.conns[c] = false
		}
	case http.StateClosed, http.StateHijacked:
		delete(s.conns, c)
	}
	s.none.Broadcast()
}

// Connections tells how many connections clients have.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// left counts the connections that keep a test from ending well, on mu.
func (s *Server) left() (n int) {
	for _, counts := range s.conns {
		if counts {
			n++
		}
	}
	return n
}

// Gone takes the server down: connections end, and new ones are refused.
func (s *Server) Gone() {
	s.mu.Lock()
	srv := s.server
	s.mu.Unlock()
	_ = srv.Close()
	s.serves.Wait()
}

// Back brings a server that is Gone back, at the same address.
func (s *Server) Back() {
	s.t.Helper()
	s.listen(s.Host)
}

// patience is for what a client does at its end without anyone waiting for it.
const patience = 5 * time.Second

// close stops the server, and checks that nobody has it open.
func (s *Server) close() {
	close(s.closed) // whatever waits in a quirk ends
	late := time.AfterFunc(s.wait, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.none.Broadcast()
	})
	began := time.Now()
	s.mu.Lock()
	for (s.left() > 0 || s.at > 0) && time.Since(began) < s.wait {
		s.none.Wait()
	}
	left := s.left()
	s.mu.Unlock()
	late.Stop()
	if left > 0 {
		s.t.Errorf("%d connections to the registry at %s are left", left, s.Host)
	}
	s.Gone()
	s.mu.Lock()
	for s.at > 0 {
		s.none.Wait()
	}
	s.mu.Unlock()
}

// Traits gives what the registry is like.
func (s *Server) Traits() Traits {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.traits
}

// Change changes what the registry is like, from the next request on.
func (s *Server) Change(change func(*Traits)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.traits)
}

// ServeHTTP answers a request as the rules have it.
func (s *Server) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	s.mu.Lock()
	s.at++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.at--
		s.none.Broadcast()
	}()
	x := s.arrived(w, req)
	a := chain(s.matching(x), x, func() *Answer { return s.answer(x) })
	if a == nil {
		panic(http.ErrAbortHandler)
	}
	a.deliver(x)
}

// answer does what is asked, as a registry.
func (s *Server) answer(x *Exchange) *Answer {
	if x.URL.Query().Has(signature) {
		if x.Method == http.MethodHead && x.URL.Query().Has(signedForGet) {
			return Plain(http.StatusForbidden, "<Error><Code>SignatureDoesNotMatch</Code></Error>")
		}
		if !s.tokens.signed(x.URL.Query().Get(signature)) {
			return Plain(http.StatusForbidden, "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>")
		}
	} else if s.opts.Login != nil && x.Kind != "token" {
		if a := s.refused(x); a != nil {
			return a
		}
	}
	switch x.Kind {
	case "ping":
		return Plain(http.StatusOK, "{}", "Docker-Distribution-Api-Version", "registry/2.0")
	case "manifest":
		return s.manifest(x)
	case "blob":
		return s.blob(x)
	case "upload":
		return s.upload(x)
	case "tags":
		return s.tagList(x)
	case "catalog":
		return s.catalog(x)
	case "referrers":
		return s.referrers(x)
	case "token":
		return s.token(x)
	}
	return Plain(http.StatusNotFound, "")
}
