package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/hosts"
	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// operation is a public method of Client that asks a registry: what it is given is a
// repository, and a tag or a digest where it takes one.
type operation struct {
	tag, digest bool // what it takes
	do          func(ctx context.Context, c *Client, r ref.Repository, object string) error
}

// first gives what the first page of a list ends with.
func first[P any](pages iter.Seq2[P, error]) (err error) {
	for _, err = range pages {
		break
	}
	return err
}

func operations() map[string]operation {
	return map[string]operation{
		"Manifest": {true, true, func(ctx context.Context, c *Client, r ref.Repository, o string) error {
			_, err := c.Manifest(ctx, r, o)
			return err
		}},
		"ResolveManifest": {true, true, func(ctx context.Context, c *Client, r ref.Repository, o string) error {
			_, err := c.ResolveManifest(ctx, r, o)
			return err
		}},
		"ResolveBlob": {false, true, func(ctx context.Context, c *Client, r ref.Repository, o string) error {
			_, err := c.ResolveBlob(ctx, r, digest.Digest(o))
			return err
		}},
		"Blob": {false, true, func(ctx context.Context, c *Client, r ref.Repository, o string) error {
			_, err := c.Blob(ctx, r, v1.Descriptor{Digest: digest.Digest(o), Size: 1})
			return err
		}},
		"BlobRange": {false, true, func(ctx context.Context, c *Client, r ref.Repository, o string) error {
			_, err := c.BlobRange(ctx, r, v1.Descriptor{Digest: digest.Digest(o), Size: 1}, 0, 1)
			return err
		}},
		"Referrers": {false, true, func(ctx context.Context, c *Client, r ref.Repository, o string) error {
			_, err := c.Referrers(ctx, r, digest.Digest(o), "")
			return err
		}},
		"Tags": {false, false, func(ctx context.Context, c *Client, r ref.Repository, _ string) error {
			return first(c.TagPages(ctx, r))
		}},
		"DeleteTag": {true, false, func(ctx context.Context, c *Client, r ref.Repository, o string) error {
			return c.DeleteTag(ctx, r, o)
		}},
		"DeleteManifest": {false, true, func(ctx context.Context, c *Client, r ref.Repository, o string) error {
			return c.DeleteManifest(ctx, r, digest.Digest(o))
		}},
		"HasBlob": {false, true, func(ctx context.Context, c *Client, r ref.Repository, o string) error {
			_, err := c.HasBlob(ctx, r, digest.Digest(o))
			return err
		}},
		"MountBlob": {false, true, func(ctx context.Context, c *Client, r ref.Repository, o string) error {
			return c.MountBlob(ctx, r, v1.Descriptor{Digest: digest.Digest(o)}, ref.Repository{Host: r.Host, Path: "a/b"})
		}},
		"MountBlob, from": {false, false, func(ctx context.Context, c *Client, r ref.Repository, _ string) error {
			return c.MountBlob(ctx, ref.Repository{Host: r.Host, Path: "a/b"}, v1.Descriptor{Digest: digest.FromString("x")}, r)
		}},
		"DeleteBlob": {false, true, func(ctx context.Context, c *Client, r ref.Repository, o string) error {
			return c.DeleteBlob(ctx, r, digest.Digest(o))
		}},
		"PushBlob": {false, true, func(ctx context.Context, c *Client, r ref.Repository, o string) error {
			_, err := c.PushBlob(ctx, r, v1.Descriptor{Digest: digest.Digest(o)}, nil, Push{})
			return err
		}},
		"PushManifest": {false, true, func(ctx context.Context, c *Client, r ref.Repository, o string) error {
			return c.PushManifest(ctx, r, &Manifest{MediaType: v1.MediaTypeImageIndex, Digest: digest.Digest(o), Raw: []byte("{}")})
		}},
		"PushManifest, of a subject": {false, true, func(ctx context.Context, c *Client, r ref.Repository, o string) error {
			return c.PushManifest(ctx, r, &Manifest{Digest: digest.FromString("x"), Subject: &v1.Descriptor{Digest: digest.Digest(o)}})
		}},
		"PushManifest, tagged": {true, false, func(ctx context.Context, c *Client, r ref.Repository, o string) error {
			return c.PushManifest(ctx, r, &Manifest{Digest: digest.FromString("x")}, "good", o)
		}},
	}
}

