package registrytest

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// tagList answers with the tags of a repository (spec, "Listing Tags").
func (s *Server) tagList(x *Exchange) *Answer {
	s.content.mu.Lock()
	r := s.content.repos[x.Repository]
	if r == nil || len(r.blobs)+len(r.manifests) == 0 {
		s.content.mu.Unlock()
		return refuse(http.StatusNotFound, "NAME_UNKNOWN")
	}
	tags := slices.Sorted(maps.Keys(r.tags))
	s.content.mu.Unlock()
	tags, link := s.page(x, tags)
	return list(map[string]any{"name": x.Repository, "tags": tags}, "application/json", link)
}

// catalog answers with the repositories.
func (s *Server) catalog(x *Exchange) *Answer {
	s.content.mu.Lock()
	names := []string{}
	for name, r := range s.content.repos {
		if len(r.blobs)+len(r.manifests) > 0 {
			names = append(names, name)
		}
	}
	s.content.mu.Unlock()
	slices.Sort(names)
	names, link := s.page(x, names)
	return list(map[string]any{"repositories": names}, "application/json", link)
}

func list(v any, contentType, link string) *Answer {
	a := Plain(http.StatusOK, string(marshal(v)), "Content-Type", contentType)
	if link != "" {
		a.Header.Set("Link", link)
	}
	return a
}

// page cuts the page that is asked for out of names, by n and last, and gives the Link
// to the next, or "".
func (s *Server) page(x *Exchange, names []string) (page []string, link string) {
	q := x.URL.Query()
	if last := q.Get("last"); last != "" {
		i, found := slices.BinarySearch(names, last)
		if found {
			i++
		}
		names = names[i:]
	}
	most := len(names)
	if n, err := strconv.Atoi(q.Get("n")); err == nil && n >= 0 {
		most = min(most, n)
	}
	if n := s.Traits().Page; n > 0 {
		most = min(most, n)
	}
	if most < len(names) && most > 0 {
		link = fmt.Sprintf(`<%s?n=%d&last=%s>; rel="next"`, x.URL.Path, most, url.QueryEscape(names[most-1]))
	}
	return append([]string{}, names[:most]...), link
}

// referrers answers with what has a manifest as its subject (spec, "Listing
// Referrers").
func (s *Server) referrers(x *Exchange) *Answer {
	traits := s.Traits()
	if !traits.Referrers {
		return Plain(http.StatusNotFound, "404 page not found\n", "Content-Type", "text/plain")
	}
	if digest.Digest(x.Reference).Validate() != nil {
		return refuse(http.StatusBadRequest, "DIGEST_INVALID")
	}
	all := s.referring(x.Repository, digest.Digest(x.Reference))
	q := x.URL.Query()
	filter := q.Get("artifactType")
	if filter != "" && !traits.NoFilter {
		all = slices.DeleteFunc(all, func(d v1.Descriptor) bool { return d.ArtifactType != filter })
	}
	from, _ := strconv.Atoi(q.Get("from"))
	all = all[min(max(from, 0), len(all)):]
	link := ""
	if n := traits.Page; n > 0 && len(all) > n {
		q.Set("from", strconv.Itoa(from+n))
		all, link = all[:n], fmt.Sprintf(`<%s?%s>; rel="next"`, x.URL.Path, q.Encode())
	}
	a := list(v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: all}, v1.MediaTypeImageIndex, link)
	if filter != "" && !traits.NoFilter {
		a.Header.Set("OCI-Filters-Applied", "artifactType")
	}
	return a
}

// referring gives the descriptors of the manifests whose subject is d, as they came.
func (s *Server) referring(repo string, d digest.Digest) []v1.Descriptor {
	s.content.mu.Lock()
	defer s.content.mu.Unlock()
	all := []v1.Descriptor{}
	r := s.content.repo(repo)
	for _, of := range r.order {
		o := r.manifests[of]
		m, ok := parse(o.raw, o.mediaType)
		if !ok || m.Subject == nil || m.Subject.Digest != d {
			continue
		}
		if m.ArtifactType == "" && m.Config != nil {
			m.ArtifactType = m.Config.MediaType
		}
		all = append(all, v1.Descriptor{MediaType: m.MediaType, ArtifactType: m.ArtifactType, Digest: of, Size: int64(len(o.raw)), Annotations: m.Annotations})
	}
	return all
}
