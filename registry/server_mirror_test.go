package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/auth"
	"github.com/ocifs/ocifs/registry/hosts"
	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// mirrored is the registry of these tests, by the name that people know it by.
var mirrored = ref.Repository{Host: "registry.example", Path: "a/b"}

// configure makes a client of what a hosts.toml says of that registry, and of the
// files in docker's directories, by HOST/FILE.
func configure(t *testing.T, toml string, o Options, certs map[string][]byte) *Client {
	t.Helper()
	dir := t.TempDir()
	write := func(path string, b []byte) {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if toml != "" {
		write("containerd/registry.example/hosts.toml", []byte(toml))
	}
	for name, b := range certs {
		write("certs/"+name, b)
	}
	o.Config = hosts.New(hosts.Options{Containerd: []string{filepath.Join(dir, "containerd")}, Certs: []string{filepath.Join(dir, "certs")}})
	if o.RetryMaxWait == 0 {
		o.RetryMaxWait = 2 * time.Second
	}
	c := newClient(o, bounds{idle: 5 * time.Second, answer: 5 * time.Second, pauses: []time.Duration{1, 1, 1}, chunk: 4})
	t.Cleanup(c.Close)
	return c
}

// layer is the blob of an image in these tests.
const layer = "the bytes of a layer"

// fleet is a registry with two mirrors, the first of which has nothing yet.
type fleet struct{ first, second, itself *registrytest.Server }

func newFleet(t *testing.T) *fleet {
	f := &fleet{}
	for _, s := range []**registrytest.Server{&f.first, &f.second, &f.itself} {
		*s = registrytest.Start(t, registrytest.Options{})
	}
	f.itself.Image(mirrored.Path, "v1", []byte(layer))
	return f
}

func (f *fleet) toml() string {
	return fmt.Sprintf("server = %q\n[host.%q]\n[host.%q]\n", f.itself.URL, f.first.URL, f.second.URL)
}

// asked gives how often each server was asked for something.
func (f *fleet) asked(pattern string) [3]int {
	return [3]int{f.first.Count(pattern), f.second.Count(pattern), f.itself.Count(pattern)}
}

func readBlob(c *Client, r ref.Repository, content string) (string, error) {
	b, err := c.Blob(context.Background(), r, v1.Descriptor{Digest: digest.FromString(content), Size: int64(len(content))})
	if err != nil {
		return "", err
	}
	defer b.Close()
	got, err := io.ReadAll(b)
	return string(got), err
}

// Mirrors are asked in their order, and told whose repository it is; the registry
// itself comes last.
//
// Behaviour: mirror.order, mirror.passed
func TestMirrorsAreAskedInTheirOrder(t *testing.T) {
	f := newFleet(t)
	c := configure(t, f.toml(), Options{}, nil)
	ctx := context.Background()
	want := func(what string, want [3]int) {
		t.Helper()
		if got := f.asked("* *"); got != want {
			t.Errorf("%s: asked %v times, want %v", what, got, want)
		}
		for _, s := range []*registrytest.Server{f.first, f.second, f.itself} {
			for _, q := range s.Requests() {
				// By the name of the registry, as what stands in for it isn't called so either.
				if q.Query != "ns=registry.example" {
					t.Errorf("%s: %s was asked with %q", what, s.Host, q.Query)
				}
			}
			s.Forget()
		}
	}
	m, err := c.Manifest(ctx, mirrored, "v1")
	if err != nil {
		t.Fatal(err)
	}
	want("nobody but itself has it", [3]int{1, 1, 1})

	f.second.Image(mirrored.Path, "v1", []byte(layer))
	if _, err := c.Manifest(ctx, mirrored, m.Digest.String()); err != nil {
		t.Error(err)
	}
	if got, err := readBlob(c, mirrored, layer); err != nil || got != layer {
		t.Errorf("%q, %v", got, err)
	}
	if r, err := c.ResolveBlob(ctx, mirrored, digest.FromString(layer)); err != nil || r.Size != int64(len(layer)) {
		t.Errorf("%v, %v", r, err)
	}
	want("the second has it", [3]int{3, 3, 0})

	f.first.Image(mirrored.Path, "v1", []byte(layer))
	if r, err := c.ResolveManifest(ctx, mirrored, "v1"); err != nil || r.Digest != m.Digest {
		t.Errorf("%v, %v", r, err)
	}
	want("the first has it", [3]int{1, 0, 0})
}

// Whatever is wrong with a mirror, the next one is asked; where all fail, the error is
// the registry's own, with what the mirrors had to say.
//
// Behaviour: mirror.passed, mirror.verified
func TestAMirrorThatFailsIsPassedOver(t *testing.T) {
	for name, quirk := range map[string]registrytest.Quirk{
		"it fails":          registrytest.Status(500, ""),
		"it lets nobody in": registrytest.Challenge(`Basic realm="x"`),
		"it refuses":        registrytest.Status(403, ""),
		"it is busy":        registrytest.Busy(429, time.Hour),
		"it hangs up":       registrytest.Reset(),
		"it breaks off":     registrytest.ResetAfter(3),
		"it lies":           registrytest.Corrupt(3),
		"it is too short":   registrytest.Truncate(3),
		"a page of its own": registrytest.Status(200, "<html>", "Content-Type", "text/html"),
		"it leads nowhere":  registrytest.Status(302, "", "Location", "http://127.0.0.1:1/"),
		"it leads in rings": registrytest.Status(302, "", "Location", "?again"),
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t)
			f.first.Image(mirrored.Path, "v1", []byte(layer))
			f.first.On("* *", quirk)
			c := configure(t, f.toml(), Options{}, nil)
			m, err := c.Manifest(context.Background(), mirrored, "v1")
			if err != nil || string(m.Raw) != string(f.itself.ReadManifest(mirrored.Path, "v1")) {
				t.Fatalf("%v", err)
			}
			b, err := c.BlobRange(context.Background(), mirrored, v1.Descriptor{Digest: digest.FromString(layer), Size: int64(len(layer))}, 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(b)
			b.Close()
			if name == "it lies" {
				// Which only all of it shows. Who sees that doesn't get it there again.
				if !b.Mirrored() || string(got) == layer {
					t.Fatalf("%q", got)
				}
				c.Doubt(mirrored, digest.FromString(layer))
				var again string
				again, err = readBlob(c, mirrored, layer)
				got = []byte(again)
			}
			if err != nil || string(got) != layer {
				t.Errorf("%q, %v", got, err)
			}
			f.itself.Remove(mirrored.Path, "v1")
			_, err = c.Manifest(context.Background(), mirrored, "v1")
			if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), f.first.Host) {
				t.Errorf("nobody has it: %v", err)
			}
		})
	}
}