// What can't be a name isn't anywhere, and nobody is asked. The error says what was to be done, and
// to what. A tag is none where a
// digest is wanted, nor a digest where it is a tag.
//
// Behaviour: names.local, names.digests
func TestNamesThatCannotBeAreNeverSent(t *testing.T) {
	hex := strings.Repeat("0a", 32)
	d := "sha256:" + hex
	paths := []string{
		"", "/", "A", "a/", "/a", "a//b", "a/..", "../a", "a/../../b", "a/.", ".a", "a.", "a..b", "-a", "a-", "_a", "a___b", "a b", "a%2fb", "a?b", "a#b", "a:b",
		"a@b", "a\\b", "é", "a\n", "a\x00", "_catalog", strings.Repeat("a", 256), strings.Repeat("a/", 128) + "a",
	}
	hostNames := []string{
		"", ".", "..", "alpine", "a b.io", "a_b.io", "-a.io", "a-.io", "a..io", "é.io", "user@@", "user:secret@@", "@/v2", "@/../x", "@?x", "@#x", "@ ", "@\n",
		"http://@", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:x", "[::1", "[127.0.0.1]:80", "[fe80::1%25eth0]:80", strings.Repeat("a", 64) + ".io",
	}
	neither := []string{
		"", ".hidden", "-a", "a/b", "a b", "a?b", "a#b", "a%2f", "é", "a\n", "..", strings.Repeat("a", 129),
		"sha256:", "sha256:" + hex[1:], "sha256:" + hex + "0", "sha256:" + strings.ToUpper(hex), "sha256:../" + hex[3:], "SHA256:" + hex,
		"sha512:" + hex, "sha384:" + hex + hex[:32], "md5:" + hex[:32], "sha256+b64:" + hex, d + "\n", d + "/", d + "?x", "sha256:" + hex + "@" + d,
	}
	tags := []string{"v1", "latest", "sha256", hex, strings.Repeat("a", 128)}
	digests := []string{d, "sha512:" + hex + hex}

	s, c, good := reading(t, registrytest.Options{})
	refused := func(name string, op operation, r ref.Repository, object string) {
		t.Helper()
		err := op.do(t.Context(), c, r, object)
		if !errors.Is(err, ErrNotFound) || !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, ref.ErrInvalid) && !(op.tag && !op.digest) {
			t.Errorf("%s of %q, %q: %v", name, r, object, err)
		}
		var e *Error
		if !errors.As(err, &e) || e.Op == "" || e.Name == "" || !strings.HasPrefix(err.Error(), e.Op+" "+e.Name+": not found: ") {
			t.Errorf("%s of %q, %q: the error doesn't say what was asked: %v", name, r, object, err)
		}
		if asked := s.Asked(); len(asked) > 0 {
			t.Errorf("%s of %q, %q: asked %q", name, r, object, asked)
			s.Forget()
		}
	}
	for name, op := range operations() {
		right := d
		if !op.digest {
			right = "v1"
		}
		for _, p := range paths {
			refused(name, op, ref.Repository{Host: s.Host, Path: p}, right)
		}
		for _, h := range hostNames {
			refused(name, op, ref.Repository{Host: strings.ReplaceAll(h, "@", s.Host), Path: "a/b"}, right)
		}
		if !op.tag && !op.digest {
			continue
		}
		wrong := slices.Clone(neither)
		if !op.tag {
			wrong = append(wrong, tags...)
		}
		if !op.digest {
			wrong = append(wrong, digests...)
		}
		for _, o := range wrong {
			refused(name, op, good, o)
		}
	}
	for _, h := range hostNames {
		host := strings.ReplaceAll(h, "@", s.Host)
		if err := first(c.Catalog(t.Context(), host)); !errors.Is(err, ErrNotFound) || !errors.Is(err, ref.ErrInvalid) {
			t.Errorf("the catalog of %q: %v", host, err)
		}
	}
	s.Want()

	// All that is right is asked for: what is above isn't refused by accident.
	for name, op := range operations() {
		for _, o := range append(slices.Clone(tags), digests...) {
			isDigest := slices.Contains(digests, o)
			if isDigest && op.digest || !isDigest && op.tag {
				s.Forget()
				_ = op.do(t.Context(), c, good, o) // which isn't there
				if len(s.Asked()) == 0 {
					t.Errorf("%s of %q isn't sent", name, o)
				}
			}
		}
	}
}

