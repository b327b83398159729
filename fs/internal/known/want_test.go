package known

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// foreignBlob is a blob that a repository lacks, and one of its URLs has wrong.
type foreignBlob struct {
	b                  *begun
	r                  Repository
	s, wrong, right    *registrytest.Server
	desc               v1.Descriptor
	wrongURL, rightURL string
}

func newForeignBlob(t *testing.T) *foreignBlob {
	const content = "a layer that mustn't be distributed"
	f := &foreignBlob{
		s:     registrytest.Start(t, registrytest.Options{}),
		wrong: registrytest.Start(t, registrytest.Options{}), right: registrytest.Start(t, registrytest.Options{}),
		desc: v1.Descriptor{Digest: digest.FromString(content), Size: int64(len(content))},
	}
	for _, at := range []*registrytest.Server{f.wrong, f.right} {
		at.Blob("base", []byte(content))
	}
	f.wrong.On("GET blob", registrytest.Body(strings.ToUpper(content)))
	f.wrongURL, f.rightURL = f.wrong.URL+"/v2/base/blobs/"+f.desc.Digest.String(), f.right.URL+"/v2/base/blobs/"+f.desc.Digest.String()
	f.b = begin(t, f.s, Options{})
	f.r = f.b.Repository(ref.Repository{Host: f.s.Host, Path: "r"})
	return f
}

func (f *foreignBlob) get(t *testing.T, urls ...string) (string, error) {
	desc := f.desc
	desc.URLs = urls
	file, err := f.b.o.Store.Get(t.Context(), f.r.Want(desc))
	if err != nil {
		return "", err
	}
	defer file.Close()
	got, err := io.ReadAll(io.NewSectionReader(file, 0, file.Size()))
	return string(got), err
}

// A blob that its repository lacks comes from the URLs of its descriptor. That says nothing about
// the repository.
func TestAWantedBlobComesFromItsURLs(t *testing.T) {
	f := newForeignBlob(t)
	if _, err := f.get(t); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("without a URL: %v", err)
	}
	if _, err := f.get(t, f.rightURL); err != nil {
		t.Error(err)
	}
	f.s.Want("GET blob", "GET blob")
	f.right.Want("GET blob")
	if f.b.visits.get(f.r.Repository).Known() {
		t.Error("the repository is taken for one that exists")
	}
}

// If the bytes of a URL are wrong, the blob comes from another one; if there is none, nothing is
// downloaded twice.
func TestWrongBytesOfAURLAreGotFromAnother(t *testing.T) {
	f := newForeignBlob(t)
	if _, err := f.get(t, f.wrongURL); !errors.Is(err, cache.ErrMismatch) {
		t.Errorf("the wrong one alone: %v", err)
	}
	f.wrong.Want("GET blob")
	f = newForeignBlob(t)
	if got, err := f.get(t, f.wrongURL, f.rightURL); digest.FromString(got) != f.desc.Digest || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	f.wrong.Want("GET blob")
	f.right.Want("GET blob")
}
