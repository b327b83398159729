package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ocifs/ocifs/registry/ref"
)

// target is what doctor looks at besides this machine. The zero value is nothing.
type target struct {
	host   string
	repo   ref.Repository // the zero value: none was named
	object string         // a tag or a digest in repo, or ""
	typed  string         // what a person wrote, where it isn't quite a target's name
}

// parseTarget reads HOST or HOST/REPOSITORY, and what people write in place of it: a
// web address, an image's reference, a path as it is in the tree.
func parseTarget(typed string) (target, error) {
	s := strings.TrimSpace(typed)
	for _, scheme := range []string{"https://", "http://", "oci://", "docker://"} {
		s = strings.TrimPrefix(s, scheme)
	}
	s = strings.TrimRight(s, "/")
	name, path, _ := strings.Cut(s, "/")
	host, err := ref.ParseHost(name)
	if err != nil { // as it stands in the tree: localhost_5000
		if i := strings.LastIndexByte(name, '_'); i > 0 {
			host, err = ref.ParseHost(name[:i] + ":" + name[i+1:])
		}
	}
	if err != nil {
		hint := ""
		if _, e := ref.NewRepository(ref.DockerHub, strings.Split(s, ":")[0]); e == nil && !strings.ContainsAny(name, ".") {
			hint = fmt.Sprintf("; for Docker Hub write %s/%s", ref.DockerHub, s)
		}
		return target{}, fmt.Errorf("write HOST or HOST/REPOSITORY: %w%s", err, hint)
	}
	t := target{host: host}
	if path = strings.TrimPrefix(strings.TrimPrefix(path+"/", "v2/"), "/"); path != "" {
		path, tag, tagged := strings.Cut(path, "/tags/")
		path = strings.TrimSuffix(path, "/")
		r, err := ref.Parse(host + "/" + path)
		if err != nil {
			return target{}, fmt.Errorf("write HOST or HOST/REPOSITORY: %w", err)
		}
		t.repo, t.object = r.Repository, r.Object
		if tag, _, _ = strings.Cut(tag, "/"); tagged && r.Object == "" {
			if !ref.ValidTag(tag) {
				return target{}, errors.New("write HOST or HOST/REPOSITORY: " + fmt.Sprintf("%q is no tag", tag))
			}
			t.object = tag
		}
	}
	if typed != t.name() {
		t.typed = typed
	}
	return t, nil
}
