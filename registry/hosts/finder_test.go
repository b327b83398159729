package hosts

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ocifs/ocifs/registry/ref"
)

// logTo has a Finder log into what it gives.
func logTo(f *Finder) *bytes.Buffer {
	var b bytes.Buffer
	f.log = slog.New(slog.NewTextHandler(&b, nil))
	return &b
}

// later has a Finder live a second on.
func later(f *Finder) {
	now := f.now().Add(lookAgain)
	f.now = func() time.Time { return now }
}

// A registry that nobody configured is asked where it is, for everything.
func TestNothingConfiguredIsTheRegistryItself(t *testing.T) {
	f, _ := finder(t, nil)
	for host, want := range map[string]string{
		"a.example":            "https://a.example/v2",
		"A.Example":            "https://a.example/v2",
		"localhost:5000":       "https://localhost:5000/v2",
		"[::1]:5000":           "https://[::1]:5000/v2",
		"docker.io":            "https://registry-1.docker.io/v2",
		"registry-1.docker.io": "https://registry-1.docker.io/v2",
		// With its port this is too long to be a directory's name, and no error all the same.
		strings.Repeat("a23456789.", 24) + "example:65535": "https://" + strings.Repeat("a23456789.", 24) + "example:65535/v2",
	} {
		r := record(t, f, host)
		s := r.Server
		if parsed, _ := ref.ParseHost(host); r.Host != parsed || len(r.Mirrors) != 0 || len(r.Files) != 0 {
			t.Errorf("%s: got %+v", host, r)
		}
		if s.Base.String() != want || s.Can != allCapabilities || s.HTTPFallback || s.Header != nil || s.TLS != nil || s.DialTimeout != 0 || s.From != "" {
			t.Errorf("%s: got %+v", host, s)
		}
	}
	for _, host := range []string{"", "a", "_default", "../a.example", "a.example/b", "."} {
		if r, err := f.Record(host); r != nil || !errors.Is(err, ref.ErrInvalid) {
			t.Errorf("%q: got %v, %v", host, r, err)
		}
	}
}

// Of the directories that are a host's the first counts, and _default where there is none.
func TestTheFirstDirectoryOfAHostCounts(t *testing.T) {
	says := func(name string) string { return "[host.'https://" + name + ".example']" }
	dir := t.TempDir()
	files{
		"one/a.example_5000_/hosts.toml": says("one-a-windows"), "one/a.example:5000/hosts.toml": says("one-a"),
		"one/b.example:5000/hosts.toml": says("one-b"), "two/b.example_5000_/hosts.toml": says("two-b"),
		"two/c.example/hosts.toml": says("two-c"), "two/_default/hosts.toml": says("two-default"),
		"one/d.example/README": "this host has no mirror", "two/e.example": "no directory",
		"one/index.docker.io/hosts.toml": says("one-hub"), "two/docker.io/hosts.toml": says("two-hub"),
		"two/[::1]_5000_/hosts.toml": says("two-six"),
	}.write(t, dir)
	f := New(Options{Containerd: []string{filepath.Join(dir, "one"), filepath.Join(dir, "none"), filepath.Join(dir, "two")}})
	for host, want := range map[string]string{
		"a.example:5000": "one-a-windows", "b.example:5000": "one-b", "c.example": "two-c", "d.example": "", "e.example": "two-default",
		"a.example": "two-default", "c.example:5000": "two-default", "docker.io": "one-hub", "[::1]:5000": "two-six", "[::1]": "two-default",
	} {
		r := record(t, f, host)
		got := ""
		for _, m := range r.Mirrors {
			got += strings.TrimSuffix(m.Base.Host, ".example")
			if m.Can != Pull|Resolve || !slices.Equal(r.Files, []string{m.From}) || r.Server.From != "" {
				t.Errorf("%s: got %+v", host, r)
			}
		}
		if got != want {
			t.Errorf("%s: the mirror is %q, want %q", host, got, want)
		}
	}
}

