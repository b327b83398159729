package registrytest

import (
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"slices"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/ref"
)

// manifest answers for manifests (spec, "Pulling manifests", "Pushing Manifests",
// "Deleting Manifests").
func (s *Server) manifest(x *Exchange) *Answer {
	switch x.Method {
	case http.MethodGet, http.MethodHead:
		return s.getManifest(x)
	case http.MethodPut:
		return s.putManifest(x)
	case http.MethodDelete:
		return s.deleteManifest(x)
	}
	return refuse(http.StatusMethodNotAllowed, "UNSUPPORTED")
}

func (s *Server) getManifest(x *Exchange) *Answer {
	s.content.mu.Lock()
	defer s.content.mu.Unlock()
	o := known(s.content.repo(x.Repository).find(x.Reference))
	if o == nil {
		return refuse(http.StatusNotFound, "MANIFEST_UNKNOWN")
	}
	d := digest.FromBytes(o.raw)
	if asked := digest.Digest(x.Reference); asked.Validate() == nil {
		d = asked
	}
	a := Plain(http.StatusOK, string(o.raw), "Content-Type", o.mediaType, "Docker-Content-Digest", d.String())
	switch traits := s.Traits(); {
	case traits.WeakETags:
		a.Header.Set("ETag", "W/"+etag(o))
	case traits.ETags:
		a.Header.Set("ETag", etag(o))
	}
	return a
}

// etag is the ETag of a manifest; "" for none.
func etag(o *object) string {
	if o == nil {
		return ""
	}
	return `"` + digest.FromBytes(o.raw).String() + `"`
}

// parsed is what a registry looks at of a manifest.
type parsed struct {
	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType"`
	Config       *v1.Descriptor    `json:"config"`
	Layers       []v1.Descriptor   `json:"layers"`
	Blobs        []v1.Descriptor   `json:"blobs"` // of an artifact manifest
	Manifests    []v1.Descriptor   `json:"manifests"`
	Subject      *v1.Descriptor    `json:"subject"`
	Annotations  map[string]string `json:"annotations"`
}

// parse reads a manifest that is pushed, and says whether it is one.
func parse(raw []byte, contentType string) (m parsed, ok bool) {
	bare, _, err := mime.ParseMediaType(contentType)
	if json.Unmarshal(raw, &m) != nil || err != nil || m.MediaType != "" && m.MediaType != bare {
		return m, false
	}
	m.MediaType = bare
	all := slices.Concat(m.Layers, m.Blobs, m.Manifests)
	for _, d := range []*v1.Descriptor{m.Config, m.Subject} {
		if d != nil {
			all = append(all, *d)
		}
	}
	for _, d := range all {
		if _, err := ref.ParseDigest(d.Digest.String()); err != nil || d.Size < 0 {
			return m, false
		}
	}
	switch bare {
	case v1.MediaTypeImageIndex, "application/vnd.docker.distribution.manifest.list.v2+json":
		return m, m.Manifests != nil && m.Config == nil
	case v1.MediaTypeImageManifest, "application/vnd.docker.distribution.manifest.v2+json":
		return m, m.Config != nil && m.Manifests == nil
	case "application/vnd.oci.artifact.manifest.v1+json", "application/vnd.cncf.oras.artifact.manifest.v1+json":
		return m, m.Config == nil && m.Layers == nil && m.Manifests == nil
	}
	return m, false
}

func (s *Server) putManifest(x *Exchange) *Answer {
	raw, err := io.ReadAll(x.Body)
	if err != nil {
		return nil
	}
	m, ok := parse(raw, x.Header.Get("Content-Type"))
	if !ok {
		return refuse(http.StatusBadRequest, "MANIFEST_INVALID")
	}
	d := digest.FromBytes(raw)
	if asked, err := ref.ParseDigest(x.Reference); err == nil {
		if d = asked; d.Algorithm().FromBytes(raw) != d {
			return refuse(http.StatusBadRequest, "DIGEST_INVALID")
		}
	} else if !ref.ValidTag(x.Reference) {
		return refuse(http.StatusBadRequest, "TAG_INVALID")
	}
	traits := s.Traits()
	s.content.mu.Lock()
	defer s.content.mu.Unlock()
	r := s.content.repo(x.Repository)
	match, noneMatch := x.Header.Get("If-Match"), x.Header.Get("If-None-Match")
	switch there := r.find(x.Reference); {
	case traits.Conditions != 0 && match+noneMatch != "":
		return refuse(traits.Conditions, "UNSUPPORTED")
	case match != "" && match != etag(there), noneMatch == "*" && there != nil:
		return Plain(http.StatusPreconditionFailed, "")
	}
	if !r.complete(m, traits.Sparse) {
		return refuse(http.StatusNotFound, "MANIFEST_BLOB_UNKNOWN")
	}
	a := Plain(http.StatusCreated, "", "Docker-Content-Digest", d.String(), "Location", s.opts.Base+"/"+x.Repository+"/manifests/"+d.String())
	r.put(d, &object{raw, m.MediaType, traits.Late})
	if d.String() != x.Reference {
		r.tags[x.Reference] = d
	}
	if traits.OCITag {
		for _, tag := range x.URL.Query()["tag"] {
			r.tags[tag] = d
			a.Header.Add("OCI-Tag", tag)
		}
	}
	if traits.Referrers && m.Subject != nil {
		a.Header.Set("OCI-Subject", m.Subject.Digest.String())
	}
	return a
}

// complete says whether the pieces of a manifest are there.
func (r *repository) complete(m parsed, sparse bool) bool {
	blobs := slices.Concat(m.Layers, m.Blobs)
	if m.Config != nil {
		blobs = append([]v1.Descriptor{*m.Config}, blobs...)
	}
	for _, d := range blobs {
		if known(r.blobs[d.Digest]) == nil && len(d.URLs) == 0 {
			return false
		}
	}
	for _, d := range m.Manifests {
		// A build cache's children are blobs; distribution looks for both (2.8.2).
		if !sparse && known(r.manifests[d.Digest]) == nil && known(r.blobs[d.Digest]) == nil {
			return false
		}
	}
	return true
}

func (s *Server) deleteManifest(x *Exchange) *Answer {
	if s.Traits().Keep {
		return refuse(http.StatusMethodNotAllowed, "UNSUPPORTED")
	}
	s.content.mu.Lock()
	defer s.content.mu.Unlock()
	r := s.content.repo(x.Repository)
	switch _, tagged := r.tags[x.Reference]; {
	case tagged:
		delete(r.tags, x.Reference)
	case r.find(x.Reference) != nil:
		r.remove(digest.Digest(x.Reference))
	default:
		return refuse(http.StatusNotFound, "MANIFEST_UNKNOWN")
	}
	return Plain(http.StatusAccepted, "")
}