// A blob isn't mounted from what can't be a repository.
//
// Behaviour: names.local
func TestNothingIsMountedFromWhatCannotBe(t *testing.T) {
	s, c, r := reading(t, registrytest.Options{Traits: registrytest.Traits{Mounts: true}})
	from := []ref.Repository{{Host: r.Host, Path: "../x"}, {Host: r.Host}, {Host: r.Host, Path: "a?from=b"}}
	if _, err := c.PushBlob(t.Context(), r, v1.Descriptor{Digest: digest.FromString("")}, nil, Push{From: from, Absent: true}); err != nil {
		t.Error(err)
	}
	for _, q := range s.Requests() {
		if strings.Contains(q.Query, "from=") {
			t.Errorf("%s?%s", q, q.Query)
		}
	}
}

// By sha512 as by sha256: a digest is a digest wherever one is asked for.
//
// Behaviour: names.digests
func TestBothDigestsAreDigests(t *testing.T) {
	s, c, r := reading(t, registrytest.Options{})
	d := digest.SHA512.FromString(anIndex)
	s.Manifest(r.Path, d.String(), v1.MediaTypeImageIndex, []byte(anIndex))
	m, err := c.Manifest(t.Context(), r, d.String())
	isManifest(t, m, err, anIndex, d, nil)
	if is, err := c.ResolveManifest(t.Context(), r, d.String()); err != nil || is.Digest != d {
		t.Errorf("%+v, %v", is, err)
	}
	s.Forget()
	desc := v1.Descriptor{Digest: digest.SHA512.FromString(layer), Size: int64(len(layer))}
	open := func(context.Context) (Source, error) {
		return struct {
			io.ReaderAt
			io.Closer
		}{strings.NewReader(layer), io.NopCloser(nil)}, nil
	}
	if _, err := c.PushBlob(t.Context(), r, desc, open, Push{Absent: true}); err != nil {
		t.Error(err)
	}
	for _, q := range s.Requests() {
		if q.Method == http.MethodPost && q.Query != "digest-algorithm=sha512" {
			t.Errorf("the session began with %q", q.Query)
		}
	}
	b, err := c.Blob(t.Context(), r, desc)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if got, err := io.ReadAll(b); err != nil || string(got) != layer {
		t.Errorf("%q, %v", got, err)
	}
}

// Docker Hub is asked by the name of its API, and alpine there is in library; where
// people configured a server for it, that is asked for the same.
//
// Behaviour: names.hub
func TestDockerHubIsAskedByItsOwnNames(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Manifest("library/alpine", "3", v1.MediaTypeImageIndex, []byte(anIndex))
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "docker.io"), 0o700); err != nil {
		t.Fatal(err)
	}
	toml := fmt.Sprintf("server = %q\n", s.URL)
	if err := os.WriteFile(filepath.Join(dir, "docker.io", "hosts.toml"), []byte(toml), 0o600); err != nil {
		t.Fatal(err)
	}
	c := New(Options{Config: hosts.New(hosts.Options{Containerd: []string{dir}})})
	defer c.Close()
	for _, name := range []string{"docker.io/alpine", "docker.io/library/alpine", "index.docker.io/alpine", "registry-1.docker.io/library/alpine"} {
		at, err := ref.Parse(name + ":3")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Manifest(t.Context(), at.Repository, at.Object); err != nil {
			t.Error(err)
		}
	}
	for _, q := range s.Requests() {
		if q.Path != "/v2/library/alpine/manifests/3" || q.Query != "ns=docker.io" {
			t.Errorf("%s?%s", q.Path, q.Query)
		}
	}

	plain := New(Options{})
	defer plain.Close()
	h, err := plain.host("docker.io")
	if err != nil {
		t.Fatal(err)
	}
	if u := h.server.url("library/alpine/manifests/3", ""); u.String() != "https://registry-1.docker.io/v2/library/alpine/manifests/3" {
		t.Error(u)
	}
}