// A mirror gets pushes, and is asked for referrers first, only where somebody wrote so. A
// server that stands in for the registry gets all, unless somebody wrote what it gets: that
// takes a server (containerd, core/remotes/docker/config/hosts.go). An unknown capability costs
// itself alone.
//
// Behaviour: mirror.settings
func TestCapabilitiesThatNobodyNamed(t *testing.T) {
	f, dir := finder(t, files{"toml/_default/hosts.toml": `
server = "https://all.example"
[host."https://reads.example"]
[host."https://none.example"]
capabilities = []
[host."https://writes.example"]
capabilities = ["pull", "resolve", "push"]
[host."https://blobs.example".header]
X-A = ["b"]
[host."https://signed.example"]
capabilities = ["pull", "REFERRERS", "sign"]
[host."https://new.example"]
capabilities = ["sign"]
`, "toml/b.example/hosts.toml": "capabilities = ['pull']\nserver = 'b.example'", "toml/c.example/hosts.toml": "capabilities = ['pull']"})
	logged := logTo(f)
	r := record(t, f, "a.example")
	var got []string
	for _, e := range append(slices.Clone(r.Mirrors), r.Server, record(t, f, "b.example").Server, record(t, f, "c.example").Server) {
		got = append(got, e.Base.String()+" "+e.Can.String())
	}
	want := []string{"https://reads.example/v2 pull, resolve", "https://none.example/v2 pull, resolve", "https://writes.example/v2 pull, resolve, push",
		"https://blobs.example/v2 pull, resolve", "https://signed.example/v2 pull, referrers", "https://new.example/v2 ",
		"https://all.example/v2 pull, resolve, push, referrers", "https://b.example/v2 pull", "https://c.example/v2 pull, resolve, push, referrers"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, want := range []string{
		`capability \"sign\" isn't known`, "toml/_default/hosts.toml line=11", "toml/_default/hosts.toml line=13", "toml/c.example/hosts.toml line=1",
	} {
		if !strings.Contains(logged.String(), want) {
			t.Errorf("no warning says %s:\n%s", want, logged)
		}
	}
	if r.Server.From != filepath.Join(dir, "toml/_default/hosts.toml") || r.Mirrors[3].Header.Get("x-a") != "b" || r.Server.Header != nil {
		t.Errorf("got %+v", r)
	}
}

// As long as nothing changed it is the same Record; what changed is seen a second later at
// the latest, whichever file it is.
func TestAChangeIsNoticed(t *testing.T) {
	authority := newIssuer("servers")
	c, k := authority.issue(t, "jane")
	ca, cert, key := string(authority.pem), string(c), string(k)
	start := files{"toml/a.example/hosts.toml": "ca = 'ca.pem'\n[host.'https://m.example']", "toml/a.example/ca.pem": ca, "certs/a.example/ca.crt": ca}
	for name, change := range map[string]func(dir string) error{
		"an edit": func(dir string) error {
			return os.WriteFile(dir+"/toml/a.example/hosts.toml", []byte("# empty"), 0o644)
		},
		"an authority":      func(dir string) error { return os.WriteFile(dir+"/toml/a.example/ca.pem", []byte(ca+ca), 0o644) },
		"a time":            func(dir string) error { return os.Chtimes(dir+"/toml/a.example/ca.pem", time.Time{}, time.Unix(1, 0)) },
		"another file":      func(dir string) error { return replace(dir+"/toml/a.example/ca.pem", ca) },
		"a removed file":    func(dir string) error { return os.Remove(dir + "/certs/a.example/ca.crt") },
		"a new file":        func(dir string) error { return os.WriteFile(dir+"/certs/a.example/b.crt", []byte(ca), 0o644) },
		"a new directory":   func(dir string) error { return os.MkdirAll(dir+"/certs/m.example", 0o755) },
		"one that is first": func(dir string) error { return os.MkdirAll(dir+"/first/a.example", 0o755) },
		"a default first":   func(dir string) error { return os.MkdirAll(dir+"/first/_default", 0o755) },
		"a removed one":     func(dir string) error { return os.RemoveAll(dir + "/toml/a.example") },
		"a pair": func(dir string) error {
			if err := os.WriteFile(dir+"/certs/a.example/c.cert", []byte(cert), 0o644); err != nil {
				return err
			}
			return os.WriteFile(dir+"/certs/a.example/c.key", []byte(key), 0o644)
		},
	} {
		_, dir := finder(t, start)
		f := New(Options{Containerd: []string{dir + "/first", dir + "/toml"}, Certs: []string{dir + "/certs"}})
		at := time.Now()
		f.now = func() time.Time { return at }
		first := record(t, f, "a.example")
		later(f)
		files{"toml/a.example/.hosts.toml.swp": ""}.write(t, dir)
		if record(t, f, "A.example") != first {
			t.Errorf("%s: nothing changed, and it is another Record", name)
		}
		if err := change(dir); err != nil {
			t.Fatal(err)
		}
		if record(t, f, "a.example") != first {
			t.Errorf("%s: files were looked at again at once", name)
		}
		later(f)
		second := record(t, f, "a.example")
		if second == first {
			t.Errorf("%s: wasn't noticed", name)
		}
		later(f)
		if record(t, f, "a.example") != second {
			t.Errorf("%s: was noticed twice", name)
		}
	}
}

// replace puts another file of the same time in a file's place.
func replace(path, text string) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		return err
	}
	if err := os.Chtimes(path+".new", time.Time{}, st.ModTime()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// A broken edit is an error until it is mended, and never half of what was written.
func TestABrokenEditIsAnErrorUntilItIsMended(t *testing.T) {
	good, broken := "[host.'https://m.example']\n", "[host.'https://m.example']\n[host.'https://n.example'\n"
	f, dir := finder(t, files{"toml/a.example/hosts.toml": good})
	first := record(t, f, "a.example")
	files{"toml/a.example/hosts.toml": broken}.write(t, dir)
	for range 3 {
		later(f)
		var e *Error
		if r, err := f.Record("a.example"); r != nil || !errors.As(err, &e) || e.Line != 2 || e.File != filepath.Join(dir, "toml/a.example/hosts.toml") {
			t.Fatalf("got %v, %v", r, err)
		}
	}
	if r := record(t, f, "b.example"); len(r.Mirrors) != 0 {
		t.Errorf("another host has %v", r.Mirrors)
	}
	files{"toml/a.example/hosts.toml": good}.write(t, dir)
	later(f)
	if r := record(t, f, "a.example"); r == first || len(r.Mirrors) != 1 {
		t.Errorf("got %+v", r)
	}
}

// An error may be the system's and not the file's (no descriptor was left, say), so it is tried
// again although no file changed.
func TestAnErrorIsTriedAgain(t *testing.T) {
	f, _ := finder(t, nil)
	record(t, f, "a.example")
	h := f.hosts["a.example"]
	h.record, h.err = nil, errors.New("too many open files")
	if _, err := f.Record("a.example"); err != h.err {
		t.Errorf("at once: %v", err)
	}
	later(f)
	record(t, f, "a.example")
}

// Keys that mean nothing here are told once, with their line: other programs have some
// of their own. So are certificates for plain http.
func TestUnknownKeysAreToldOnce(t *testing.T) {
	f, dir := finder(t, files{"toml/_default/hosts.toml": "[host.'http://m.example:80']\nskip_verify = true\n[host.'http://m.example:80'.rewrite]\na = 'b'\n"})
	logged := logTo(f)
	for i := range 3 {
		for _, host := range []string{"a.example", "b.example"} {
			record(t, f, host)
		}
		files{"toml/_default/hosts.toml": "[host.'http://m.example:80']\nskip_verify = true\n[host.'http://m.example:80'.rewrite]\na = 'b'\n" + strings.Repeat("# again\n", i)}.write(t, dir)
		later(f)
	}
	file := "file=" + filepath.Join(dir, "toml/_default/hosts.toml")
	if got := logged.String(); strings.Count(got, `rewrite`) != 1 || !strings.Contains(got, file+" line=3") || strings.Count(got, "http://m.example:80") != 1 {
		t.Error(got)
	}
}

// A link to nowhere stands where a package that brings the authority isn't installed.
func TestALinkToNowhereIsNoAuthority(t *testing.T) {
	f, dir := finder(t, files{"certs/a.example/README": ""})
	logged := logTo(f)
	link := filepath.Join(dir, "certs/a.example/redhat-ca.crt")
	if err := os.Symlink("/nowhere/redhat-uep.pem", link); err != nil {
		t.Fatal(err)
	}
	if r := record(t, f, "a.example"); r.Server.TLS != nil || strings.Count(logged.String(), "file="+link+" ") != 1 {
		t.Errorf("got %+v\n%s", r, logged)
	}
}

// Whoever asks at the same time gets the same Record.
func TestManyAskAtOnce(t *testing.T) {
	f, _ := finder(t, files{"toml/a.example/hosts.toml": "[host.'https://m.example']", "toml/_default/hosts.toml": ""})
	got := make([]*Record, 32)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			r, err := f.Record([]string{"a.example", "b.example"}[i%2])
			if err != nil {
				t.Error(err)
			}
			got[i] = r
			f.Hosts()
		})
	}
	wg.Wait()
	for i, r := range got {
		if r != got[i%2] {
			t.Fatalf("%d has another Record", i)
		}
	}
}