// A mirror that goes away in the middle of a blob is continued by the next server,
// from where it stopped.
//
// Behaviour: mirror.passed, blob.resume
func TestABlobGoesOnAtTheNextServer(t *testing.T) {
	f := newFleet(t)
	f.first.Image(mirrored.Path, "v1", []byte(layer))
	f.first.On("GET blob", func(x *registrytest.Exchange, next func() *registrytest.Answer) *registrytest.Answer {
		if x.Header.Get("Range") != "" {
			return registrytest.Reset()(x, next)
		}
		return registrytest.ResetAfter(5)(x, next)
	})
	c := configure(t, f.toml(), Options{}, nil)
	if got, err := readBlob(c, mirrored, layer); err != nil || got != layer {
		t.Fatalf("%q, %v", got, err)
	}
	f.itself.Want("GET blob bytes=5-")
}

// A mirror that is gone is asked once in a while, not for everything.
//
// Behaviour: mirror.passed, fail.down
func TestAMirrorThatIsGoneIsLeftAlone(t *testing.T) {
	f := newFleet(t)
	c := configure(t, f.toml(), Options{}, nil)
	f.first.Gone()
	for range 20 {
		if _, err := c.ResolveManifest(context.Background(), mirrored, "v1"); err != nil {
			t.Fatal(err)
		}
	}
	if s := c.State(); len(s) != 1 || len(s[0].Servers) != 3 || s[0].Servers[0].Down == "" || !s[0].Servers[0].Mirror || s[0].Servers[2].Down != "" || s[0].Servers[2].Mirror {
		t.Errorf("%+v", s)
	}
	h := c.learnt.health(f.first.Host)
	h.at, h.until = time.Time{}, time.Time{}
	f.first.Back()
	f.first.Image(mirrored.Path, "v1", []byte(layer))
	f.first.Forget()
	if _, err := c.ResolveManifest(context.Background(), mirrored, "v1"); err != nil || f.first.Count("HEAD manifest") != 1 {
		t.Errorf("it is back: %v, %q", err, f.first.Asked())
	}
}

// A mirror that has content and isn't trusted with tags is asked by digest.
//
// Behaviour: mirror.order
func TestAMirrorThatOnlyPullsIsAskedByDigest(t *testing.T) {
	f := newFleet(t)
	f.first.Image(mirrored.Path, "v1", []byte(layer))
	c := configure(t, fmt.Sprintf("server = %q\n[host.%q]\ncapabilities = [\"pull\"]\n", f.itself.URL, f.first.URL), Options{}, nil)
	if _, err := c.Manifest(context.Background(), mirrored, "v1"); err != nil {
		t.Fatal(err)
	}
	f.itself.Want("HEAD manifest v1")
	f.first.Want("GET manifest")
}

