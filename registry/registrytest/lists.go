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

// SetCatalog has the catalog name these repositories from now on, whatever the registry
// holds.
func (s *Server) SetCatalog(repos ...string) {
	s.content.mu.Lock()
	defer s.content.mu.Unlock()
	s.content.catalog = sorted(repos)
}

// SetTags has the list of a repository's tags name these from now on, whatever the
// repository holds. It makes a repository that isn't there.
func (s *Server) SetTags(repo string, tags ...string) {
	s.content.mu.Lock()
	defer s.content.mu.Unlock()
	s.content.repo(repo).listed = sorted(tags)
}

// sorted gives a sorted copy, which is never nil.
func sorted(names []string) []string {
	names = append([]string{}, names...)
	slices.Sort(names)
	return names
}

// tagList answers with the tags of a repository (spec, "Listing Tags").
func (s *Server) tagList(x *Exchange) *Answer {
	s.content.mu.Lock()
	r := s.content.repos[x.Repository]
	if r == nil || !r.exists() {
		s.content.mu.Unlock()
		return refuse(http.StatusNotFound, "NAME_UNKNOWN")
	}
	tags := r.listed
	if tags == nil {
		tags = slices.Sorted(maps.Keys(r.tags))
	}
	s.content.mu.Unlock()
	tags, link := s.page(x, tags)
	return list(map[string]any{"name": x.Repository, "tags": tags}, "application/json", link)
}

// catalog answers with the repositories.
func (s *Server) catalog(x *Exchange) *Answer {
	s.content.mu.Lock()
	names := s.content.catalog
	if names == nil {
		for name, r := range s.content.repos {
			if r.exists() {
				names = append(names, name)
			}
		}
		slices.Sort(names)
	}
	s.content.mu.Unlock()
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
