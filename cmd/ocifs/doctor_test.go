package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/hosts"
	"github.com/ocifs/ocifs/registry/probe"
)

// What people write in place of HOST/REPOSITORY is understood, and told.
func TestTargets(t *testing.T) {
	hex := strings.Repeat("0a", 32)
	for in, want := range map[string]struct{ name, object, typed string }{
		"ghcr.io":                       {"ghcr.io", "", ""},
		"ghcr.io/org/app":               {"ghcr.io/org/app", "", ""},
		"ghcr.io/":                      {"ghcr.io", "", "ghcr.io/"},
		"https://ghcr.io":               {"ghcr.io", "", "https://ghcr.io"},
		"https://ghcr.io/v2/":           {"ghcr.io", "", "https://ghcr.io/v2/"},
		"docker://ghcr.io/org/app:v1":   {"ghcr.io/org/app", "v1", "docker://ghcr.io/org/app:v1"},
		"ghcr.io/org/app:v1":            {"ghcr.io/org/app", "v1", "ghcr.io/org/app:v1"},
		"ghcr.io/org/app@sha256:" + hex: {"ghcr.io/org/app", "sha256:" + hex, "ghcr.io/org/app@sha256:" + hex},
		"localhost_5000/a":              {"localhost:5000/a", "", "localhost_5000/a"},
		"docker.io/alpine":              {"docker.io/library/alpine", "", "docker.io/alpine"},
	} {
		got, err := parseTarget(in)
		if err != nil || got.name() != want.name || got.object != want.object || got.typed != want.typed {
			t.Errorf("%q is %q, %q, %q, %v; want %q", in, got.name(), got.object, got.typed, err, want)
		}
	}
	for in, hint := range map[string]string{
		"alpine": "docker.io/alpine", "library/alpine:3": "docker.io/library/alpine:3", "ghcr.io/Org": "", "ghcr.io/a:b:c": "", "": "", "no host": "",
	} {
		if got, err := parseTarget(in); err == nil || !strings.Contains(err.Error(), hint) {
			t.Errorf("%q is taken for %q, %v; want an error that names %q", in, got.name(), err, hint)
		}
	}
}

// Each check is printed when it is done, for people and as JSON alike, and what is
// wrong is counted.
func TestChecksArePrinted(t *testing.T) {
	var out bytes.Buffer
	d := &diagnosis{out: &out}
	d.group = "one"
	d.do(t.Context(), "a", func(context.Context) check { return fine("%s", "well,\n  as it is") })
	if out.Len() == 0 {
		t.Error("nothing is printed while it goes on")
	}
	d.do(t.Context(), "silent", func(context.Context) check { return check{} })
	d.group = "two"
	d.do(t.Context(), "b", func(context.Context) check { return wrong("do that", "broken") })
	d.do(t.Context(), "c", func(context.Context) check { return unknown("", "who knows") })
	want := "one\n  ✓ a            well, as it is\n\ntwo\n  ✗ b            broken\n                 → do that\n  ? c            who knows\n"
	if out.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", out.String(), want)
	}
	var printed struct {
		Checks []map[string]string
		OK     bool
	}
	out.Reset()
	if err := d.print(&out, true); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out.Bytes(), &printed); err != nil || printed.OK || len(printed.Checks) != 3 {
		t.Fatalf("%v in %s", err, out.String())
	}
	if b := printed.Checks[1]; b["group"] != "two" || b["name"] != "b" || b["state"] != "wrong" || b["found"] != "broken" || b["next"] != "do that" {
		t.Errorf("printed %v", b)
	}
	if d.wrongs() != 1 {
		t.Errorf("%d are wrong", d.wrongs())
	}
}

// Who interrupts doctor doesn't wait, and no check is added after that.
func TestChecksCanBeInterrupted(t *testing.T) {
	d := &diagnosis{}
	ctx, cancel := context.WithCancel(t.Context())
	d.do(ctx, "slow", func(ctx context.Context) check {
		cancel()
		<-ctx.Done()
		return wrong("", "%v", ctx.Err())
	})
	d.do(ctx, "next", func(context.Context) check { t.Error("it goes on"); return check{} })
	if len(d.checks) != 0 {
		t.Errorf("it found %v", d.checks)
	}
}

// Why a server isn't trusted is told in plain words, with what to do about it.
func TestDistrustIsExplained(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		from, until time.Time
		host        string
		found, next string
	}{
		"a foreign authority":  {now.Add(-time.Hour), now.Add(time.Hour), "127.0.0.1", "isn't trusted here (CN=a test)", "/ca.crt, or name a file with it in SSL_CERT_FILE"},
		"over":                 {now.Add(-2 * time.Hour), now.Add(-time.Hour), "127.0.0.1", "was over on", "renewed"},
		"of the future":        {now.Add(time.Hour), now.Add(2 * time.Hour), "127.0.0.1", "in the future", "clock"},
		"another server's own": {now.Add(-time.Hour), now.Add(time.Hour), "192.0.2.7", "for other names than 127.0.0.1", "one of these names"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewUnstartedServer(http.NotFoundHandler())
			s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate(t, c.from, c.until, c.host)}}
			s.Config.ErrorLog = log.New(io.Discard, "", 0)
			s.StartTLS()
			defer s.Close()
			v := &visit{target: target{host: strings.TrimPrefix(s.URL, "https://")}, client: registry.New(registry.Options{})}
			defer v.client.Close()
			g, err := probe.Greet(t.Context(), v.client, v.host, "")
			got := v.encryption(g, err)
			if got.State != isWrong || !strings.Contains(got.Found, c.found) || !strings.Contains(got.Next, c.next) {
				t.Errorf("found %+v\nwant %q, %q", got, c.found, c.next)
			}
		})
	}
}

