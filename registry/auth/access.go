package auth

import (
	"maps"
	"slices"
	"strings"

	"github.com/ocifs/ocifs/registry/ref"
)

// Action is what is done at a repository.
type Action int

// The actions that registries tell apart.
const (
	Pull Action = iota
	Push
	Delete
)

// Access is what a request needs to be let do. The zero value is reading. It is
// comparable: each has tokens of its own.
type Access struct {
	Do   Action
	From string // path of the repository that a blob is mounted from, with Push
}

// scopes gives what a token is asked for (the token protocol's scope), the most
// important first: for reading what the challenge names, as the registry knows
// best. For the rest what is needed comes first, and what the challenge names
// besides follows: servers are met whose challenges name less than they want.
func (a Access) scopes(r ref.Repository, named string) []string {
	if a.Do == Pull && named != "" {
		return strings.Fields(named)
	}
	if r.Path == "" {
		return []string{"registry:catalog:*"}
	}
	var all scopeSet
	switch a.Do {
	case Pull:
		all.add("repository:" + r.Path + ":pull")
	case Push:
		all.add("repository:" + r.Path + ":pull,push")
		if a.From != "" {
			all.add("repository:" + a.From + ":pull")
		}
	case Delete:
		all.add("repository:" + r.Path + ":pull,delete")
	}
	for s := range strings.FieldsSeq(named) {
		all.add(s)
	}
	return all.strings()
}

// scopeSet unites scopes: one for each resource, with all actions for it.
type scopeSet struct {
	resources []string // "repository:a/b", in order
	actions   map[string][]string
}

func (s *scopeSet) add(scope string) {
	i := strings.LastIndexByte(scope, ':')
	resource, actions := scope, []string(nil)
	if i > 0 {
		resource, actions = scope[:i], strings.Split(scope[i+1:], ",")
	}
	if s.actions == nil {
		s.actions = map[string][]string{}
	}
	known, ok := s.actions[resource]
	if !ok {
		s.resources = append(s.resources, resource)
	}
	for _, a := range actions {
		if !slices.Contains(known, a) {
			known = append(known, a)
		}
	}
	s.actions[resource] = known
}

func (s *scopeSet) strings() []string {
	var all []string
	for _, r := range s.resources {
		if len(s.actions[r]) == 0 {
			all = append(all, r)
			continue
		}
		all = append(all, r+":"+strings.Join(s.actions[r], ","))
	}
	return all
}

// learn gives a grant that was never challenged what another of the same
// repository knows, so that its token is got without a refusal before. The scope
// is of the other one.
func (g *grant) learn(from *grant) {
	from.mu.Lock()
	c, realm := from.challenge, from.realm
	from.mu.Unlock()
	if c == nil {
		return
	}
	own := &Challenge{c.Scheme, maps.Clone(c.Params)}
	delete(own.Params, "scope")
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.challenge == nil {
		g.challenge, g.realm = own, realm
	}
}
