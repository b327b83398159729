package registry

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

func TestMain(m *testing.M) { os.Exit(registrytest.NoLeaks(m)) }

// fixture is a registry with a repository that is pushed to.
type fixture struct {
	*registrytest.Server
	t    *testing.T
	repo ref.Repository

	limit time.Duration // of a client's patience; 0: a minute
}

// newFixture starts a registry, and gives a client of it whose pauses are short.
func newFixture(t *testing.T) (*fixture, *Client) {
	t.Helper()
	s := &fixture{Server: registrytest.Start(t, registrytest.Options{Traits: registrytest.Traits{Sparse: true}}), t: t}
	s.repo = ref.Repository{Host: s.Host, Path: "a/b"}
	return s, s.client(t, Options{})
}

func (s *fixture) client(t *testing.T, o Options) *Client {
	o.PlainHTTP, o.RetryMaxWait = []string{s.repo.Host}, 2*time.Second
	if s.limit == 0 {
		s.limit = time.Minute
	}
	c := newClient(o, bounds{idle: s.limit, answer: s.limit, pauses: []time.Duration{1, 1, 1}, chunk: 4, least: leastChunk, quiet: time.Minute, piece: 1})
	t.Cleanup(c.Close)
	return c
}

const cancelled = "DELETE upload"

// requests gives what was asked, once c has nothing more to ask. Sessions are
// cancelled beside the rest: these requests come last here.
func (s *fixture) requests(c *Client) []string {
	c.Close()
	got := s.Asked()
	slices.SortStableFunc(got, func(a, b string) int {
		return strings.Count(a, cancelled) - strings.Count(b, cancelled)
	})
	return got
}

func (s *fixture) want(c *Client, want ...string) {
	s.t.Helper()
	if got := s.requests(c); !slices.Equal(got, want) {
		s.t.Errorf("asked %q\nwant  %q", got, want)
	}
}

// tag has a tag point at a manifest, whatever that is.
func (s *fixture) tag(tag, manifest string) {
	mediaType := v1.MediaTypeImageIndex
	if m, err := ParseManifest([]byte(manifest), "", ""); err == nil {
		mediaType = m.MediaType
	}
	s.Manifest(s.repo.Path, tag, mediaType, []byte(manifest))
}

// at gives the manifest that a tag or a digest stands for, or "".
func (s *fixture) at(reference string) string { return string(s.ReadManifest(s.repo.Path, reference)) }

// has checks that the registry has the blob whole.
func (s *fixture) has(content string) {
	s.t.Helper()
	if got := s.ReadBlob(s.repo.Path, digest.FromString(content)); got == nil || string(got) != content {
		s.t.Errorf("the registry has %d bytes of it, %v", len(got), got != nil)
	}
}

// bytesSource is a Source in memory that counts.
type bytesSource struct {
	*strings.Reader
	opened, closed int
}

func (b *bytesSource) Close() error { b.closed++; return nil }

func (b *bytesSource) open(context.Context) (Source, error) { b.opened++; return b, nil }

// push pushes content, and checks that the source was opened at most once, and closed.
func push(c *Client, s *fixture, content string, p Push) (Pushed, error) {
	s.t.Helper()
	return pushAs(context.Background(), c, s, content, digest.FromString(content), p)
}

func pushAs(ctx context.Context, c *Client, s *fixture, content string, d digest.Digest, p Push) (Pushed, error) {
	s.t.Helper()
	src := &bytesSource{Reader: strings.NewReader(content)}
	done, err := c.PushBlob(ctx, s.repo, v1.Descriptor{Digest: d, Size: int64(len(content))}, src.open, p)
	if src.opened > 1 || src.opened != src.closed {
		s.t.Errorf("the source was opened %d times and closed %d times", src.opened, src.closed)
	}
	return done, err
}
