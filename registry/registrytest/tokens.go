package registrytest

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// signature is the field of a presigned address's query that makes it one.
const signature = "X-Signature"

// signedForGet is the field of one that was signed for GET: HEAD is 403 there.
const signedForGet = "X-Signed-For-Get"

// tokens are what was given out: tokens, and presigned addresses.
type tokens struct {
	mu       sync.Mutex
	login    *Login // whose tokens they are
	n        int
	issued   map[string]*token
	presigns map[string]int // by signature: requests that are left; -1: any number
}

type token struct {
	user, scope string
	used        int
	ends        time.Time // zero: doesn't
}

func newTokens() tokens { return tokens{issued: map[string]*token{}, presigns: map[string]int{}} }

// of takes tokens for those of a login.
func (t *tokens) of(l *Login) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.login = l
}

// name makes a name that nothing had.
func (t *tokens) name(prefix string) string {
	t.n++
	return prefix + strconv.Itoa(t.n)
}

// Revoke ends all tokens and presigned addresses that were given out.
func (s *Server) Revoke() {
	s.tokens.mu.Lock()
	defer s.tokens.mu.Unlock()
	clear(s.tokens.issued)
	clear(s.tokens.presigns)
}

// Scopes gives the scopes of the tokens that were given out and not revoked, sorted.
func (s *Server) Scopes() []string {
	s.tokens.mu.Lock()
	defer s.tokens.mu.Unlock()
	all := []string{}
	for t := range maps.Values(s.tokens.issued) {
		all = append(all, t.scope)
	}
	slices.Sort(all)
	return all
}

// credential tells who a request says it is from.
func (t *tokens) credential(l *Login, header string) Credential {
	if header == "" {
		return Credential{}
	}
	scheme, value, _ := strings.Cut(header, " ")
	c := Credential{Scheme: scheme}
	t.mu.Lock()
	defer t.mu.Unlock()
	if l == nil {
		l = t.login
	}
	switch scheme {
	case "Basic":
		user, password, ok := basic(value)
		c.User, c.Valid = user, ok && l != nil && l.right(user, password)
		if c.User == "" && l != nil && l.Identities[password] != "" || user == "<token>" && l != nil {
			c.User, c.Valid = l.Identities[password], l.Identities[password] != ""
		}
	case "Bearer":
		if k := t.issued[value]; k != nil {
			over := !k.ends.IsZero() && time.Now().After(k.ends)
			c.User, c.Scope, c.Valid = k.user, k.scope, !over && (l == nil || l.Uses == 0 || k.used < l.Uses)
		}
	}
	return c
}

// use counts a use of a token, and says whether it had one left.
func (t *tokens) use(value string, uses int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.issued[value]
	if k == nil {
		return false
	}
	k.used++
	return uses == 0 || k.used <= uses
}

// presign gives a signature that is good for n requests; n < 0: any number.
func (t *tokens) presign(n int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	name := t.name("sig")
	t.presigns[name] = n
	return name
}

// signed counts a use of a signature, and says whether it is good.
func (t *tokens) signed(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, ok := t.presigns[name]
	if n > 0 {
		t.presigns[name] = n - 1
	}
	return ok && n != 0
}

// token answers for the token endpoint, by GET with Basic, or by POST (OAuth 2).
func (s *Server) token(x *Exchange) *Answer {
	s.tokens.mu.Lock()
	l := s.tokens.login
	s.tokens.mu.Unlock()
	if l == nil || !l.Tokens {
		return Plain(http.StatusNotFound, "")
	}
	var user string
	switch x.Method {
	case http.MethodGet:
		c := x.rec.Credential
		if c.Scheme != "" && !c.Valid {
			return refuse(http.StatusUnauthorized, "UNAUTHORIZED")
		}
		user = c.User
	case http.MethodPost:
		if err := x.ParseForm(); err != nil {
			return Plain(http.StatusBadRequest, `{"error":"invalid_request"}`)
		}
		s.record.change(x.rec, func(r *Request) { r.Form = x.Form })
		var ok bool
		if user, ok = l.grant(x.PostForm.Get("grant_type"), x.PostForm.Get("refresh_token"), x.PostForm.Get("username"), x.PostForm.Get("password")); !ok {
			return Plain(http.StatusUnauthorized, `{"error":"invalid_grant"}`)
		}
	default:
		return Plain(http.StatusMethodNotAllowed, "")
	}
	var scopes []string
	for _, v := range x.rec.Form["scope"] {
		scopes = append(scopes, strings.Fields(v)...)
	}
	if l.QuayScopes {
		for _, sc := range scopes {
			repository, actions, ok := cutScope(sc)
			odd := slices.ContainsFunc(actions, func(a string) bool { return a != "pull" && a != "push" && a != "*" })
			if !ok || repository == "" || odd {
				return Plain(http.StatusBadRequest, `{"errors":[{"code":"INVALID_REQUEST","message":"Unable to decode repository and actions: `+sc+`"}]}`)
			}
		}
	}
	return s.issue(l, user, scopes)
}

// grant says whose a grant of OAuth 2 is.
func (l *Login) grant(kind, refresh, name, password string) (user string, ok bool) {
	switch kind {
	case "refresh_token":
		user = l.Identities[refresh]
		return user, user != ""
	case "password":
		return name, l.right(name, password)
	}
	return "", false
}

// issue gives a token for as much of scopes as the user has a right to.
func (s *Server) issue(l *Login, user string, scopes []string) *Answer {
	var granted []string
	for _, sc := range scopes {
		repository, actions, ok := cutScope(sc)
		actions = slices.DeleteFunc(actions, func(a string) bool { return !l.allows(user, repository, a) })
		if ok && len(actions) > 0 {
			granted = append(granted, scope(repository, actions))
		}
	}
	s.tokens.mu.Lock()
	defer s.tokens.mu.Unlock()
	value := s.tokens.name("token")
	k := &token{user: user, scope: strings.Join(granted, " ")}
	fields := map[string]any{"token": value, "access_token": value}
	if l.Life > 0 {
		k.ends = time.Now().Add(l.Life)
		fields["expires_in"] = int(l.Life / time.Second)
	}
	s.tokens.issued[value] = k
	return list(fields, "application/json", "")
}
