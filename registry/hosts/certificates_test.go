package hosts

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// issuer is a certificate authority.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// newIssuer makes an authority. It panics, as it is needed before there is a test.
func newIssuer(name string) *issuer {
	i := &issuer{}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	var der []byte
	der, i.key = signed(template, nil, nil)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	i.cert, i.pem = cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return i
}

// signed makes a certificate of template with a key of its own; without an issuer it
// vouches for itself.
func signed(template, parent *x509.Certificate, by *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	if parent == nil {
		parent, by = template, key
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		panic(err)
	}
	return der, key
}

// issue makes a certificate for 127.0.0.1 and a client called name, and its key.
func (i *issuer) issue(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	der, k := signed(&x509.Certificate{Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}, i.cert, i.key)
	b, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: b})
}

// serve starts a server with a certificate of i, and gives its host and port. Where
// clients is an issuer, only who shows a certificate of that one is let in. It answers
// with the name of the client.
func (i *issuer) serve(t *testing.T, clients *issuer) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, c := range r.TLS.PeerCertificates {
			_, _ = io.WriteString(w, c.Subject.CommonName)
		}
	}))
	cert, err := tls.X509KeyPair(i.issue(t, "server"))
	if err != nil {
		t.Fatal(err)
	}
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	if clients != nil {
		s.TLS.ClientAuth, s.TLS.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		s.TLS.ClientCAs.AddCert(clients.cert)
	}
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0) // handshakes that fail are wanted
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// get asks an endpoint for its base, and gives what it answers.
func get(t *testing.T, e Endpoint) (string, error) {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: e.TLS.Clone()}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.Base.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

// files are written below a directory, by their paths in it.
type files map[string]string