// Lists come from the registry itself, and from a mirror where that is out of reach.
// A refusal of the registry is one. Each page says which of both it came from.
//
// Behaviour: mirror.order
func TestListsComeFromTheRegistryItself(t *testing.T) {
	f := newFleet(t)
	f.first.Image(mirrored.Path, "old", []byte(layer))
	c := configure(t, f.toml(), Options{}, nil)
	mirrors := false
	tags := func() (all []string, err error) {
		for page, err := range c.TagPages(context.Background(), mirrored) {
			if err != nil {
				return all, err
			}
			all = append(all, page.Tags...)
			mirrors = page.Mirrored
		}
		return all, nil
	}
	if got, err := tags(); err != nil || !slices.Equal(got, []string{"v1"}) || mirrors || f.first.Count("* *") != 0 {
		t.Errorf("%q, %v, of a mirror: %v", got, err, mirrors)
	}
	denied := f.itself.On("GET tags", registrytest.Status(403, ""))
	if got, err := tags(); !errors.Is(err, ErrDenied) {
		t.Errorf("%q, %v", got, err)
	}
	denied.End()
	f.itself.Gone()
	if got, err := tags(); err != nil || !slices.Equal(got, []string{"old"}) || !mirrors {
		t.Errorf("%q, %v, of a mirror: %v", got, err, mirrors)
	}
	if _, err := c.Referrers(context.Background(), mirrored, digest.FromString("x"), ""); err != nil {
		t.Error(err)
	}
}

// What is written goes to the registry itself, or to the first mirror that is named
// for it; what is asked on the way there is asked of the same server.
//
// Behaviour: mirror.order
func TestWhatIsPushedGoesToOneServer(t *testing.T) {
	for _, named := range []bool{false, true} {
		f := newFleet(t)
		toml := f.toml()
		to, other := f.itself, f.second
		if named {
			toml += "capabilities = [\"pull\", \"push\"]\n"
			to, other = f.second, f.itself
		}
		c := configure(t, toml, Options{}, nil)
		src := &bytesSource{Reader: strings.NewReader(blob)}
		_, err := c.PushBlob(context.Background(), mirrored, v1.Descriptor{Digest: digest.FromString(blob), Size: int64(len(blob))}, src.open, Push{})
		if err != nil || string(to.ReadBlob(mirrored.Path, digest.FromString(blob))) != blob || other.Count("* *") != 0 || f.first.Count("* *") != 0 {
			t.Errorf("push named for a mirror: %v: %v, asked %q, %q, %q", named, err, f.first.Asked(), f.second.Asked(), f.itself.Asked())
		}
	}
}

// A mirror is shown the credential that is for the mirror, and never the registry's;
// neither is whoever it leads to.
//
// Behaviour: mirror.credentials
func TestAMirrorGetsNoCredentialOfTheRegistry(t *testing.T) {
	for _, tokens := range []bool{false, true} {
		login := func(user string) registrytest.Options {
			return registrytest.Options{Login: &registrytest.Login{Users: map[string]string{user: "secret of " + user}, Tokens: tokens}}
		}
		f := &fleet{registrytest.Start(t, login("mia")), registrytest.Start(t, login("nobody")), registrytest.Start(t, login("jane"))}
		f.itself.Image(mirrored.Path, "v1", []byte(layer))
		jane := auth.Credential{Username: "jane", Password: "secret of jane"}
		c := configure(t, f.toml(), Options{Credentials: creds{
			"registry.example": jane, f.itself.Host: jane,
			f.first.Host: {Username: "mia", Password: "secret of mia"},
		}}, nil)
		if _, err := c.Manifest(context.Background(), mirrored, "v1"); err != nil {
			t.Fatal(err)
		}
		if got, err := readBlob(c, mirrored, layer); err != nil || got != layer {
			t.Fatalf("%q, %v", got, err)
		}
		for s, only := range map[*registrytest.Server]string{f.first: "mia", f.second: "", f.itself: "jane"} {
			for _, q := range s.Requests() {
				if q.Credential.User != "" && q.Credential.User != only {
					t.Errorf("tokens %v: %s of %s with the credential of %q, want %q", tokens, q, s.Host, q.Credential.User, only)
				}
			}
		}
		if account := c.Account(mirrored); !strings.HasPrefix(account, "jane#") {
			t.Errorf("the account is %q", account)
		}
	}
}
