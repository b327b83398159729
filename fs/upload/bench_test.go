package upload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

func TestMain(m *testing.M) { os.Exit(registrytest.NoLeaks(m)) }

// bench is an area with a registry, and what stands for the rest of a mount.
type bench struct {
	t      *testing.T
	s      *registrytest.Server
	client *registry.Client
	repo   ref.Repository
	area   *Area
	top    *Dir
	dir    string

	mu      sync.Mutex
	adopted map[digest.Digest][]byte
	tags    map[string]digest.Digest

	deferring []string
	failures  []error
}

func newBench(t *testing.T) *bench { return newBenchAt(t, registrytest.Traits{Mounts: true}) }

// clock is a clock that goes on when the test says so.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

// passes lets time go by.
func (c *clock) passes(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// newTimedBench is newBench with a clock. What waits looks at the clock all the time.
func newTimedBench(t *testing.T) (*bench, *clock) {
	b, c := newBench(t), &clock{at: time.Unix(1_700_000_000, 0)}
	b.ok(b.area.Close(t.Context()))
	b.open(Options{Now: c.now})
	b.area.pace = time.Millisecond
	return b, c
}

// looks gives what waits the time to look at the clock many times.
func (b *bench) looks() { time.Sleep(50 * b.area.pace) }

// newBenchAt is newBench with a registry of some traits.
func newBenchAt(t *testing.T, traits registrytest.Traits) *bench {
	s := registrytest.Start(t, registrytest.Options{Traits: traits})
	b := &bench{t: t, s: s, dir: t.TempDir(), repo: ref.Repository{Host: s.Host, Path: "team/app"}, adopted: map[digest.Digest][]byte{}, tags: map[string]digest.Digest{}}
	b.client = registry.New(registry.Options{})
	t.Cleanup(b.client.Close)
	b.open(Options{})
	return b
}

// asked gives what the registry was asked since the last call.
func (b *bench) asked() []string {
	asked := b.s.Asked()
	b.s.Forget()
	return asked
}

// received counts the bytes of blobs that the registry was sent.
func (b *bench) received() (n int64) {
	for _, r := range b.s.Requests() {
		if r.Kind == "upload" {
			n += r.Read
		}
	}
	return n
}

func (b *bench) open(o Options) {
	b.t.Helper()
	o.Dir, o.Client, o.Tree = b.dir, b.client, b
	o.Path = func(r ref.Repository) string { return strings.ReplaceAll(r.String(), ":", "_") }
	var err error
	if b.area, err = Open(o); err != nil {
		b.t.Fatal(err)
	}
	area := b.area
	b.t.Cleanup(func() { area.Close(b.t.Context()) })
	b.top = b.area.Root(b.repo)
}

// What upload asks of a mount, straight from the registry.

func (b *bench) Blob(ctx context.Context, r ref.Repository, d digest.Digest) (int64, error) {
	res, err := b.client.ResolveBlob(ctx, r, d)
	return res.Size, err
}

func (b *bench) Lacks(ref.Repository, digest.Digest) bool { return false }

func (b *bench) TagPoints(ctx context.Context, r ref.Repository, tag string) (digest.Digest, error) {
	raw := b.s.ReadManifest(r.Path, tag) // no request, as a mount that knows it
	if raw == nil {
		return "", registry.ErrNotFound
	}
	return digest.FromBytes(raw), nil
}

func (b *bench) Manifest(ctx context.Context, r ref.Repository, d digest.Digest) (*registry.Manifest, error) {
	return b.client.Manifest(ctx, r, d.String())
}

type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

func (b *bench) OpenBlob(ctx context.Context, _ Program, blob Blob) (Content, error) {
	b.mu.Lock()
	held, ok := b.adopted[blob.Digest]
	b.mu.Unlock()
	if ok {
		return memory{bytes.NewReader(held)}, nil
	}
	rc, err := b.client.Blob(ctx, blob.Repository, blob.descriptor())
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	all, err := io.ReadAll(rc)
	return memory{bytes.NewReader(all)}, err
}

func (b *bench) Adopt(d digest.Digest, size int64, path string) error {
	raw, err := os.ReadFile(path)
	if err != nil || int64(len(raw)) != size || d.Algorithm().FromBytes(raw) != d {
		b.t.Errorf("adopted %d bytes of %s as %s, %v", len(raw), path, d, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.adopted[d] = raw
	return os.Remove(path)
}

func (b *bench) MakeRoom(int64) {}

func (b *bench) PushedBlob(Blob) {}

func (b *bench) Deferring(_ ref.Repository, tag string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deferring = append(b.deferring, tag)
}

func (b *bench) Failed(_ ref.Repository, at string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures = append(b.failures, fmt.Errorf("%s: %w", at, err))
}

// failed gives what was told of failures that no call returned.
func (b *bench) failed() []error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.failures)
}

func (b *bench) PushedManifest(_ ref.Repository, m *registry.Manifest, tags ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range tags {
		b.tags[t] = m.Digest
	}
}

// dirAt finds a directory, and makes what is missing of it.
func (b *bench) dirAt(path string) *Dir {
	b.t.Helper()
	d := b.top
	for name := range strings.SplitSeq(path, "/") {
		if path == "" || path == "." {
			break
		}
		n, err := d.Lookup(b.t.Context(), name)
		if errors.Is(err, fs.ErrNotExist) {
			n, err = d.Mkdir(b.t.Context(), name, 0o755)
		}
		if err != nil {
			b.t.Fatal(err)
		}
		d = n.(*Dir)
	}
	return d
}

// write writes a file as cp does, and gives what close says.
func (b *bench) write(path string, content []byte) error {
	b.t.Helper()
	h := b.create(path)
	defer h.Release()
	for off := 0; off < len(content); off += 100 {
		if _, err := h.WriteAt(b.t.Context(), content[off:min(off+100, len(content))], int64(off)); err != nil {
			return err
		}
	}
	return h.Flush(b.t.Context())
}

// create opens a file for writing, and makes it or empties it.
func (b *bench) create(path string) *Handle {
	b.t.Helper()
	d, name := b.dirAt(filepath.Dir(path)), filepath.Base(path)
	_, h, err := d.Create(b.t.Context(), name, 0o644, Openly, nil)
	if errors.Is(err, syscall.EEXIST) {
		n, lerr := d.Lookup(b.t.Context(), name)
		if lerr != nil {
			b.t.Fatal(lerr)
		}
		h, err = n.(*File).OpenEmpty(b.t.Context(), nil)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return h
}

// cutOff writes bytes and ends as a program that is killed does: without a close.
func (b *bench) cutOff(h *Handle, bytes []byte) {
	b.t.Helper()
	if _, err := h.WriteAt(b.t.Context(), bytes, 0); err != nil {
		b.t.Fatal(err)
	}
	h.Release()
}

func (b *bench) rename(from, to string) error {
	b.t.Helper()
	return b.dirAt(filepath.Dir(from)).Rename(b.t.Context(), filepath.Base(from), b.dirAt(filepath.Dir(to)), filepath.Base(to), true, nil)
}

func (b *bench) ok(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// image is a config, a layer and a manifest of them.
type image struct {
	layer, config, raw []byte
	digest             digest.Digest
}

func newImage(text string) image {
	i := image{layer: []byte("layer " + text + strings.Repeat(".", 500)), config: []byte(`{"architecture":"amd64","os":"linux","config":{"Env":["a=` + text + `"]}}`)}
	i.raw = mustMarshal(v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest,
		Config: v1.Descriptor{MediaType: v1.MediaTypeImageConfig, Digest: digest.FromBytes(i.config), Size: int64(len(i.config))},
		Layers: []v1.Descriptor{{MediaType: v1.MediaTypeImageLayer, Digest: digest.FromBytes(i.layer), Size: int64(len(i.layer))}},
	})
	i.digest = digest.FromBytes(i.raw)
	return i
}

func (i image) descriptor(name string) v1.Descriptor {
	d := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: i.digest, Size: int64(len(i.raw))}
	if name != "" {
		d.Annotations = map[string]string{v1.AnnotationRefName: name}
	}
	return d
}

func indexOf(ds ...v1.Descriptor) []byte {
	return mustMarshal(v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: ds})
}

