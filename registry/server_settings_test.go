package registry

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry/hosts"
	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// Headers are for the server that they are configured for, wherever it leads; the
// path of its API is its own.
//
// Behaviour: mirror.settings
func TestHeadersAndPathsAreOfOneServer(t *testing.T) {
	f := newFleet(t)
	cdn := registrytest.Start(t, registrytest.Options{})
	cdn.Image(mirrored.Path, "v1", []byte(layer))
	proxy := registrytest.Start(t, registrytest.Options{Base: "/v2/proxy/hub"})
	proxy.Image(mirrored.Path, "v1", []byte(layer))
	proxy.On("GET blob", registrytest.Status(307, "", "Location", cdn.URL+"/v2/a/b/blobs/"+digest.FromString(layer).String()))
	c := configure(t, fmt.Sprintf("server = %q\n[host.%q]\noverride_path = true\n[host.%q.header]\nX-Mirror = [\"secret\"]\n", f.itself.URL, proxy.URL+"/v2/proxy/hub", proxy.URL+"/v2/proxy/hub"), Options{}, nil)
	if _, err := c.Manifest(context.Background(), mirrored, "v1"); err != nil {
		t.Fatal(err)
	}
	if got, err := readBlob(c, mirrored, layer); err != nil || got != layer {
		t.Fatalf("%q, %v", got, err)
	}
	if f.itself.Count("* *") != 0 || cdn.Count("* *") == 0 {
		t.Errorf("the registry was asked %q, the CDN %q", f.itself.Asked(), cdn.Asked())
	}
	for _, q := range proxy.Requests() {
		if q.Header.Get("X-Mirror") != "secret" || !strings.HasPrefix(q.Path, "/v2/proxy/hub/a/b/") {
			t.Errorf("%s with %v", q.Path, q.Header)
		}
	}
	for _, q := range cdn.Requests() {
		if q.Header.Get("X-Mirror") != "" {
			t.Errorf("the header went to the CDN: %v", q.Header)
		}
	}
}

// Certificates count for the server that they are of: its authority, the certificate
// that it wants to see, and that nothing is verified.
//
// Behaviour: mirror.settings, mirror.certs, transport.settings
func TestCertificatesAreOfOneServer(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{ClientCert: true})
	other := registrytest.Start(t, registrytest.Options{TLS: true})
	for _, s := range []*registrytest.Server{s, other} {
		s.Image(mirrored.Path, "v1", []byte(layer))
	}
	cert, key := s.ClientCert("jane")
	if b, _ := pem.Decode(cert); b == nil {
		t.Fatal("no certificate")
	}
	dir := t.TempDir()
	for name, b := range map[string][]byte{"ca.pem": s.CA, "cert.pem": cert, "key.pem": key} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	mutual := fmt.Sprintf("ca = %q\nclient = [[%q, %q]]\n", at("ca.pem"), at("cert.pem"), at("key.pem"))
	for name, c := range map[string]struct {
		toml  string
		certs map[string][]byte
		ask   ref.Repository
		works bool
	}{
		"nothing":                       {"", nil, ref.Repository{Host: s.Host, Path: "a/b"}, false},
		"docker's":                      {"", map[string][]byte{s.Host + "/ca.crt": s.CA, s.Host + "/jane.cert": cert, s.Host + "/jane.key": key}, ref.Repository{Host: s.Host, Path: "a/b"}, true},
		"docker's, without the key":     {"", map[string][]byte{s.Host + "/ca.crt": s.CA, s.Host + "/jane.cert": cert}, ref.Repository{Host: s.Host, Path: "a/b"}, false},
		"docker's, of another":          {"", map[string][]byte{other.Host + "/ca.crt": s.CA, other.Host + "/jane.cert": cert, other.Host + "/jane.key": key}, ref.Repository{Host: s.Host, Path: "a/b"}, false},
		"the server's":                  {fmt.Sprintf("server = %q\n", s.URL) + mutual, nil, mirrored, true},
		"the server's, no certificate":  {fmt.Sprintf("server = %q\nca = %q\n", s.URL, at("ca.pem")), nil, mirrored, false},
		"the mirror's":                  {fmt.Sprintf("server = \"https://127.0.0.1:1\"\n[host.%q]\n", s.URL) + mutual, nil, mirrored, true},
		"the mirror's isn't the server": {fmt.Sprintf("server = %q\n[host.\"https://127.0.0.1:1\"]\n", s.URL) + mutual, nil, mirrored, false},
		"not verified":                  {fmt.Sprintf("server = %q\nskip_verify = true\n", other.URL), nil, mirrored, true},
		"verified":                      {fmt.Sprintf("server = %q\n", other.URL), nil, mirrored, false},
	} {
		t.Run(name, func(t *testing.T) {
			s.Forget()
			cl := configure(t, c.toml, Options{}, c.certs)
			_, err := cl.Manifest(context.Background(), c.ask, "v1")
			if (err == nil) != c.works || err != nil && !errors.Is(err, ErrUnreachable) {
				t.Errorf("%v", err)
			}
			if err == nil && strings.Contains(c.toml, "skip") {
				return
			}
			for _, q := range s.Requests() {
				if q.Proto != "HTTP/2.0" {
					t.Errorf("asked by %s", q.Proto)
				}
			}
		})
	}
}

// A hosts.toml that can't be read is told, and nobody is asked as if it weren't there;
// once it is mended it counts.
//
// Behaviour: mirror.settings
func TestABrokenConfigurationIsToldAndMended(t *testing.T) {
	f := newFleet(t)
	c := configure(t, "server = \"nonsense://\"\n", Options{}, nil)
	_, err := c.Manifest(context.Background(), mirrored, "v1")
	if !errors.Is(err, ErrConfigured) || !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "hosts.toml") {
		t.Fatal(err)
	}
	var e *hosts.Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	if err := os.WriteFile(e.File, []byte(f.toml()), 0o600); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if _, err = c.Manifest(context.Background(), mirrored, "v1"); err == nil {
			return
		}
	}
	t.Error(err)
}
