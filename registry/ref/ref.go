// Package ref holds the grammar of the distribution specification: hosts,
// repositories, tags, digests and references made of them.
//
// Everything that names something at a registry passes through here first, so
// that a name that can't be valid never leaves the machine. All checks are local
// and cheap; no function of this package does I/O. All values are comparable
// and safe as map keys.
//
// The grammar of repository names and tags is that of
// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-manifests,
// the grammar of digests that of
// https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md#digests.
package ref

import (
	"errors"
	"fmt"
	"strings"
)

// ErrInvalid is matched by every error of this package: the name is outside the
// grammar, and no registry can have it.
var ErrInvalid = errors.New("invalid name")

// Docker Hub goes by several names. People write DockerHub; its API answers
// at dockerHubAPI, and official images live below the namespace library.
const (
	DockerHub    = "docker.io"
	dockerHubAPI = "registry-1.docker.io"
)

// maxPath is the longest repository path that registries accept.
const maxPath = 255

// Repository is a repository at a registry. The zero value is none.
type Repository struct {
	// Host is the registry as people spell it, with its port where it has one:
	// "docker.io", "localhost:5000".
	Host string
	// Path is the repository's name at that registry: "library/alpine".
	Path string
}

// NewRepository checks host and path and returns the repository they name.
// Docker Hub's short names are completed: docker.io and alpine are
// docker.io/library/alpine.
func NewRepository(host, path string) (Repository, error) {
	host, err := ParseHost(host)
	if err != nil {
		return Repository{}, err
	}
	if err := checkPath(path); err != nil {
		return Repository{}, err
	}
	if host == DockerHub && !strings.Contains(path, "/") {
		path = "library/" + path
	}
	return Repository{Host: host, Path: path}, nil
}

// String gives host/path.
func (r Repository) String() string { return r.Host + "/" + r.Path }

// APIHost is the host:port that serves the API of the registry called host. It
// differs from host at Docker Hub alone.
func APIHost(host string) string {
	if host == DockerHub {
		return dockerHubAPI
	}
	return host
}

// Reference is a repository with a tag, a digest, or neither.
type Reference struct {
	Repository
	// Object is a tag or a digest, or empty.
	Object string
}

// Parse reads HOST/PATH, HOST/PATH:TAG or HOST/PATH@DIGEST. The host must be
// spelled out: there is no default registry.
func Parse(s string) (Reference, error) {
	host, rest, ok := strings.Cut(s, "/")
	if !ok {
		return Reference{}, fmt.Errorf("%w: %q has no repository: write HOST/REPOSITORY", ErrInvalid, s)
	}
	path, object := rest, ""
	if p, d, ok := strings.Cut(rest, "@"); ok {
		if _, err := ParseDigest(d); err != nil {
			return Reference{}, err
		}
		path, object = p, d
		// name:tag@digest is met in the wild; the digest decides.
		path, _, _ = strings.Cut(path, ":")
	} else if p, t, ok := strings.Cut(rest, ":"); ok {
		if !ValidTag(t) {
			return Reference{}, fmt.Errorf("%w: %q is no tag", ErrInvalid, t)
		}
		path, object = p, t
	}
	repo, err := NewRepository(host, path)
	if err != nil {
		return Reference{}, err
	}
	return Reference{Repository: repo, Object: object}, nil
}

// String gives the reference as it is written on a command line.
func (r Reference) String() string {
	switch {
	case r.Object == "":
		return r.Repository.String()
	case strings.Contains(r.Object, ":"):
		return r.Repository.String() + "@" + r.Object
	default:
		return r.Repository.String() + ":" + r.Object
	}
}

func checkPath(path string) error {
	if len(path) > maxPath {
		return fmt.Errorf("%w: repository %.40q… is longer than %d bytes", ErrInvalid, path, maxPath)
	}
	for c := range strings.SplitSeq(path, "/") {
		if !ValidComponent(c) {
			return fmt.Errorf("%w: %q is no repository name: components are lowercase letters and digits, separated by one of . _ __ or dashes", ErrInvalid, path)
		}
	}
	return nil
}

// ValidComponent says whether s can be one component of a repository's path:
// [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*
func ValidComponent(s string) bool {
	if s == "" || len(s) > maxPath {
		return false
	}
	i, n := 0, len(s)
	for {
		start := i
		for i < n && alnum(s[i]) {
			i++
		}
		if i == start {
			return false
		}
		if i == n {
			return true
		}
		switch s[i] {
		case '.':
			i++
		case '_':
			i++
			if i < n && s[i] == '_' {
				i++
			}
		case '-':
			for i < n && s[i] == '-' {
				i++
			}
		default:
			return false
		}
	}
}

// ValidTag says whether s can be a tag: [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}
func ValidTag(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		word := alnum(c) || c >= 'A' && c <= 'Z' || c == '_'
		if !word && (i == 0 || c != '.' && c != '-') {
			return false
		}
	}
	return true
}

func alnum(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }
