package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry/hosts"
	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// withFiles makes a client that reads a registries.conf and a daemon.json; an empty text is no
// file.
func withFiles(t *testing.T, conf, daemon string, o Options) *Client {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"registries.conf": conf, "daemon.json": daemon} {
		if text == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o.Config = hosts.New(hosts.Options{RegistriesConf: []hosts.RegistriesConf{{File: filepath.Join(dir, "registries.conf")}}, DaemonJSON: []string{filepath.Join(dir, "daemon.json")}})
	c := newClient(o, quick())
	t.Cleanup(c.Close)
	return c
}

// leadFrom has all connections of a client for the registries named go to servers, by host:port.
// Nobody is at any other address.
func leadFrom(t *testing.T, c *Client, to map[string]*registrytest.Server, registries ...string) {
	t.Helper()
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		if s := to[address]; s != nil {
			return new(net.Dialer).DialContext(ctx, network, s.Host)
		}
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	c.transports.usual.meta.DialContext, c.transports.usual.bulk.DialContext = dial, dial
	for _, name := range registries {
		h, err := c.host(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range h.servers() {
			e.transports.meta.DialContext, e.transports.bulk.DialContext = dial, dial
		}
	}
}

// A mirror of podman's or docker's files is asked before the registry, for what it may be asked
// for, and one for digests is asked for no tag.
//
// Behaviour: mirror.podman, mirror.docker
func TestMirrorsOfPodmanAndDockerAreAsked(t *testing.T) {
	hub := ref.Repository{Host: "docker.io", Path: "a/b"}
	for name, c := range map[string]struct {
		conf, daemon string
		tag, blob    [2]int // requests of the mirror and of the registry
	}{
		"podman's": {conf: "[[registry]]\nprefix = 'docker.io'\nlocation = '%[2]s'\n[[registry.mirror]]\nlocation = '%[1]s'\n", tag: [2]int{1, 0}, blob: [2]int{1, 0}},
		"podman's for digests": {conf: "[[registry]]\nprefix = 'docker.io'\nlocation = '%[2]s'\n[[registry.mirror]]\nlocation = '%[1]s'\npull-from-mirror = 'digest-only'\n",
			tag: [2]int{1, 1}, blob: [2]int{1, 0}},
		"docker's": {daemon: `{"registry-mirrors": ["http://%[1]s/"]}`, tag: [2]int{1, 0}, blob: [2]int{1, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			mirror, itself := registrytest.Start(t, registrytest.Options{}), registrytest.Start(t, registrytest.Options{})
			for _, s := range []*registrytest.Server{mirror, itself} {
				s.Image("a/b", "v1", []byte(layer))
			}
			fill := func(text string) string {
				if text == "" {
					return ""
				}
				return fmt.Sprintf(text+"%.0[1]s%.0[2]s", mirror.Host, itself.Host)
			}
			client := withFiles(t, fill(c.conf), fill(c.daemon), Options{})
			count := func() [2]int {
				n := [2]int{mirror.Count("* *"), itself.Count("* *")}
				mirror.Forget()
				itself.Forget()
				return n
			}
			if _, err := client.Manifest(t.Context(), hub, "v1"); err != nil {
				t.Fatal(err)
			}
			if got := count(); got != c.tag {
				t.Errorf("by tag: %v requests, want %v", got, c.tag)
			}
			if got, err := readBlob(client, hub, layer); err != nil || got != layer {
				t.Errorf("%q, %v", got, err)
			}
			if got := count(); got != c.blob {
				t.Errorf("a blob: %v requests, want %v", got, c.blob)
			}
		})
	}
}

// The location of a registries.conf stands in for the registry, below its path; and nobody is
// asked for what is blocked.
//
// Behaviour: mirror.podman
func TestTheLocationOfARegistriesConfStandsInForTheRegistry(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Image("proxy/a/b", "v1", []byte(layer))
	c := withFiles(t, "[[registry]]\nprefix = 'registry.example'\nlocation = '"+s.Host+"/proxy'\n[[registry]]\nlocation = 'bad.example'\nblocked = true\n", "", Options{})
	if _, err := c.Manifest(t.Context(), mirrored, "v1"); err != nil {
		t.Error(err)
	}
	_, err := c.Manifest(t.Context(), ref.Repository{Host: "bad.example", Path: "a/b"}, "v1")
	if !errors.Is(err, ErrConfigured) || !errors.Is(err, hosts.ErrBlocked) || !strings.Contains(err.Error(), "registries.conf:4: ") {
		t.Errorf("blocked: %v", err)
	}
}

// insecures are the ways to say that a server is insecure, each with the repository that is then
// asked for there. What they make of http is the same.
var insecures = map[string]func(t *testing.T, host string, o Options) (*Client, ref.Repository){
	"hosts.toml": func(t *testing.T, host string, o Options) (*Client, ref.Repository) {
		return configure(t, fmt.Sprintf("server = \"http://%s\"\nskip_verify = true\n", host), o, nil), mirrored
	},
	"registries.conf": func(t *testing.T, host string, o Options) (*Client, ref.Repository) {
		return withFiles(t, fmt.Sprintf("[[registry]]\nprefix = 'registry.example'\nlocation = '%s'\ninsecure = true\n", host), "", o), mirrored
	},
	"daemon.json": func(t *testing.T, host string, o Options) (*Client, ref.Repository) {
		return withFiles(t, "", fmt.Sprintf(`{"insecure-registries": [%q]}`, host), o), ref.Repository{Host: host, Path: mirrored.Path}
	},
}

// A server that is insecure is asked by https first, without verification, and by http where it
// speaks no TLS; the credential of its host and port goes along. A name without a port means
// 443, then 80.
//
// Behaviour: mirror.insecure
func TestAnInsecureServerIsAskedByHTTPSFirst(t *testing.T) {
	for way, client := range insecures {
		for name, c := range map[string]struct {
			host, at string
			tls      bool
		}{
			"TLS":                {"r.example:5000", "r.example:5000", true},
			"no TLS":             {"r.example:5000", "r.example:5000", false},
			"TLS, no port":       {"r.example", "r.example:443", true},
			"no TLS, no port":    {"r.example", "r.example:80", false},
			"no TLS, but at 443": {"r.example", "r.example:443 and 80", false},
		} {
			t.Run(way+"/"+name, func(t *testing.T) {
				o := janes(false)
				o.TLS = c.tls
				s := registrytest.Start(t, o)
				s.Image("a/b", "v1", []byte(layer))
				cl, r := client(t, c.host, Options{Credentials: creds{c.host: jane}})
				to := map[string]*registrytest.Server{c.at: s}
				if name == "no TLS, but at 443" {
					to = map[string]*registrytest.Server{"r.example:443": s, "r.example:80": s}
				}
				leadFrom(t, cl, to, r.Host)
				for range 2 {
					if _, err := cl.Manifest(t.Context(), r, "v1"); err != nil {
						t.Fatal(err)
					}
				}
				if got, err := readBlob(cl, r, layer); err != nil || got != layer {
					t.Errorf("%q, %v", got, err)
				}
				for _, q := range s.Requests() {
					if q.Kind != "token" && strings.HasPrefix(q.Header.Get("Authorization"), "Basic") && !q.Credential.Valid {
						t.Errorf("%s by another credential", q)
					}
				}
			})
		}
	}
}

// No password is sent in clear beside a server that speaks TLS: not to port 80 of its host, nor
// to another port, whatever the server does later and wherever it says that tokens are.
//
// Behaviour: mirror.insecure
func TestNoPasswordGoesInClearBesideAServerThatSpeaksTLS(t *testing.T) {
	for way, client := range insecures {
		for name, realm := range map[string]string{"Basic": "", "tokens at port 80": "http://r.example/token", "tokens at another port": "http://r.example:8080/token"} {
			t.Run(way+"/"+name, func(t *testing.T) {
				o := janes(realm != "")
				o.TLS, o.Login.Realm = true, realm
				s := registrytest.Start(t, o)
				s.Image("a/b", "v1", []byte(layer))
				neighbour := registrytest.Start(t, janes(false))
				neighbour.Image("a/b", "v1", []byte(layer))
				c, r := client(t, "r.example", Options{Credentials: creds{"r.example": jane}})
				to := map[string]*registrytest.Server{"r.example:443": s, "r.example:80": neighbour, "r.example:8080": neighbour}
				leadFrom(t, c, to, r.Host)
				_, first := c.Manifest(t.Context(), r, "v1")
				if (first == nil) == (name == "tokens at another port") {
					t.Errorf("got %v", first)
				}
				// Somebody breaks its TLS, or it is gone.
				c.transports.closeIdle()
				h, _ := c.host(r.Host)
				h.server.transports.closeIdle()
				for _, broken := range []*registrytest.Server{neighbour, nil} {
					to["r.example:443"] = broken
					if _, err := c.Manifest(t.Context(), r, "v2"); err == nil {
						t.Error("it was asked by http after it spoke TLS")
					}
				}
				if got := neighbour.Asked(); len(got) != 0 {
					t.Errorf("asked in clear: %q", got)
				}
			})
		}
	}
}

// A loopback server may lose its TLS, as nobody is between.
//
// Behaviour: mirror.insecure
func TestALoopbackServerMayLoseItsTLS(t *testing.T) {
	secure, plain := registrytest.Start(t, registrytest.Options{TLS: true}), registrytest.Start(t, registrytest.Options{})
	c := configure(t, "server = 'https://localhost:5000'\nskip_verify = true\n", Options{}, nil)
	to := map[string]*registrytest.Server{}
	leadFrom(t, c, to, mirrored.Host)
	for _, s := range []*registrytest.Server{secure, plain} {
		s.Image("a/b", "v1", []byte(layer))
		to["localhost:5000"] = s
		h, _ := c.host(mirrored.Host)
		h.server.transports.closeIdle()
		if _, err := c.Manifest(t.Context(), mirrored, "v1"); err != nil || s.Count("* *") == 0 {
			t.Errorf("at %s: %v", s.URL, err)
		}
	}
}

// A server is asked by http only as long as somebody says that it is insecure.
//
// Behaviour: mirror.insecure
func TestAServerThatNobodyCallsInsecureIsAskedByHTTPSAlone(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Image("a/b", "v1", []byte(layer))
	c := withFiles(t, "[[registry]]\nlocation = 'r.example'\ninsecure = true\n[[registry]]\nprefix = 'registry.example'\nlocation = 'r.example:5000'\n", "", Options{})
	leadFrom(t, c, map[string]*registrytest.Server{"r.example:5000": s}, mirrored.Host)
	if _, err := c.Manifest(t.Context(), mirrored, "v1"); !errors.Is(err, ErrUnreachable) || s.Count("* *") != 0 {
		t.Errorf("%v: asked %q", err, s.Asked())
	}
	if c.isPlain("r.example:5000") {
		t.Error("a credential may go there by http")
	}
}

// The headers of a server go to the token server that it names, and not on to where that leads;
// those of one registry never go to another's.
//
// Behaviour: mirror.settings
func TestHeadersGoToTheTokenServerToo(t *testing.T) {
	o := janes(true)
	s := registrytest.Start(t, o)
	tokens, beyond := s.Elsewhere(t, registrytest.Options{}), registrytest.Start(t, registrytest.Options{})
	o.Login.Realm = tokens.URL + "/token"
	s.Image("a/b", "v1", []byte(layer))
	c := configure(t, fmt.Sprintf("server = %q\n[header]\nX-Key = \"s3cret\"\nAuthorization = \"Bearer s3cret\"\n", s.URL), Options{Credentials: creds{s.Host: jane}}, nil)
	keys := func(t *testing.T, at *registrytest.Server) (keys []string) {
		t.Helper()
		for _, q := range at.Requests() {
			if q.Kind != "token" {
				continue
			}
			keys = append(keys, q.Header.Get("X-Key"))
			if at == tokens && q.Header.Get("Authorization") == "Bearer s3cret" {
				t.Errorf("%s with the file's Authorization in place of jane's", q)
			}
		}
		at.Forget()
		return keys
	}
	if _, err := c.Manifest(t.Context(), mirrored, "v1"); err != nil {
		t.Fatal(err)
	}
	if got := keys(t, tokens); !slices.Equal(got, []string{"s3cret"}) {
		t.Errorf("the token server got the keys %q", got)
	}

	rule := tokens.On("GET token", registrytest.Redirect(beyond.URL))
	if _, err := c.Manifest(t.Context(), ref.Repository{Host: mirrored.Host, Path: "c/d"}, "v1"); err == nil {
		t.Error("there is no such image")
	}
	if got := keys(t, beyond); len(got) != 1 || got[0] != "" {
		t.Errorf("where the token server leads, the keys are %q", got)
	}
	keys(t, tokens)
	rule.End()

	// The same server, by its own name: that has no headers.
	s.Image("e/f", "v1", []byte(layer))
	if _, err := c.Manifest(t.Context(), ref.Repository{Host: s.Host, Path: "e/f"}, "v1"); err != nil {
		t.Fatal(err)
	}
	if got := keys(t, tokens); len(got) != 1 || got[0] != "" {
		t.Errorf("for another registry, the keys are %q", got)
	}
}

// A mirror whose capabilities name referrers is asked for them first, and its list counts. One
// that doesn't name them isn't asked while the registry answers; and whatever a mirror says that
// is no list, the registry is asked.
//
// Behaviour: mirror.referrers
func TestReferrersAreAskedOfMirrorsThatHaveThem(t *testing.T) {
	refer := func(s *registrytest.Server, name string) digest.Digest {
		subject := s.Image(mirrored.Path, "v1", []byte(layer))
		s.Manifest(mirrored.Path, "", "application/vnd.oci.image.manifest.v1+json", fmt.Appendf(nil,
			`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/x.%s","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[],"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":%d}}`,
			name, subject, len(s.ReadManifest(mirrored.Path, "v1"))))
		return subject
	}
	for _, c := range []struct {
		name, capabilities string
		quirk              registrytest.Quirk
		noAPI              bool // of the registry
		want               string
		asked              [2]int
	}{
		{"it has them", `["pull", "referrers"]`, nil, false, "mirror", [2]int{1, 0}},
		{"it doesn't name them", `["pull", "resolve"]`, nil, false, "itself", [2]int{0, 1}},
		{"nothing is named", "", nil, false, "itself", [2]int{0, 1}},
		{"it has no API", `["pull", "referrers"]`, registrytest.Status(404, ""), false, "itself", [2]int{1, 1}},
		{"it lets nobody in", `["pull", "referrers"]`, registrytest.Status(403, ""), false, "itself", [2]int{1, 1}},
		{"a page of its own", `["pull", "referrers"]`, registrytest.Status(200, "<html>", "Content-Type", "text/html"), false, "itself", [2]int{1, 1}},
		{"the registry has no API", `["referrers"]`, nil, true, "mirror", [2]int{1, 0}},
		{"neither has", `["referrers"]`, registrytest.Status(404, ""), true, "", [2]int{1, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := registrytest.Options{Traits: registrytest.Traits{Referrers: true}}
			mirror, itself := registrytest.Start(t, o), registrytest.Start(t, o)
			refer(mirror, "mirror")
			d := refer(itself, "itself")
			if c.quirk != nil {
				mirror.On("GET referrers", c.quirk)
			}
			if c.noAPI {
				itself.On("GET referrers", registrytest.Status(404, ""))
			}
			toml := fmt.Sprintf("server = %q\n[host.%q]\n", itself.URL, mirror.URL)
			if c.capabilities != "" {
				toml += "capabilities = " + c.capabilities + "\n"
			}
			client := configure(t, toml, Options{}, nil)
			for n := range 2 {
				rs, err := client.Referrers(t.Context(), mirrored, d, "")
				ds := rs.Descriptors
				if err != nil || len(ds) != min(1, len(c.want)) || len(ds) == 1 && ds[0].ArtifactType != "application/x."+c.want {
					t.Errorf("got %v, %v; want those of %q", ds, err, c.want)
				}
				want := c.asked
				if c.name == "neither has" && n == 1 {
					want[1] = 0 // it is known to have none
				}
				if got := [2]int{mirror.Count("GET referrers"), itself.Count("GET referrers")}; got != want {
					t.Errorf("asked %v times, want %v", got, want)
				}
				mirror.Forget()
				itself.Forget()
			}
		})
	}
}
