package main

import (
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
// web address, an image's reference, a host as it stands in the tree.
func parseTarget(typed string) (target, error) {
	s := strings.TrimSpace(typed)
	for _, scheme := range []string{"https://", "http://", "oci://", "docker://"} {
		if rest, ok := strings.CutPrefix(s, scheme); ok {
			s = strings.TrimSuffix(strings.TrimRight(rest, "/"), "/v2")
		}
	}
	name, path, _ := strings.Cut(strings.TrimRight(s, "/"), "/")
	host, err := ref.ParseHost(name)
	if err != nil { // localhost_5000
		if i := strings.LastIndexByte(name, '_'); i > 0 {
			host, err = ref.ParseHost(name[:i] + ":" + name[i+1:])
		}
	}
	if err != nil {
		hint := ""
		if _, e := ref.Parse(ref.DockerHub + "/" + s); e == nil && !strings.Contains(name, ".") {
			hint = fmt.Sprintf("; for Docker Hub write %s/%s", ref.DockerHub, s)
		}
		return target{}, fmt.Errorf("write HOST or HOST/REPOSITORY: %w%s", err, hint)
	}
	t := target{host: host}
	if path != "" {
		r, err := ref.Parse(host + "/" + path)
		if err != nil {
			return target{}, fmt.Errorf("write HOST or HOST/REPOSITORY: %w", err)
		}
		t.repo, t.object = r.Repository, r.Object
	}
	if typed != t.name() {
		t.typed = typed
	}
	return t, nil
}
