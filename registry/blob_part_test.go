package registry

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// A part of a blob is that part or nothing: whoever gets several at once mustn't read
// all of it for each.
//
// Behaviour: blob.whole
func TestAPartIsHadAloneOrNot(t *testing.T) {
	content := strings.Repeat(anyway, 4000)
	for name, q := range map[string]registrytest.Quirk{
		"ranges ignored":  registrytest.IgnoreRange(),
		"another range":   registrytest.ShiftRange(7),
		"not satisfiable": registrytest.Refuse(416, "RANGE_INVALID"),
		"refused":         registrytest.Refuse(400, "UNSUPPORTED"),
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, registrytest.Options{})
			d := s.Blob("a/b", []byte(content))
			desc := v1.Descriptor{Digest: d, Size: int64(len(content))}
			c := knowing(t, Options{}, quick(), s)
			b, err := c.BlobPart(context.Background(), in(s), desc, 100, 5000)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(b)
			b.Close()
			if err != nil || string(got) != content[100:5100] {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			s.On("GET blob", q)
			s.Forget()
			if b, err = c.BlobPart(context.Background(), in(s), desc, 100, 5000); !errors.Is(err, ErrUnsupported) || s.Count("GET blob") != 1 {
				t.Errorf("%v, asked %q", err, s.Asked())
			}
			if err == nil {
				b.Close()
			}
		})
	}
}

func TestAPartWaitsForNoPlace(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	d := s.Blob("a/b", []byte(anyway))
	desc := v1.Descriptor{Digest: d, Size: int64(len(anyway))}
	c := knowing(t, Options{Downloads: 1}, quick(), s)
	all, err := c.BlobRange(context.Background(), in(s), desc, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.BlobPart(context.Background(), in(s), desc, 0, 1); !errors.Is(err, ErrNoPlace) || s.Count("GET blob") != 1 {
		t.Errorf("%v, asked %q", err, s.Asked())
	}
	all.Close()
	b, err := c.BlobPart(context.Background(), in(s), desc, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
}

// Each part of a blob has a connection of its own, because parts are for where one connection is slow.
// HTTP/2 would send them all by one.
//
// Behaviour: transport.share
func TestEachPartHasAConnection(t *testing.T) {
	content := strings.Repeat(anyway, 4000)
	s := registrytest.Start(t, registrytest.Options{TLS: true})
	d := s.Blob("a/b", []byte(content))
	desc := v1.Descriptor{Digest: d, Size: int64(len(content))}
	c := knowing(t, Options{}, quick(), s)
	type get = func(context.Context, ref.Repository, v1.Descriptor, int64, int64) (*Body, error)
	for _, g := range []get{c.BlobRange, c.BlobPart, c.BlobPart} {
		b, err := g(context.Background(), in(s), desc, 100, 5000)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		got, err := io.ReadAll(b)
		if err != nil || string(got) != content[100:5100] {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	var by []string
	for _, q := range s.Requests() {
		by = append(by, q.Proto)
	}
	if want := []string{"HTTP/2.0", "HTTP/1.1", "HTTP/1.1"}; !slices.Equal(by, want) {
		t.Errorf("by %q, want %q", by, want)
	}
}
