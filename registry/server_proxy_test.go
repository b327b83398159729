package registry

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// proxied says to a process of these tests that it is the one that has a proxy in its
// environment, which a process looks at once.
const proxied = "OCIFS_TEST_PROXIED"

// Proxies come from the environment, for http and for https, and NO_PROXY counts.
//
// Behaviour: transport.settings
func TestProxiesComeFromTheEnvironment(t *testing.T) {
	if host := os.Getenv(proxied); host != "" {
		o := Options{Retries: -1}
		if plain, ok := strings.CutPrefix(host, "plain:"); ok {
			host, o.PlainHTTP = plain, []string{plain}
		}
		c := New(o)
		defer c.Close()
		if _, err := c.Manifest(context.Background(), ref.Repository{Host: host, Path: "a/b"}, "v1"); err != nil {
			t.Fatal(err)
		}
		return
	}
	s := registrytest.Start(t, registrytest.Options{TLS: true})
	plain := registrytest.Start(t, registrytest.Options{})
	for _, s := range []*registrytest.Server{s, plain} {
		s.Image("a/b", "v1", []byte(layer))
	}
	p := &proxy{to: s.Host, plain: plain.URL}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	t.Cleanup(p.tunnels.Wait)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, s.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	// No proxy is asked for a loopback host, so it is another name, which the certificate
	// has too.
	for name, c := range map[string]struct {
		host  string
		env   []string
		asked string // of the proxy
		fails bool
	}{
		"https":                {"registry.example", []string{"HTTPS_PROXY=" + server.URL}, "CONNECT registry.example:443", false},
		"https, lower case":    {"registry.example:5000", []string{"https_proxy=" + server.URL}, "CONNECT registry.example:5000", false},
		"http":                 {"plain:registry.example", []string{"HTTP_PROXY=" + server.URL}, "GET registry.example", false},
		"http, where https is": {"plain:registry.example", []string{"HTTPS_PROXY=" + server.URL}, "", true},
		"not for this one":     {"registry.example", []string{"HTTPS_PROXY=" + server.URL, "NO_PROXY=registry.example"}, "", true},
		"loopback":             {s.Host, []string{"HTTPS_PROXY=" + server.URL}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			p.forget()
			cmd := exec.Command(os.Args[0], "-test.run=^TestProxiesComeFromTheEnvironment$")
			cmd.Env = append([]string{proxied + "=" + c.host, "SSL_CERT_FILE=" + ca}, c.env...)
			out, err := cmd.CombinedOutput()
			if (err != nil) != c.fails {
				t.Errorf("%v: %s", err, out)
			}
			if got := p.last(); got != c.asked {
				t.Errorf("the proxy was asked %q, want %q: %s", got, c.asked, out)
			}
		})
	}
}

// proxy is a proxy that leads everyone to the same server.
type proxy struct {
	to, plain string
	tunnels   sync.WaitGroup

	mu    sync.Mutex
	asked string
}

func (p *proxy) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = ""
}

func (p *proxy) last() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	p.mu.Lock()
	p.asked = req.Method + " " + req.Host
	p.mu.Unlock()
	if req.Method != http.MethodConnect {
		resp, err := http.Get(p.plain + req.URL.RequestURI())
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer http.DefaultClient.CloseIdleConnections()
		defer resp.Body.Close()
		for name, v := range resp.Header {
			w.Header()[name] = v
		}
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
		return
	}
	to, err := net.Dial("tcp", p.to)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		to.Close()
		return
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
	through := func(dst net.Conn, src io.Reader) {
		_, _ = io.Copy(dst, src)
		dst.Close()
	}
	p.tunnels.Go(func() { through(to, bufio.NewReader(rw)) })
	p.tunnels.Go(func() { through(conn, to) })
}
