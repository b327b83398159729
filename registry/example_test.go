package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/auth"
	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// start starts a registry on loopback, which is asked by http without being named as plain. Its
// repository team/app has the image v1, of one layer.
func start(o registrytest.Options) (s *registrytest.Server, app ref.Repository, stop func()) {
	s, stop = registrytest.Serve(o)
	s.Image("team/app", "v1", []byte("a layer"))
	return s, ref.Repository{Host: s.Host, Path: "team/app"}, stop
}

func ExampleClient_Manifest() {
	_, app, stop := start(registrytest.Options{})
	defer stop()
	c := registry.New(registry.Options{})
	defer c.Close()

	m, err := c.Manifest(context.Background(), app, "v1")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.MediaType, m.IsIndex())
	for _, l := range m.Layers {
		fmt.Println(l.MediaType, l.Size)
	}

	_, err = c.Manifest(context.Background(), app, "v2")
	fmt.Println("v2 isn't there:", errors.Is(err, registry.ErrNotFound))
	// Output:
	// application/vnd.oci.image.manifest.v1+json false
	// application/vnd.oci.image.layer.v1.tar 7
	// v2 isn't there: true
}

func ExampleClient_Blob() {
	_, app, stop := start(registrytest.Options{})
	defer stop()
	c := registry.New(registry.Options{})
	defer c.Close()

	ctx := context.Background()
	m, err := c.Manifest(ctx, app, "v1")
	if err != nil {
		log.Fatal(err)
	}
	var read int64
	blob, err := c.Blob(ctx, app, m.Layers[0], func(total int64) { read = total })
	if err != nil {
		log.Fatal(err)
	}
	defer blob.Close()
	content, err := io.ReadAll(blob) // without an error the digest and the size matched
	fmt.Printf("%s, %d bytes, %v\n", content, read, err)
	// Output: a layer, 7 bytes, <nil>
}

// Of a blob whose size isn't known the digest alone is verified.
func ExampleClient_Blob_unknownSize() {
	_, app, stop := start(registrytest.Options{})
	defer stop()
	c := registry.New(registry.Options{})
	defer c.Close()

	blob, err := c.Blob(context.Background(), app, v1.Descriptor{Digest: digest.FromString("a layer"), Size: -1})
	if err != nil {
		log.Fatal(err)
	}
	defer blob.Close()
	content, err := io.ReadAll(blob)
	fmt.Printf("%s, %v\n", content, err)
	// Output: a layer, <nil>
}

func ExampleClient_HasBlob() {
	_, app, stop := start(registrytest.Options{})
	defer stop()
	c := registry.New(registry.Options{})
	defer c.Close()

	for _, content := range []string{"a layer", "another"} {
		has, err := c.HasBlob(context.Background(), app, digest.FromString(content))
		fmt.Printf("%s: %t, %v\n", content, has, err)
	}
	// Output:
	// a layer: true, <nil>
	// another: false, <nil>
}

func ExampleClient_Tags() {
	s, app, stop := start(registrytest.Options{Traits: registrytest.Traits{Page: 2}})
	defer stop()
	s.SetTags("team/app", "v1", "v2", "v3")
	c := registry.New(registry.Options{})
	defer c.Close()

	for tag, err := range c.Tags(context.Background(), app) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(tag)
	}
	// Output:
	// v1
	// v2
	// v3
}

func ExampleClient_TagPages() {
	s, app, stop := start(registrytest.Options{Traits: registrytest.Traits{Page: 2}})
	defer stop()
	s.SetTags("team/app", "v1", "v2", "v3")
	c := registry.New(registry.Options{})
	defer c.Close()

	for page, err := range c.TagPages(context.Background(), app) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(page.Tags)
	}
	// Output:
	// [v1 v2]
	// [v3]
}

func ExampleClient_Referrers() {
	_, app, stop := start(registrytest.Options{Traits: registrytest.Traits{Referrers: true}})
	defer stop()
	c := registry.New(registry.Options{})
	defer c.Close()
	ctx := context.Background()
	image, err := c.Manifest(ctx, app, "v1")
	if err != nil {
		log.Fatal(err)
	}
	for _, kind := range []string{"application/vnd.example.sbom", "application/vnd.example.signature"} {
		if err := attach(ctx, c, app, image.Descriptor(), kind); err != nil {
			log.Fatal(err)
		}
	}

	found, err := c.Referrers(ctx, app, image.Digest, "application/vnd.example.sbom")
	if err != nil {
		log.Fatal(err)
	}
	for _, d := range found.Descriptors {
		fmt.Println(d.ArtifactType)
	}
	fmt.Println("by the API:", found.API)
	// Output:
	// application/vnd.example.sbom
	// by the API: true
}

// attach pushes an artifact of no content that refers to a subject.
func attach(ctx context.Context, c *registry.Client, r ref.Repository, subject v1.Descriptor, kind string) error {
	empty := v1.DescriptorEmptyJSON
	if _, err := c.PushBlob(ctx, r, empty, registry.FromBytes(empty.Data), registry.Push{}); err != nil {
		return err
	}
	raw, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": v1.MediaTypeImageManifest, "artifactType": kind,
		"config": empty, "layers": []v1.Descriptor{empty}, "subject": subject,
	})
	if err != nil {
		return err
	}
	m, err := registry.ParseManifest(raw, "", "")
	if err != nil {
		return err
	}
	return c.PushManifest(ctx, r, m)
}

func ExampleClient_PushBlob() {
	_, app, stop := start(registrytest.Options{})
	defer stop()
	c := registry.New(registry.Options{})
	defer c.Close()

	content := []byte("some bytes")
	desc := v1.Descriptor{MediaType: "text/plain", Digest: digest.FromBytes(content), Size: int64(len(content))}
	for range 2 {
		done, err := c.PushBlob(context.Background(), app, desc, registry.FromBytes(content), registry.Push{})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d bytes were sent, it was there: %t\n", done.Sent, done.Existed)
	}
	// Output:
	// 10 bytes were sent, it was there: false
	// 0 bytes were sent, it was there: true
}