// certificate makes a certificate that signs itself.
func certificate(t *testing.T, from, until time.Time, address string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a test"},
		NotBefore: from, NotAfter: until, IPAddresses: []net.IP{net.ParseIP(address)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// What can't be read of the credentials is a check of its own, and the rest counts.
func TestProblemsOfCredentialsAreTold(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("DOCKER_AUTH_CONFIG", "")
	t.Setenv("REGISTRY_AUTH_FILE", filepath.Join(dir, "auth.json"))
	for name, text := range map[string]string{
		"auth.json":   `{"auths": nonsense`,
		"config.json": `{"auths":{"ghcr.io":{"username":"jane","password":"secret"}},"credHelpers":{"quay.io":"is-missing-here"}}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for host, want := range map[string]struct{ used, problem string }{
		"ghcr.io": {"credential of jane", "auth.json"},
		"quay.io": {"as nobody", "install docker-credential-is-missing-here"},
	} {
		var out bytes.Buffer
		d := &diagnosis{out: &out}
		d.examineCredentials(t.Context(), target{host: host})
		if text := out.String(); !strings.Contains(text, want.used) || !strings.Contains(text, want.problem) || strings.Contains(text, "secret") {
			t.Errorf("%s:\n%s\nwant %q", host, text, want)
		}
	}
}

// A name that was typed as http:// isn't asked so without the flag, and that is told.
func TestPlainHTTPIsForTheFlag(t *testing.T) {
	v := &visit{target: target{host: "registry.example", typed: "http://registry.example"}}
	if c := v.understood(); c.State != isWarning || !strings.Contains(c.Next, "--plain-http registry.example") {
		t.Errorf("found %+v", c)
	}
	if c := v.unreachable(http.ErrSchemeMismatch); c.State != isWrong || !strings.Contains(c.Next, "--plain-http registry.example") {
		t.Errorf("found %+v", c)
	}
}

// A path that is to be typed is quoted.
func TestPathsAreQuotedForShells(t *testing.T) {
	for in, want := range map[string]string{"/mnt/a-b": "/mnt/a-b", "/mnt/a b": "'/mnt/a b'", "/it's": `'/it'\''s'`} {
		if got := shellWord(in); got != want {
			t.Errorf("%s is written %s, want %s", in, got, want)
		}
	}
	missing := filepath.Join(t.TempDir(), "my images")
	if err := checkDirectory(missing, "/cache"); err == nil || !strings.HasSuffix(err.Error(), "mkdir -p '"+missing+"'") {
		t.Errorf("of a directory that isn't there: %v", err)
	}
}

// The files that count for a registry are named, and what in them is left out; so is the file
// that calls it insecure.
func TestConfiguredFilesAreNamed(t *testing.T) {
	dir := t.TempDir()
	conf, daemon := filepath.Join(dir, "registries.conf"), filepath.Join(dir, "daemon.json")
	for file, text := range map[string]string{
		conf:   "[[registry]]\nlocation = 'a.example'\ninsecure = true\n[[registry.mirror]]\nlocation = 'm.example'\n[[registry]]\nprefix = 'a.example/team'\nlocation = 'b.example'\n",
		daemon: `{"insecure-registries": ["c.example"]}`,
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	finder := hosts.New(hosts.Options{RegistriesConf: []hosts.RegistriesConf{{File: conf}}, DaemonJSON: []string{daemon}})
	client := registry.New(registry.Options{Config: finder})
	defer client.Close()
	for host, want := range map[string]struct {
		state    state
		found    []string
		insecure string
	}{
		"a.example": {isWarning, []string{"1 mirror of a.example, by " + conf, conf + ":6: ", "a.example/team"}, conf},
		"c.example": {isOK, []string{"by " + daemon}, daemon},
		"d.example": {"", []string{""}, ""},
	} {
		v := &visit{target: target{host: host}, client: client, finder: finder}
		c := v.configured()
		if c.State != want.state || v.insecure() != want.insecure {
			t.Errorf("%s: %+v, and %q calls it insecure", host, c, v.insecure())
		}
		for _, w := range want.found {
			if !strings.Contains(c.Found, w) {
				t.Errorf("%s: found %q, which doesn't say %q", host, c.Found, w)
			}
		}
	}
}

// Nothing that this process serves itself is read, be it a file or a directory.
func TestFilesBelowTheMountAreNotRead(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("CONTAINERS_REGISTRIES_CONF", "")
	config := filepath.Join(dir, ".config")
	for name, text := range map[string]string{
		"containers/registries.conf": "[[registry]]\nlocation = 'a.example'\n", "containers/registries.conf.d/x.conf": "[[registry]]\nlocation = 'b.example'\n",
		"docker/daemon.json": `{"insecure-registries": ["c.example"]}`,
	} {
		path := filepath.Join(config, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	names := func(mountpoints ...string) (n int) {
		for _, h := range new(settings).finder(nil, mountpoints...).Hosts() {
			if strings.HasSuffix(h, ".example") {
				n++
			}
		}
		return n
	}
	if n := names(); n != 3 {
		t.Errorf("%d registries are read, want 3", n)
	}
	if n := names(config); n != 0 {
		t.Errorf("%d registries are read of what the mount serves", n)
	}
}