// Records don't grow without bound, however many hosts somebody names.
func TestRecordsAreBounded(t *testing.T) {
	f := New(Options{})
	for i := range maxHosts + 10 {
		record(t, f, fmt.Sprintf("h%d.example", i))
	}
	if n := len(f.hosts); n > maxHosts {
		t.Errorf("%d are kept", n)
	}
}

// The hosts are those that have a directory with something in it that is read.
func TestHostsAreThoseThatSomebodyConfigured(t *testing.T) {
	f, dir := finder(t, files{
		"toml/a.example_5000_/hosts.toml": "", "toml/a.example:5000/hosts.toml": "", "toml/b.example/ca.crt": "", "toml/c.example/README": "", "toml/_default/hosts.toml": "",
		"toml/registry-1.docker.io/hosts.toml": "", "toml/D.example/hosts.toml": "", "toml/e.example": "", "toml/no host/hosts.toml": "", "toml/[::1]_5000_/hosts.toml": "",
		"certs/f.example:5000/c.cert": "", "certs/g.example:443/ca.crt": "", "certs/h.example_5000_/ca.crt": "", "certs/b.example/ca.crt": "", "certs/i.example/c.key": "",
		"elsewhere/hosts.toml": "",
	})
	if err := os.Symlink("../elsewhere", filepath.Join(dir, "toml/z.example")); err != nil {
		t.Fatal(err)
	}
	want := []string{"[::1]:5000", "a.example:5000", "b.example", "docker.io", "f.example:5000", "g.example:443", "z.example"}
	if got := f.Hosts(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := New(Options{}).Hosts(); len(got) != 0 {
		t.Errorf("nobody configured %q", got)
	}
}

// The usual files are those of containerd, podman and docker, the user's before the system's.
func TestTheUsualDirectoriesAreThoseOfOthers(t *testing.T) {
	t.Setenv("HOME", "/home/jane")
	t.Setenv("CONTAINERS_REGISTRIES_CONF", "")
	for config, dir := range map[string]string{"": "/home/jane/.config", "/conf": "/conf", "relative": "/home/jane/.config"} {
		t.Setenv("XDG_CONFIG_HOME", config)
		want := Options{
			Containerd: []string{dir + "/containerd/certs.d", "/etc/containerd/certs.d"},
			RegistriesConf: []RegistriesConf{
				{dir + "/containers/registries.conf", []string{dir + "/containers/registries.conf.d"}},
				{"/etc/containers/registries.conf", []string{"/etc/containers/registries.conf.d", dir + "/containers/registries.conf.d"}},
			},
			DaemonJSON: []string{dir + "/docker/daemon.json", "/home/jane/.docker/daemon.json", "/etc/docker/daemon.json"},
			Certs:      []string{dir + "/docker/certs.d", "/home/jane/.docker/certs.d", "/etc/docker/certs.d", "/home/jane/.config/containers/certs.d", "/etc/containers/certs.d"},
		}
		if got := Usual(); !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("CONTAINERS_REGISTRIES_CONF", "/x/mine.conf")
	want := []RegistriesConf{{"/x/mine.conf", []string{"/etc/containers/registries.conf.d", "/home/jane/.config/containers/registries.conf.d"}}}
	if got := Usual(); !reflect.DeepEqual(got.RegistriesConf, want) {
		t.Errorf("podman's variable: %+v, want %+v", got.RegistriesConf, want)
	}
	t.Setenv("HOME", "")
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("CONTAINERS_REGISTRIES_CONF", "")
	if got := Usual(); !slices.Equal(got.Containerd, []string{"/etc/containerd/certs.d"}) || len(got.RegistriesConf) != 1 || len(got.DaemonJSON) != 1 || len(got.Certs) != 2 {
		t.Errorf("without a home: %+v", got)
	}
}