// A blob goes from one registry to another by way of a temporary file, and only if the other
// one lacks it.
func ExampleFromReader() {
	_, from, stop := start(registrytest.Options{})
	defer stop()
	other, stopOther := registrytest.Serve(registrytest.Options{})
	defer stopOther()
	to := ref.Repository{Host: other.Host, Path: "copy"}
	c := registry.New(registry.Options{})
	defer c.Close()

	ctx := context.Background()
	m, err := c.Manifest(ctx, from, "v1")
	if err != nil {
		log.Fatal(err)
	}
	for _, blob := range m.Blobs() {
		source := registry.FromReader(func(ctx context.Context) (io.ReadCloser, error) { return c.Blob(ctx, from, blob) }, blob.Size)
		if _, err := c.PushBlob(ctx, to, blob, source, registry.Push{}); err != nil {
			log.Fatal(err)
		}
	}
	if err := c.PushManifest(ctx, to, m, "v1"); err != nil {
		log.Fatal(err)
	}
	copied, err := c.ResolveManifest(ctx, to, "v1")
	fmt.Println(copied.Digest == m.Digest, err)
	// Output: true <nil>
}

// What a reader gives has a digest once it is spooled.
func ExampleSpool() {
	_, app, stop := start(registrytest.Options{})
	defer stop()
	c := registry.New(registry.Options{})
	defer c.Close()

	ctx := context.Background()
	const limit = 1 << 20 // bytes
	spooled, err := registry.Spool(ctx, strings.NewReader("from a pipe"), limit)
	if err != nil {
		log.Fatal(err)
	}
	defer spooled.Close()
	done, err := c.PushBlob(ctx, app, spooled.Descriptor, spooled.Open, registry.Push{})
	fmt.Println(done.Sent, spooled.Descriptor.Digest == digest.FromString("from a pipe"), err)
	// Output: 11 true <nil>
}

// A manifest may be pushed under several tags at once: here one that is there gets another.
func ExampleClient_PushManifest() {
	_, app, stop := start(registrytest.Options{})
	defer stop()
	c := registry.New(registry.Options{Credentials: auth.Static(app.Host, "jane", "s3cret")})
	defer c.Close()

	ctx := context.Background()
	m, err := c.Manifest(ctx, app, "v1")
	if err != nil {
		log.Fatal(err)
	}
	if err := c.PushManifest(ctx, app, m, "v1.0", "latest"); err != nil {
		log.Fatal(err)
	}
	for tag, err := range c.Tags(ctx, app) {
		fmt.Println(tag, err)
	}
	// Output:
	// latest <nil>
	// v1 <nil>
	// v1.0 <nil>
}

func ExampleClient_MountBlob() {
	_, app, stop := start(registrytest.Options{Traits: registrytest.Traits{Mounts: true}})
	defer stop()
	c := registry.New(registry.Options{})
	defer c.Close()

	ctx := context.Background()
	m, err := c.Manifest(ctx, app, "v1")
	if err != nil {
		log.Fatal(err)
	}
	other := ref.Repository{Host: app.Host, Path: "team/other"}
	err = c.MountBlob(ctx, other, m.Layers[0], app)
	if errors.Is(err, registry.ErrNotMounted) {
		fmt.Println("it is to be pushed")
	}
	has, hasErr := c.HasBlob(ctx, other, m.Layers[0].Digest)
	fmt.Println(err, has, hasErr)
	// Output: <nil> true <nil>
}

func ExampleClient_DeleteManifest() {
	_, app, stop := start(registrytest.Options{})
	defer stop()
	c := registry.New(registry.Options{})
	defer c.Close()

	ctx := context.Background()
	m, err := c.ResolveManifest(ctx, app, "v1")
	if err != nil {
		log.Fatal(err)
	}
	if err := c.DeleteManifest(ctx, app, m.Digest); err != nil {
		log.Fatal(err) // errors.Is(err, registry.ErrUnsupported): the registry keeps everything
	}
	_, err = c.ResolveManifest(ctx, app, "v1")
	fmt.Println("its tag is gone too:", errors.Is(err, registry.ErrNotFound))
	// Output: its tag is gone too: true
}

// An extension of the API is asked for with the credential, the retries and the mirrors of the
// client.
func ExampleClient_Do() {
	s, app, stop := start(registrytest.Options{})
	defer stop()
	s.On("GET other", registrytest.Status(http.StatusOK, `{"extensions":["_oci"]}`))
	c := registry.New(registry.Options{})
	defer c.Close()

	resp, err := c.Do(context.Background(), ref.Repository{Host: app.Host}, registry.Request{Path: "_oci/ext/discover"})
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(string(body), err)
	// Output: {"extensions":["_oci"]} <nil>
}

// counting is a transport that counts the bytes of all answers.
type counting struct{ bytes atomic.Int64 }

func (t *counting) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err == nil {
		resp.Body = countedBody{resp.Body, &t.bytes}
	}
	return resp, err
}

type countedBody struct {
	io.ReadCloser
	n *atomic.Int64
}

func (b countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	return n, err
}

// Every request goes through a transport of one's own.
func ExampleOptions_transport() {
	_, app, stop := start(registrytest.Options{})
	defer stop()
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	t := &counting{}
	c := registry.New(registry.Options{Transport: t, Retries: -1})
	defer c.Close()

	m, err := c.Manifest(context.Background(), app, "v1")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(t.bytes.Load() == int64(len(m.Raw)))
	// Output: true
}
