package registry

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/hosts"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// foreign describes the blob layer, which is to be had at URLs.
func foreign(urls ...string) v1.Descriptor {
	return v1.Descriptor{Digest: digest.FromString(layer), Size: int64(len(layer)), URLs: urls}
}

// urlAt has a server hold content, and gives the URL of the blob layer there.
func urlAt(s *registrytest.Server, content string) string {
	d := digest.FromString(layer)
	s.Blob("base", []byte(content))
	if content != layer { // another blob in its place
		s.On("GET blob", registrytest.Redirect("/v2/base/blobs/"+digest.FromString(content).String()+"?"))
		s.On("GET blob "+digest.FromString(content).String(), func(_ *registrytest.Exchange, _ func() *registrytest.Answer) *registrytest.Answer {
			return registrytest.Plain(http.StatusOK, content)
		})
	}
	return s.URL + "/v2/base/blobs/" + d.String()
}

// readForeign reads a blob whole, and says whether a URL had it.
func readForeign(t *testing.T, c *Client, s *registrytest.Server, desc v1.Descriptor) (got string, fromURL bool, err error) {
	t.Helper()
	b, err := c.Blob(t.Context(), in(s), desc)
	if err != nil {
		return "", false, err
	}
	defer b.Close()
	all, err := io.ReadAll(b)
	return string(all), b.(*verified).FromURL(), err
}

// A blob that its repository has costs no request at the URLs of its descriptor.
//
// Behaviour: blob.urls
func TestABlobThatItsRepositoryHasComesFromThere(t *testing.T) {
	s, outside := registrytest.Start(t, registrytest.Options{}), registrytest.Start(t, registrytest.Options{})
	s.Blob("a/b", []byte(layer))
	c := knowing(t, Options{}, quick(), s)
	if got, fromURL, err := readForeign(t, c, s, foreign(urlAt(outside, layer))); got != layer || fromURL || err != nil {
		t.Errorf("%q, from a URL: %v, %v", got, fromURL, err)
	}
	s.Want("GET blob")
	outside.Want()
}

// A blob that its repository lacks comes from the first URL that has it. While that URL has it,
// the repository isn't asked each time; when it doesn't, the repository is.
//
// Behaviour: blob.urls
func TestABlobThatItsRepositoryLacksComesFromItsURLs(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	empty, outside := registrytest.Start(t, registrytest.Options{}), registrytest.Start(t, registrytest.Options{})
	c := knowing(t, Options{}, quick(), s)
	desc := foreign(empty.URL+"/gone", urlAt(outside, layer))
	for range 2 {
		if got, fromURL, err := readForeign(t, c, s, desc); got != layer || !fromURL || err != nil {
			t.Errorf("%q, from a URL: %v, %v", got, fromURL, err)
		}
	}
	b, err := c.BlobPart(t.Context(), in(s), desc, 4, 5)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(b); string(got) != layer[4:9] || err != nil || b.Mirrored() {
		t.Errorf("a part is %q, %v", got, err)
	}
	b.Close()
	s.Want("GET blob")
	empty.Want("GET other")
	outside.Want("GET blob", "GET blob", "GET blob bytes=4-8")

	s.Blob("a/b", []byte(layer))
	outside.Remove("base", desc.Digest.String())
	for range 2 {
		if got, fromURL, err := readForeign(t, c, s, desc); got != layer || fromURL || err != nil {
			t.Errorf("%q, from a URL: %v, %v", got, fromURL, err)
		}
	}
	outside.Want("GET blob", "GET blob", "GET blob bytes=4-8", "GET blob")
}

// A blob that nobody has is not found, and the error names everybody who was asked. Any other
// answer of the registry than that it lacks the blob is final: its URLs are asked for nothing.
//
// Behaviour: blob.urls
func TestURLsAreAskedOnlyForWhatTheRepositoryLacks(t *testing.T) {
	outside := registrytest.Start(t, registrytest.Options{})
	at := urlAt(outside, layer)
	for status, want := range map[int]error{403: ErrDenied, 429: ErrTooManyRequests, 500: ErrServer, 405: ErrUnsupported} {
		s := registrytest.Start(t, registrytest.Options{})
		s.On("GET blob", registrytest.Status(status, ""))
		if _, _, err := readForeign(t, knowing(t, Options{}, quick(), s), s, foreign(at)); !errors.Is(err, want) {
			t.Errorf("%d: %v", status, err)
		}
	}
	outside.Want()
	s := registrytest.Start(t, registrytest.Options{})
	_, _, err := readForeign(t, knowing(t, Options{}, quick(), s), s, foreign(outside.URL+"/gone"))
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), " at "+outside.Host+": not found (404); before that GET blob") {
		t.Error(err)
	}
}

