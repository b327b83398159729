package registries

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Generated is the content of a registry that computes each answer. No content is pushed,
// and hardly any memory is taken.
type Generated struct {
	// Repositories is the number of the repositories r000000, r000001 and so on. Each
	// has the tag t000000.
	Repositories int
	// Tags is the number of the tags t000000, t000001 and so on of the repository
	// tagged.
	Tags int
}

const (
	// generatedPage is how many names such a registry lists at once.
	generatedPage = 1000
	// generatedTwins is how many tags in a row have the same manifest, as "latest",
	// "v1" and "v1.2" of one image have.
	generatedTwins = 10
	// generatedNote is the size of an annotation of each manifest, in bytes, as long as those of
	// a large image are.
	generatedNote = 8 << 10
)

// Generate starts a registry of generated content, which can be read and not written. The
// registry records no request and has no faults: it is
// for so many requests that their record would fill the memory of the test.
func Generate(g Generated) (*Server, error) {
	l, err := loopback()
	if err != nil {
		return nil, err
	}
	r := &generated{
		repositories: append(numbered("r", g.Repositories), "tagged"),
		tags:         numbered("t", g.Tags),
		named:        map[digest.Digest]string{},
	}
	s := &Server{Host: l.Addr().String(), front: r}
	s.listen(l)
	return s, nil
}

// numbered gives n names in the order in which they are sorted.
func numbered(prefix string, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%s%06d", prefix, i)
	}
	return names
}

// generated is the registry itself.
type generated struct {
	repositories, tags []string // sorted

	mu    sync.Mutex
	named map[digest.Digest]string // a tag of each manifest that was asked for; guarded by mu
}

func (g *generated) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v2/")
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		http.Error(w, "", http.StatusMethodNotAllowed)
	case path == "":
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte("{}"))
	case path == "_catalog":
		listPage(w, r, g.repositories, generatedPage, func(some []string) any { return map[string]any{"repositories": some} })
	default:
		repository, object, _ := strings.Cut(path, "/")
		g.object(w, r, repository, object)
	}
}

// object answers for what stands below a repository.
func (g *generated) object(w http.ResponseWriter, r *http.Request, repository, object string) {
	tags := g.tagsOf(repository)
	reference, isManifest := strings.CutPrefix(object, "manifests/")
	blob, isBlob := strings.CutPrefix(object, "blobs/")
	switch {
	case tags == nil:
		http.Error(w, `{"errors":[{"code":"NAME_UNKNOWN"}]}`, http.StatusNotFound)
	case object == "tags/list":
		listPage(w, r, tags, generatedPage, func(some []string) any { return map[string]any{"name": repository, "tags": some} })
	case isManifest:
		g.manifest(w, r, repository, reference, tags)
	case isBlob && blob == ocispec.DescriptorEmptyJSON.Digest.String():
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(ocispec.DescriptorEmptyJSON.Data))
	default:
		http.NotFound(w, r)
	}
}

// tagsOf gives the tags of a repository, or nil if there is no such repository.
func (g *generated) tagsOf(repository string) []string {
	_, found := slices.BinarySearch(g.repositories, repository)
	switch {
	case !found:
		return nil
	case repository == "tagged":
		return g.tags
	}
	return g.tags[:1]
}

func (g *generated) manifest(w http.ResponseWriter, r *http.Request, repository, reference string, tags []string) {
	tag := reference
	if d, err := digest.Parse(reference); err == nil {
		g.mu.Lock()
		tag = g.named[d]
		g.mu.Unlock()
	}
	n, found := slices.BinarySearch(tags, tag)
	if !found {
		http.Error(w, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`, http.StatusNotFound)
		return
	}
	raw := generatedManifest(repository, n/generatedTwins)
	d := digest.FromBytes(raw)
	g.mu.Lock()
	g.named[d] = tag
	g.mu.Unlock()
	w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
	w.Header().Set("Docker-Content-Digest", d.String())
	w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	w.Write(raw)
}

// generatedManifest is the n-th manifest of a repository: an artifact without content, as
// the image specification has those ("Guidelines for Artifact Usage").
func generatedManifest(repository string, n int) []byte {
	empty := ocispec.DescriptorEmptyJSON
	empty.Data = nil
	raw, err := json.Marshal(ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: "application/vnd.example.generated",
		Config:       empty,
		Layers:       []ocispec.Descriptor{empty},
		Annotations: map[string]string{
			ocispec.AnnotationTitle: repository, ocispec.AnnotationVersion: strconv.Itoa(n),
			"org.example.note": strings.Repeat("x", generatedNote),
		},
	})
	if err != nil {
		panic(err) // the types of the specification always encode
	}
	return raw
}