// write writes files below dir.
func (f files) write(t *testing.T, dir string) {
	t.Helper()
	for name, text := range f {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// finder writes files and makes a Finder that looks below toml and certs for them.
func finder(t *testing.T, f files) (*Finder, string) {
	t.Helper()
	dir := t.TempDir()
	f.write(t, dir)
	return New(Options{Containerd: []string{filepath.Join(dir, "toml")}, Certs: []string{filepath.Join(dir, "certs")}}), dir
}

// record gives the Record of a host that must have one.
func record(t *testing.T, f *Finder, host string) *Record {
	t.Helper()
	r, err := f.Record(host)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What a hosts.toml says of one server counts when that one is asked, and for no other: by
// a real handshake with a server whose authority nobody knows, and which lets nobody in
// without a certificate.
//
// Behaviour: mirror.settings
func TestSettingsOpenTheirOwnServer(t *testing.T) {
	authority, clients := newIssuer("servers"), newIssuer("clients")
	host := authority.serve(t, clients)
	cert, key := clients.issue(t, "jane")
	for _, c := range []struct {
		name, settings string
		opens          bool
	}{
		{"everything", "ca = 'ca.pem'\nclient = [['jane.cert', 'jane.key']]", true},
		{"lists", "ca = ['other.pem', 'ca.pem']\nclient = ['both.pem']", true},
		{"one file", "ca = 'ca.pem'\nclient = 'both.pem'", true},
		{"a pair without a second", "ca = 'ca.pem'\nclient = [['both.pem', '']]", true},
		{"unverified", "skip_verify = true\nclient = 'both.pem'", true},
		{"absolute paths", "ca = 'DIR/ca.pem'\nclient = [['DIR/jane.cert', 'DIR/jane.key']]", true},
		{"no authority", "client = 'both.pem'", false},
		{"another authority", "ca = 'other.pem'\nclient = 'both.pem'", false},
		{"no certificate", "ca = 'ca.pem'", false},
		{"nothing", "", false},
	} {
		f := files{"ca.pem": string(authority.pem), "other.pem": string(newIssuer("others").pem), "jane.cert": string(cert), "jane.key": string(key), "both.pem": string(key) + string(cert)}
		dir := t.TempDir()
		settings := strings.ReplaceAll(c.settings, "DIR", filepath.Join(dir, "a.example"))
		f["hosts.toml"] = "server = 'https://" + host + "'\n" + settings + "\n[host.'https://" + host + "/mirror']\n" + settings + "\n[host.'https://" + host + "/bare']\n"
		f.write(t, filepath.Join(dir, "a.example"))
		r := record(t, New(Options{Containerd: []string{dir}}), "a.example")
		for i, e := range append(slices.Clone(r.Mirrors), r.Server) {
			want := c.opens && i != 1
			if who, err := get(t, e); (err == nil) != want || want && who != "jane" {
				t.Errorf("%s: %s answers %q, %v; want an answer: %v", c.name, e.Base, who, err, want)
			}
		}
		if r.Mirrors[1].TLS != nil {
			t.Errorf("%s: a server with no settings of its own has some", c.name)
		}
	}
}

// Certificates in docker's directories count for the server whose host and port they are
// called by, beside what a hosts.toml names, and for whichever registry it speaks.
//
// Behaviour: mirror.certs
func TestCertificatesAreFoundByHostAndPort(t *testing.T) {
	authority, clients := newIssuer("servers"), newIssuer("clients")
	host := authority.serve(t, clients)
	cert, key := clients.issue(t, "jane")
	dirs := func(host string) files {
		return files{"certs/" + host + "/ca.crt": string(authority.pem), "certs/" + host + "/jane.cert": string(cert), "certs/" + host + "/jane.key": string(key),
			"certs/" + host + "/README": "no certificate"}
	}
	for _, c := range []struct {
		name, toml string
		certs      files
		opens      bool
	}{
		{"by docker's", "", dirs(host), true},
		{"by docker's and containerd's", "ca = 'ca.pem'\n", files{"certs/" + host + "/jane.cert": string(cert), "certs/" + host + "/jane.key": string(key)}, true},
		{"by containerd's", "ca = 'ca.pem'\nclient = 'jane.pem'\n", nil, true},
		{"of another port", "", dirs("127.0.0.1:1"), false},
		{"of no port", "", dirs("127.0.0.1"), false},
		{"none", "", nil, false},
	} {
		f := files{"toml/127.0.0.1:1/hosts.toml": "[host.'https://" + host + "']\n" + c.toml, "toml/127.0.0.1:1/ca.pem": string(authority.pem), "toml/127.0.0.1:1/jane.pem": string(cert) + string(key)}
		if c.toml != "" {
			f["toml/"+host+"/hosts.toml"], f["toml/"+host+"/ca.pem"], f["toml/"+host+"/jane.pem"] = c.toml, string(authority.pem), string(cert)+string(key)
		}
		for name, text := range c.certs {
			f[name] = text
		}
		finder, dir := finder(t, f)
		server, mirror := record(t, finder, host).Server, record(t, finder, "127.0.0.1:1").Mirrors[0]
		for _, e := range []Endpoint{server, mirror} {
			if who, err := get(t, e); (err == nil) != c.opens || c.opens && who != "jane" {
				t.Errorf("%s: %v answers %q, %v; want an answer: %v", c.name, e, who, err, c.opens)
			}
		}
		from := ""
		switch {
		case c.toml != "":
			from = filepath.Join(dir, "toml", host, "hosts.toml")
		case c.opens:
			from = filepath.Join(dir, "certs", host, "ca.crt")
		}
		if server.From != from {
			t.Errorf("%s: is from %q, want %q", c.name, server.From, from)
		}
	}
}

// Without a hosts.toml, or with an empty one, a host's directory may hold certificates as
// docker's do. Beside a hosts.toml that says something they are files like any other.
//
// Behaviour: mirror.certs
func TestAHostsDirectoryMayHoldCertificatesInstead(t *testing.T) {
	authority := newIssuer("servers")
	cert, key := authority.issue(t, "jane")
	host := authority.serve(t, nil)
	ca := string(authority.pem)
	dir := "toml/" + strings.Replace(host, ":", "_", 1) + "_/"
	for name, c := range map[string]struct {
		files files
		opens bool
	}{
		"certificates":        {files{dir + "ca.crt": ca}, true},
		"an empty hosts.toml": {files{dir + "ca.crt": ca, dir + "hosts.toml": "\n"}, true},
		"a hosts.toml":        {files{dir + "ca.crt": ca, dir + "hosts.toml": "capabilities = ['pull']"}, false},
		"a pair in one file":  {files{dir + "ca.crt": ca, dir + "jane.cert": string(cert) + string(key)}, true},
		"by default":          {files{"toml/_default/ca.crt": ca}, true},
		"not the default's":   {files{"toml/_default/ca.crt": ca, dir + "README": ""}, false},
	} {
		f, _ := finder(t, c.files)
		server := record(t, f, host).Server
		if _, err := get(t, server); (err == nil) != c.opens {
			t.Errorf("%s: %v; want an answer: %v", name, err, c.opens)
		}
		if pair := server.TLS != nil && len(server.TLS.Certificates) == 1; pair != (name == "a pair in one file") {
			t.Errorf("%s: the client certificates are %v", name, server.TLS)
		}
	}
}

// https has port 443, so a directory may name it or not; Docker Hub has three names.
func TestDirectoriesThatMeanTheSameServer(t *testing.T) {
	for host, want := range map[string][]string{
		"a.example":            {"a.example", "a.example:443"},
		"a.example:443":        {"a.example:443", "a.example"},
		"a.example:5000":       {"a.example:5000"},
		"[::1]:5000":           {"[::1]:5000"},
		"[::1]":                {"[::1]", "[::1]:443"},
		"docker.io":            {"docker.io", "docker.io:443", "registry-1.docker.io", "registry-1.docker.io:443", "index.docker.io", "index.docker.io:443"},
		"registry-1.docker.io": {"docker.io", "docker.io:443", "registry-1.docker.io", "registry-1.docker.io:443", "index.docker.io", "index.docker.io:443"},
	} {
		if got := certNames(host); !slices.Equal(got, want) {
			t.Errorf("%s: docker's %q, want %q", host, got, want)
		}
	}
	for host, want := range map[string][]string{
		"a.example":      {"a.example"},
		"a.example:5000": {"a.example_5000_", "a.example:5000"},
		"[::1]:5000":     {"[::1]_5000_", "[::1]:5000"},
		"[::1]":          {"[::1]"},
		"docker.io":      {"docker.io", "registry-1.docker.io", "index.docker.io"},
	} {
		if got := tomlNames(host); !slices.Equal(got, want) {
			t.Errorf("%s: containerd's %q, want %q", host, got, want)
		}
	}
}

// What a file names must be there and be what it is named for. The error says which
// file names it, on which line, and the record isn't made of the rest.
func TestCertificatesThatAreWrongAreErrors(t *testing.T) {
	authority := newIssuer("servers")
	ca := string(authority.pem)
	c, k := authority.issue(t, "jane")
	_, o := authority.issue(t, "joe")
	cert, key, other := string(c), string(k), string(o)
	for _, c := range []struct {
		name  string
		files files
		want  []string
	}{
		{"a missing authority", files{"toml/a.example/hosts.toml": "\nca = 'none.pem'\n"}, []string{"toml/a.example/hosts.toml:2: ca: ", "toml/a.example/none.pem", "no such file"}},
		{"an authority that is a directory", files{"toml/a.example/hosts.toml": "ca = '.'\n"}, []string{"hosts.toml:1: ca: ", "this is no file"}},
		{"an authority without a certificate", files{"toml/a.example/hosts.toml": "[host.'m.example']\nca = ['ca.pem', 'key.pem']", "toml/a.example/ca.pem": ca, "toml/a.example/key.pem": key},
			[]string{"hosts.toml:2: ca: ", "key.pem: it holds no certificate"}},
		{"a missing certificate", files{"toml/a.example/hosts.toml": "client = 'none.pem'"}, []string{"hosts.toml:1: client: ", "none.pem: no such file"}},
		{"a missing key", files{"toml/a.example/hosts.toml": "client = [['c.pem', 'none.key']]", "toml/a.example/c.pem": cert}, []string{"hosts.toml:1: client: ", "none.key: no such file"}},
		{"a certificate and a key that are no pair", files{"toml/a.example/hosts.toml": "client = [['c.pem', 'k.pem']]", "toml/a.example/c.pem": cert, "toml/a.example/k.pem": other},
			[]string{"hosts.toml:1: client: ", "c.pem with the key ", "k.pem", "does not match"}},
		{"a certificate without its key, and a key", files{"toml/a.example/hosts.toml": "client = ['c.pem', 'k.pem']", "toml/a.example/c.pem": cert, "toml/a.example/k.pem": key},
			[]string{"hosts.toml:1: client: ", "c.pem for its own key", `[["CERTIFICATE", "KEY"]]`}},
		{"docker's authority without a certificate", files{"certs/a.example/ca.crt": "\x30\x82"}, []string{"certs/a.example/ca.crt: it holds no certificate in PEM form"}},
		{"docker's certificate without a key", files{"certs/a.example/c.cert": cert, "certs/a.example/ca.crt": ca}, []string{"certs/a.example/c.cert: ", "certs/a.example/c.key is missing"}},
		{"docker's key without a certificate", files{"certs/a.example:443/c.key": key}, []string{"certs/a.example:443/c.key: ", "certs/a.example:443/c.cert is missing"}},
		{"docker's pair that is none", files{"certs/a.example/c.cert": cert, "certs/a.example/c.key": other}, []string{"c.cert with the key ", "c.key", "does not match"}},
		{"a mirror's", files{"toml/a.example/hosts.toml": "[host.'m.example']", "certs/m.example/c.cert": cert}, []string{"certs/m.example/c.cert: ", "c.key is missing"}},
		{"containerd's directory", files{"toml/_default/c.cert": cert}, []string{"toml/_default/c.cert: ", "c.key is missing"}},
	} {
		f, _ := finder(t, c.files)
		r, err := f.Record("a.example")
		if e := (*Error)(nil); r != nil || !errors.As(err, &e) {
			t.Errorf("%s: got %v, %v", c.name, r, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q doesn't say %q", c.name, err, want)
			}
		}
		if strings.Count(err.Error(), "none.pem") > 1 {
			t.Errorf("%s: %q says it twice", c.name, err)
		}
	}
}

// Nobody speaks TLS to an address of http, so nothing is read for it.
func TestAnAddressOfHTTPNeedsNoCertificates(t *testing.T) {
	f, _ := finder(t, files{"toml/a.example/hosts.toml": "[host.'http://m.example']", "certs/m.example/ca.crt": "none"})
	if r := record(t, f, "a.example"); r.Mirrors[0].TLS != nil || len(r.Files) != 1 {
		t.Errorf("got %+v", r)
	}
}
