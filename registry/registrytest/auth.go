package registrytest

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"
)

// tokenPath is where every address gives tokens.
const tokenPath = "/token"

// Login says who may do what.
type Login struct {
	Users map[string]string // passwords, by user name
	// Rights says whether a user ("" for nobody in particular) may do an action (pull,
	// push, delete; "*" of the catalog, whose repository is "") to a repository. nil:
	// users may do everything, others nothing.
	Rights func(user, repository, action string) bool

	Tokens     bool              // tokens are asked for; otherwise it is Basic
	Realm      string            // where tokens are; "": here, at /token
	Service    string            // "" is left out
	Identities map[string]string // users, by identity token
	Uses       int               // requests that a token is good for; 0: any number
	Life       time.Duration     // of a token, told in whole seconds; 0: doesn't end, and isn't told
	Scope      string            // that challenges name in place of the right one
	Challenges []string          // WWW-Authenticate in place of its own, each a header

	// QuayScopes has the token endpoint answer as Quay's (seen 2026): 400 to any scope but
	// pull, push and * of repositories. Who may push may delete.
	QuayScopes bool
}

// PublicToRead lets everyone pull, and users do everything.
func PublicToRead(user, _, action string) bool { return user != "" || action == "pull" }

func (l *Login) allows(user, repository, action string) bool {
	if l.Rights == nil {
		return user != ""
	}
	return l.Rights(user, repository, action)
}

// wants is what a request needs a right to.
func (x *Exchange) wants() (repository string, actions []string) {
	switch {
	case x.Kind == "catalog":
		return "", []string{"*"}
	case x.Repository == "":
		return "", nil
	case x.Kind == "upload", x.Method == http.MethodPut:
		return x.Repository, []string{"pull", "push"}
	case x.Method == http.MethodDelete:
		return x.Repository, []string{"delete"}
	}
	return x.Repository, []string{"pull"}
}

// scope spells what a token is for.
func scope(repository string, actions []string) string {
	switch {
	case len(actions) == 0:
		return ""
	case repository == "":
		return "registry:catalog:*"
	}
	return "repository:" + repository + ":" + strings.Join(actions, ",")
}

// refused answers a request that may not be done; nil lets it go on.
func (s *Server) refused(x *Exchange) *Answer {
	l, c := s.opts.Login, x.rec.Credential
	repository, actions := x.wants()
	if l.QuayScopes && slices.Contains(actions, "delete") {
		actions = []string{"pull", "push"}
	}
	if l.Tokens {
		if c.Scheme == "Bearer" && c.Valid && s.tokens.use(bearer(x.Header), l.Uses) {
			if !slices.ContainsFunc(actions, func(a string) bool { return !s.may(x, repository, a) }) {
				return nil
			}
			return s.challenge(x, scope(repository, actions), "insufficient_scope")
		}
		return s.challenge(x, scope(repository, actions), "")
	}
	anyone := c.Scheme == "" && len(actions) > 0
	if !anyone && !(c.Scheme == "Basic" && c.Valid) {
		return s.challenge(x, "", "")
	}
	for _, a := range actions {
		if !s.may(x, repository, a) {
			if anyone {
				return s.challenge(x, "", "")
			}
			return refuse(http.StatusForbidden, "DENIED")
		}
	}
	return nil
}

// may says whether who asks may do something to a repository.
func (s *Server) may(x *Exchange, repository, action string) bool {
	l, c := s.opts.Login, x.rec.Credential
	switch {
	case l == nil:
		return true
	case l.Tokens:
		return granted(c.Scope, repository, action)
	}
	return l.allows(c.User, repository, action)
}

// granted says whether a scope holds an action.
func granted(scopes, repository, action string) bool {
	for s := range strings.FieldsSeq(scopes) {
		name, actions, ok := cutScope(s)
		if ok && name == repository && slices.Contains(actions, action) {
			return true
		}
	}
	return false
}

// cutScope takes a scope apart. The catalog's repository is "".
func cutScope(s string) (repository string, actions []string, ok bool) {
	kind, rest, _ := strings.Cut(s, ":")
	i := strings.LastIndex(rest, ":")
	if i < 0 {
		return "", nil, false
	}
	repository, actions = rest[:i], strings.Split(rest[i+1:], ",")
	if kind == "registry" && repository == "catalog" {
		return "", actions, true
	}
	return repository, actions, kind == "repository"
}

// challenge answers 401.
func (s *Server) challenge(x *Exchange, of, why string) *Answer {
	l := s.opts.Login
	a := refuse(http.StatusUnauthorized, "UNAUTHORIZED")
	if l.Challenges != nil {
		a.Header["Www-Authenticate"] = slices.Clone(l.Challenges)
		return a
	}
	if !l.Tokens {
		a.Header.Set("WWW-Authenticate", `Basic realm="registrytest"`)
		return a
	}
	if l.Scope != "" {
		of = l.Scope
	}
	realm := l.Realm
	if realm == "" {
		realm = s.URL + tokenPath
	}
	v := `Bearer realm="` + realm + `"`
	for _, p := range [][2]string{{"service", l.Service}, {"scope", of}, {"error", why}} {
		if p[1] != "" {
			v += "," + p[0] + `="` + p[1] + `"`
		}
	}
	a.Header.Set("WWW-Authenticate", v)
	return a
}

func bearer(h http.Header) string {
	_, token, _ := strings.Cut(h.Get("Authorization"), " ")
	return token
}

// basic reads the credential of a Basic Authorization.
func basic(value string) (user, password string, ok bool) {
	b, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return "", "", false
	}
	return strings.Cut(string(b), ":")
}

func (l *Login) right(user, password string) bool {
	want, ok := l.Users[user]
	return ok && want == password
}