func at(layout string, d digest.Digest) string {
	return filepath.Join(layout, "blobs", d.Algorithm().String(), d.Encoded())
}

// blobs writes the pieces of an image into a layout.
func (b *bench) pieces(layout string, i image) {
	b.t.Helper()
	for _, piece := range [][]byte{i.layer, i.config, i.raw} {
		b.ok(b.write(at(layout, digest.FromBytes(piece)), piece))
	}
}

// state gives the state of a target in uploads.json.
func (b *bench) state(target string) string {
	state := ""
	for _, r := range b.area.Records() {
		if r.Target == target {
			state = r.State
		}
	}
	return state
}

func (b *bench) pointsAt(tag string, want digest.Digest) {
	b.t.Helper()
	raw := b.s.ReadManifest(b.repo.Path, tag)
	switch {
	case want == "" && raw != nil:
		b.t.Errorf("%s is tagged", tag)
	case want != "" && (raw == nil || digest.FromBytes(raw) != want):
		b.t.Errorf("%s points at %q, want %s", tag, raw, want)
	}
}

// meanwhile is a bench on which something happens while a file is about to be pushed.
type meanwhile struct {
	*bench
	then func() // once; nil: nothing
}

func (m *meanwhile) Lacks(r ref.Repository, d digest.Digest) bool {
	if then := m.then; then != nil {
		m.then = nil
		then()
	}
	return m.bench.Lacks(r, d)
}

// slowly is a bench whose cache takes files over when the test says so.
type slowly struct {
	*bench
	adopts chan struct{}
}

func (s *slowly) Adopt(d digest.Digest, size int64, path string) error {
	<-s.adopts
	return s.bench.Adopt(d, size, path)
}
