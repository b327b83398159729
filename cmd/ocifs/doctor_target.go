package main

import (
	"github.com/ocifs/ocifs/registry/ref"
)

// target is what doctor looks at besides this machine. The zero value is nothing.
type target struct {
	host   string
	repo   ref.Repository // the zero value: none was named
	object string         // a tag or a digest in repo, or ""
	typed  string         // what a person wrote, where it isn't quite a target's name
}

// parseTarget reads what doctor is to look at.
func parseTarget(typed string) (target, error) {
	a, err := parseAddress(typed)
	if err != nil {
		return target{}, err
	}
	t := target{host: a.host, repo: a.repo, object: a.object}
	if typed != t.name() {
		t.typed = typed
	}
	return t, nil
}
