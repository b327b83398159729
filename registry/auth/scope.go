package auth

import (
	"net/url"
	"slices"
	"strings"
	"sync"

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

// form is one way to spell the scope of an access. Token endpoints differ in what they
// take.
type form int

// The forms of a scope, in the order in which they are tried.
const (
	// needed is what the access needs, and what the challenge names besides: JFrog
	// Artifactory challenges without a scope (seen 2018), others name less than they want.
	// IBM Cloud wants delete asked for. Reading asks for what the challenge names, as the
	// registry knows best.
	needed form = iota
	// named is what the challenge names alone.
	named
	// plain is of pull and push alone: Quay's token endpoint answers 400 "Unable to decode
	// repository and actions" to actions other than push, pull and * (seen 2026). It lets
	// delete who may push.
	plain
)

// scope gives the scopes that a token is asked for in a form, the most important first. An
// empty list asks for a token that only says who asks: of a ping of /v2/. ok is false if
// the access has no such form.
func (a Access) scope(f form, r ref.Repository, challenge string) (scopes []string, ok bool) {
	write := a.Do != Pull
	switch {
	case f == needed:
		return a.needed(r, challenge), true
	case f == named:
		return strings.Fields(challenge), write && writes(challenge, r)
	case r.Path == "":
		return nil, true
	case write:
		return Access{Push, a.From}.needed(r, ""), true
	}
	return a.needed(r, ""), true
}

// needed gives the scopes of an access, and those that a challenge names.
func (a Access) needed(r ref.Repository, challenge string) []string {
	if a.Do == Pull && challenge != "" || r.Path == "" {
		return strings.Fields(challenge)
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
	for s := range strings.FieldsSeq(challenge) {
		all.add(s)
	}
	return all.strings()
}

// writes says whether scopes have another action for a repository than pull.
func writes(scopes string, r ref.Repository) bool {
	for s := range strings.FieldsSeq(scopes) {
		actions, ok := strings.CutPrefix(s, "repository:"+r.Path+":")
		if ok && actions != "pull" {
			return true
		}
	}
	return false
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

// scopeForms remembers which form of a scope a token endpoint takes for writing, so that a
// form that it doesn't know is asked for once.
type scopeForms struct {
	mu    sync.Mutex       // guards taken; nothing else is locked under it
	taken map[formKey]form // those that aren't needed, which is tried first anyway
}

type formKey struct {
	endpoint string
	do       Action
}

// maxForms bounds what is remembered: realms are what registries say.
const maxForms = 1024

// order gives the forms in the order in which an endpoint is asked for them.
func (s *scopeForms) order(endpoint *url.URL, do Action) []form {
	all := []form{needed, named, plain}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, ok := s.taken[formKey{endpoint.String(), do}]; ok {
		all = append([]form{f}, slices.DeleteFunc(all, func(other form) bool { return other == f })...)
	}
	return all
}

// takes notes that an endpoint takes a form for writing. For reading nothing is learnt: a
// registry may name a scope of its own for each resource, as ECR Public does.
func (s *scopeForms) takes(endpoint *url.URL, do Action, f form) {
	if do == Pull {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := formKey{endpoint.String(), do}
	if f == needed {
		delete(s.taken, k)
		return
	}
	if s.taken == nil || len(s.taken) >= maxForms {
		s.taken = map[formKey]form{}
	}
	s.taken[k] = f
}
