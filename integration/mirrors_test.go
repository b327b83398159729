package integration

import (
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// configured writes the hosts.toml of registry.example where containerd has it.
func configured(t *testing.T, format string, args ...any) func(home string) {
	return func(home string) {
		writeFile(t, filepath.Join(home, ".config/containerd/certs.d/registry.example/hosts.toml"), fmt.Appendf(nil, format, args...), 0o600)
	}
}

// An image comes from a mirror, verified, as long as that has it; else from the
// registry itself, which takes what is pushed.
//
// Behaviour: mirror.order, mirror.passed, mirror.verified
func TestMirrors(t *testing.T) {
	t.Parallel()
	itself, mirror := startDistribution(t, registries.Options{}), startDebian(t, registries.Options{})
	image := must(repo(t, itself, testImage).Image(t.Context(), "v1", content.Sample("v1")))(t)
	must(repo(t, mirror, testImage).Image(t.Context(), "v1", content.Sample("v1")))(t)
	m := testMount(t, mounting{
		flags: []string{"--tag-ttl", "1ms"},
		setup: configured(t, "server = 'http://%s'\n[host.'http://%s']\n", itself.Host, mirror.Host),
	})
	at := func(path ...string) string {
		return filepath.Join(append([]string{m.Dir, "registry.example", testImage}, path...)...)
	}
	blob := func(n int) string { return at("blobs/sha256", image.Layers[n].Digest.Encoded()) }
	itself.Forget()
	mirror.Forget()
	m.lists(m.Dir, ".ocifs", "registry.example")

	m.holds(at("tags/v1/manifest.json"), image.Bytes)
	m.holds(blob(0), image.Layers[0].Bytes)
	if got := itself.Counts(); len(got) != 0 {
		t.Errorf("the registry itself was asked %v", got)
	}
	for _, r := range mirror.Requests() {
		if !strings.Contains(r.Path, "ns=registry.example") {
			t.Errorf("the mirror was asked %s, without the registry's name", r)
		}
	}

	mirror.Fault(registries.Fault{Path: "/blobs/", Corrupt: 3})
	m.holds(blob(1), image.Layers[1].Bytes)
	if got := itself.Counts(); got["GET blob"] != 1 {
		t.Errorf("what the mirror has wrong cost the registry %v, want a GET of the blob", got)
	}
	if err := mirror.Gone(); err != nil {
		t.Fatal(err)
	}
	m.holds(blob(2), image.Layers[2].Bytes)
	m.holds(at("tags/v1/digest"), []byte(image.Digest+"\n"))
	m.sh("cp -r %s %s", quote(at("tags/v1")), quote(at("upload/v2")))
	m.lists(at("tags"), "v1", "v2")
	state := m.sh(`jq -r '.hosts["registry.example"].servers[] | "\(.mirror) \(.url) \(.down // "answers")"' $M/.ocifs/stats.json`)
	if !strings.Contains(state, "true http://"+mirror.Host+"/v2 dial tcp") || !strings.Contains(state, "false http://"+itself.Host+"/v2 answers") {
		t.Errorf("stats.json tells of the servers:\n%s", state)
	}
}

// A registry whose certificate no system knows is trusted by what is in docker's
// certs.d, and is out of reach, with a way out, without that.
//
// Behaviour: mirror.certs
func TestCertificates(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	image := must(repo(t, s, testImage).Image(t.Context(), "v1", content.Sample("v1")))(t)
	front := httptest.NewUnstartedServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: s.Host})
	}})
	front.EnableHTTP2 = true
	front.StartTLS()
	t.Cleanup(front.Close)
	host := strings.TrimPrefix(front.URL, "https://")
	manifest := filepath.Join(strings.ReplaceAll(host, ":", "_"), testImage, "tags/v1/manifest.json")

	stranger := testMount(t, mounting{})
	stranger.probe("EHOSTUNREACH", "read", filepath.Join(stranger.Dir, manifest))
	if f := stranger.lastFailure("EHOSTUNREACH"); !strings.Contains(f.Cause, "certificate") || !strings.Contains(f.Hint, "ocifs doctor") {
		t.Errorf("%+v", f)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw})
	friend := testMount(t, mounting{setup: func(home string) {
		writeFile(t, filepath.Join(home, ".config/docker/certs.d", host, "ca.crt"), ca, 0o600)
	}})
	friend.holds(filepath.Join(friend.Dir, manifest), image.Bytes)
	friend.holds(filepath.Join(friend.Dir, strings.ReplaceAll(host, ":", "_"), testImage, "tags/v1/config.json"), image.Config.Bytes)
}

// A hosts.toml that is malformed is told with its line, and counts once it is mended.
//
// Behaviour: mirror.settings
func TestMalformedHostsTOML(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	image := must(repo(t, s, testImage).Image(t.Context(), "v1", content.Sample("v1")))(t)
	m := testMount(t, mounting{setup: configured(t, "server = 'http://%s'\n\ncapabilities = 'pull'\n", s.Host)})
	file := filepath.Join(m.Dir, "registry.example", testImage, "tags/v1/manifest.json")
	m.probe("EHOSTUNREACH", "read", file)
	if f := m.lastFailure("EHOSTUNREACH"); !strings.Contains(f.Cause, "registry.example/hosts.toml:3:") || !strings.Contains(f.Hint, "mend") {
		t.Errorf("%+v", f)
	}
	configured(t, "server = 'http://%s'\n", s.Host)(m.Home)
	m.sh("for i in 1 2 3 4 5 6 7 8 9 10; do cat %s >/dev/null && exit; sleep 1; done; exit 1", quote(file))
	m.holds(file, image.Bytes)
}
