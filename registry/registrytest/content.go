package registrytest

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// content is what a registry holds.
type content struct {
	mu      sync.Mutex
	repos   map[string]*repository
	catalog []string // of SetCatalog, sorted; nil: the repositories that exist
}

type repository struct {
	blobs     map[digest.Digest]*object
	manifests map[digest.Digest]*object
	tags      map[string]digest.Digest
	order     []digest.Digest // of manifests, as they came
	listed    []string        // of SetTags, sorted; nil: tags
}

// object is a blob or a manifest.
type object struct {
	raw       []byte
	mediaType string // of a manifest
	late      int    // how often it is still unknown
}

func newContent() content { return content{repos: map[string]*repository{}} }

// repo gives a repository; one that isn't there is made.
func (c *content) repo(name string) *repository {
	r := c.repos[name]
	if r == nil {
		r = &repository{blobs: map[digest.Digest]*object{}, manifests: map[digest.Digest]*object{}, tags: map[string]digest.Digest{}}
		c.repos[name] = r
	}
	return r
}

// exists says whether the repository holds something, or SetTags made it.
func (r *repository) exists() bool { return len(r.blobs)+len(r.manifests) > 0 || r.listed != nil }

// known gives an object, unless it is too new to be known.
func known(o *object) *object {
	if o != nil && o.late > 0 {
		o.late--
		return nil
	}
	return o
}

// find gives a manifest by tag or digest.
func (r *repository) find(reference string) *object {
	if d, ok := r.tags[reference]; ok {
		return r.manifests[d]
	}
	return r.manifests[digest.Digest(reference)]
}

func (r *repository) put(d digest.Digest, o *object) {
	if r.manifests[d] == nil {
		r.order = append(r.order, d)
	}
	r.manifests[d] = o
}

func (r *repository) remove(d digest.Digest) {
	delete(r.manifests, d)
	r.order = slices.DeleteFunc(r.order, func(o digest.Digest) bool { return o == d })
	maps.DeleteFunc(r.tags, func(_ string, to digest.Digest) bool { return to == d })
}

// Blob puts a blob into a repository, and gives its sha256.
func (s *Server) Blob(repo string, raw []byte) digest.Digest {
	d := digest.FromBytes(raw)
	s.content.mu.Lock()
	defer s.content.mu.Unlock()
	s.content.repo(repo).blobs[d] = &object{raw: raw}
	return d
}

// Manifest puts bytes into a repository as a manifest, whatever they are, and gives
// their sha256. reference is a tag, a digest of the bytes, or "" for nothing but the
// sha256.
func (s *Server) Manifest(repo, reference, mediaType string, raw []byte) digest.Digest {
	d := digest.FromBytes(raw)
	o := &object{raw: raw, mediaType: mediaType}
	s.content.mu.Lock()
	defer s.content.mu.Unlock()
	r := s.content.repo(repo)
	r.put(d, o)
	switch {
	case strings.Contains(reference, ":"):
		r.put(digest.Digest(reference), o)
	case reference != "":
		r.tags[reference] = d
	}
	return d
}

// Image puts an image with these layers into a repository, and gives the digest of
// its manifest. tag may be "".
func (s *Server) Image(repo, tag string, layers ...[]byte) digest.Digest {
	config := []byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`)
	m := v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, Layers: []v1.Descriptor{},
		Config: v1.Descriptor{MediaType: v1.MediaTypeImageConfig, Digest: s.Blob(repo, config), Size: int64(len(config))},
	}
	for _, l := range layers {
		m.Layers = append(m.Layers, v1.Descriptor{MediaType: v1.MediaTypeImageLayer, Digest: s.Blob(repo, l), Size: int64(len(l))})
	}
	return s.Manifest(repo, tag, m.MediaType, marshal(m))
}

// Index puts an index of manifests that a repository has into it, and gives its digest.
func (s *Server) Index(repo, tag string, of ...digest.Digest) digest.Digest {
	s.t.Helper()
	x := v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{}}
	s.content.mu.Lock()
	for _, d := range of {
		o := s.content.repo(repo).manifests[d]
		if o == nil {
			s.content.mu.Unlock()
			s.t.Fatalf("an index of %s, which isn't there", d)
		}
		x.Manifests = append(x.Manifests, v1.Descriptor{MediaType: o.mediaType, Digest: d, Size: int64(len(o.raw))})
	}
	s.content.mu.Unlock()
	return s.Manifest(repo, tag, x.MediaType, marshal(x))
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // nothing in it can fail
	}
	return b
}

// Remove takes a tag, a manifest (with its tags) or a blob out of a repository.
func (s *Server) Remove(repo, reference string) {
	s.content.mu.Lock()
	defer s.content.mu.Unlock()
	r := s.content.repo(repo)
	if _, ok := r.tags[reference]; ok {
		delete(r.tags, reference)
		return
	}
	r.remove(digest.Digest(reference))
	delete(r.blobs, digest.Digest(reference))
}

// RemoveAll takes a repository out, with all that it holds and the tags that SetTags gave
// it. A catalog that was set goes on naming it.
func (s *Server) RemoveAll(repo string) {
	s.content.mu.Lock()
	defer s.content.mu.Unlock()
	delete(s.content.repos, repo)
}

// ReadBlob gives a blob of a repository, or nil.
func (s *Server) ReadBlob(repo string, d digest.Digest) []byte {
	s.content.mu.Lock()
	defer s.content.mu.Unlock()
	if o := s.content.repo(repo).blobs[d]; o != nil {
		return append([]byte{}, o.raw...)
	}
	return nil
}

// ReadManifest gives a manifest of a repository by tag or digest, or nil.
func (s *Server) ReadManifest(repo, reference string) []byte {
	s.content.mu.Lock()
	defer s.content.mu.Unlock()
	if o := s.content.repo(repo).find(reference); o != nil {
		return append([]byte{}, o.raw...)
	}
	return nil
}

// Held gives the tags and digests that a repository has: of manifests, then of blobs,
// each sorted.
func (s *Server) Held(repo string) (tags []string, manifests, blobs []digest.Digest) {
	s.content.mu.Lock()
	defer s.content.mu.Unlock()
	r := s.content.repo(repo)
	return slices.Sorted(maps.Keys(r.tags)), slices.Sorted(maps.Keys(r.manifests)), slices.Sorted(maps.Keys(r.blobs))
}