// A transfer from a URL that breaks off is continued there by Range.
//
// Behaviour: blob.urls
func TestABlobFromAURLIsContinued(t *testing.T) {
	s, outside := registrytest.Start(t, registrytest.Options{}), registrytest.Start(t, registrytest.Options{})
	at := urlAt(outside, layer)
	outside.First(1, "GET blob", registrytest.Cut(4))
	outside.Nth(2, "GET blob", registrytest.Reset())
	outside.Nth(3, "GET blob", registrytest.Status(503, ""))
	if got, _, err := readForeign(t, knowing(t, Options{}, quick(), s), s, foreign(at)); got != layer || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	s.Want("GET blob")
	outside.Want("GET blob", "GET blob bytes=4-", "GET blob bytes=4-", "GET blob bytes=4-")
}

// Bytes from a URL need the digest and the size of the descriptor.
//
// Behaviour: blob.urls
func TestBytesFromAURLAreVerified(t *testing.T) {
	for name, content := range map[string]string{
		"another byte": strings.Replace(layer, "b", "B", 1), "longer": layer + "!", "shorter": layer[1:],
	} {
		s, outside := registrytest.Start(t, registrytest.Options{}), registrytest.Start(t, registrytest.Options{})
		if _, _, err := readForeign(t, knowing(t, Options{}, quick(), s), s, foreign(urlAt(outside, content))); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A URL whose bytes were wrong is asked after the registry and the other URLs.
//
// Behaviour: blob.urls
func TestAURLThatHadWrongBytesIsAskedLast(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	wrong, right := registrytest.Start(t, registrytest.Options{}), registrytest.Start(t, registrytest.Options{})
	c := knowing(t, Options{}, quick(), s)
	desc := foreign(urlAt(wrong, strings.ToUpper(layer)), urlAt(right, layer))
	if _, _, err := readForeign(t, c, s, desc); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	c.Doubt(in(s), desc.Digest)
	wrong.Forget()
	for range 2 {
		if got, _, err := readForeign(t, c, s, desc); got != layer || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	wrong.Want()
	s.Want("GET blob", "GET blob")
	alone := foreign(desc.URLs[0])
	for range 2 { // better than to say that nobody has it
		if _, _, err := readForeign(t, c, s, alone); !errors.Is(err, ErrCorrupt) {
			t.Error(err)
		}
		c.Doubt(in(s), desc.Digest)
	}
	s.Blob("a/b", []byte(layer))
	if got, _, err := readForeign(t, c, s, alone); got != layer || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// No secret goes to a URL, nor to where it leads: no password or token, be it of the registry itself,
// no header that people configured for that host, and no password in the URL. Its answers say
// nothing about the host as a registry.
//
// Behaviour: blob.urls
func TestNoSecretGoesToAURL(t *testing.T) {
	s := registrytest.Start(t, janes(true))
	outside := registrytest.Start(t, janes(false))
	outside.On("GET other", registrytest.Redirect(s.URL)) // to the registry, which lets nobody in
	dir := t.TempDir()
	for _, to := range []*registrytest.Server{s, outside} {
		if err := os.Mkdir(filepath.Join(dir, to.Host), 0o700); err != nil {
			t.Fatal(err)
		}
		toml := fmt.Sprintf("server = %q\n[header]\nX-Secret = [\"s3cret\"]\n", to.URL)
		if err := os.WriteFile(filepath.Join(dir, to.Host, "hosts.toml"), []byte(toml), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := newClient(Options{
		Credentials: creds{s.Host: jane, outside.Host: jane}, RetryMaxWait: 1, Config: hosts.New(hosts.Options{Containerd: []string{dir}}),
	}, quick())
	t.Cleanup(c.Close)
	password := strings.Replace(outside.URL, "://", "://jane:s3cret@", 1)
	limited := registrytest.With("RateLimit-Limit", "1;w=60")
	outside.On("* *", limited, registrytest.With("RateLimit-Remaining", "0;w=60"))
	_, _, err := readForeign(t, c, s, foreign(password+"/v2/base/blobs/"+digest.FromString("refused").String(), outside.URL+"/led"))
	if !errors.Is(err, ErrDenied) || strings.Contains(err.Error(), "s3cret") {
		t.Error(err)
	}
	led := 0
	for _, q := range slices.Concat(outside.Requests(), s.Requests()) {
		if q.Path == "/led" {
			led++
		}
		if own := q.Server == "" && q.Host == s.Host && q.Path != "/led"; own {
			continue // what the registry is asked itself
		}
		if q.Header.Get("Authorization") != "" || q.Header.Get("X-Secret") != "" {
			t.Errorf("%s %s with %v", q, q.Path, q.Header)
		}
	}
	if led != 2 || outside.Count("* *") != 2 {
		t.Errorf("asked %q, and the registry %q", outside.Asked(), s.Asked())
	}
	if _, ok := c.learnt.limit(outside.Host); ok {
		t.Error("a URL told the limit of a registry")
	}
	outside.Gone()
	if _, _, err = readForeign(t, c, s, foreign(outside.URL+"/led")); !errors.Is(err, ErrUnreachable) {
		t.Error(err)
	}
	if c.learnt.health(outside.Host).failing() {
		t.Error("a URL had a registry taken for down")
	}
}

// A client certificate is shown to the registry that it is for, and not to a URL at the same host.
// The authorities that people configured for that host count.
//
// Behaviour: blob.urls, transport.settings
func TestNoClientCertificateGoesToAURL(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	demands := registrytest.Start(t, registrytest.Options{ClientCert: true})
	private := registrytest.Start(t, registrytest.Options{TLS: true})
	demands.Blob("a/b", []byte(layer))
	certs := map[string][]byte{}
	for _, to := range []*registrytest.Server{demands, private} {
		certs[to.Host+"/ca.crt"] = to.CA
		certs[to.Host+"/jane.cert"], certs[to.Host+"/jane.key"] = to.ClientCert("jane")
	}
	c := configure(t, "", Options{}, certs)
	if _, _, err := readForeign(t, c, s, foreign(urlAt(demands, layer))); !errors.Is(err, ErrUnreachable) || demands.Count("* *") != 0 {
		t.Errorf("a server that demands a certificate: %v", err)
	}
	if got, _, err := readForeign(t, c, demands, foreign()); got != layer || err != nil {
		t.Errorf("the same as a registry: %q, %v", got, err)
	}
	if got, _, err := readForeign(t, c, s, foreign(urlAt(private, layer))); got != layer || err != nil {
		t.Errorf("a private authority: %q, %v", got, err)
	}
}

// URLs are asked by https, by http where somebody named their host for that, and eight of them at
// most. What isn't asked is said, without its secrets.
//
// Behaviour: blob.urls
func TestUnsafeURLsAreNotAsked(t *testing.T) {
	s, outside := registrytest.Start(t, registrytest.Options{}), registrytest.Start(t, registrytest.Options{})
	o := Options{PlainHTTP: []string{"named.example"}}
	c := knowing(t, o, quick(), s)
	lead(c, map[string]*registrytest.Server{"named.example:80": outside, "plain.example:80": outside})
	at, err := url.Parse(urlAt(outside, layer))
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range []string{
		"http://plain.example" + at.Path, "http://jane:s3cret@plain.example/?s3cret", "ftp://jane:s3cret@named.example/x", "file:///etc/passwd", "//named.example/x",
		"", "x", "https://", "https:///x", "https://named.example:x/", "https://a\x00b/", "unix:///run/docker.sock",
	} {
		_, _, err := readForeign(t, c, s, foreign(raw))
		if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "isn't asked") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", raw, err)
		}
	}
	outside.Want()
	if got, _, err := readForeign(t, c, s, foreign("http://named.example"+at.Path)); got != layer || err != nil {
		t.Errorf("a host that is named as plain: %q, %v", got, err)
	}
	outside.Forget()
	many := slices.Repeat([]string{outside.URL + "/gone"}, 20)
	if _, _, err := readForeign(t, knowing(t, o, quick(), s), s, foreign(many...)); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "20 URLs") || outside.Count("* *") != maxURLs {
		t.Errorf("asked %d times: %v", outside.Count("* *"), err)
	}
}
