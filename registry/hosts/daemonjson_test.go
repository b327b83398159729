package hosts

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A daemon.json means here what it means to docker. What is odd in it is left out with a
// warning, and the rest counts.
//
// Behaviour: mirror.docker
func TestDaemonJSONIsUnderstood(t *testing.T) {
	f, dir := conf(t, files{
		"system/daemon.json": "\xef\xbb\xbf" + `{
	"log-driver": "journald",
	"insecure-registries": ["plain.example:5000", "Both.Example", "http://scheme.example/", "10.0.0.0/8", "fd00::/8", "127.0.0.0/8", 5, "no host/x", null],
	"registry-mirrors": ["https://one.example/", "http://10.1.2.3:5000", "two.example", "https://u:SECRET@three.example", {"a": 1}, "https://both.example/cache"]
}`,
		"toml/toml.example/hosts.toml":  "server = 'https://plain.example:5000'",
		"toml/cache.example/hosts.toml": "[host.'https://m.example']",
		"system/registries.conf":        "[[registry]]\nprefix = 'podman.example'\nlocation = 'both.example'\n",
		"toml/10.9.9.9_80_/hosts.toml":  "[host.'https://m.example']",
	})
	logged := logTo(f)
	const insecure = all + " unverified or http"
	for host, want := range map[string][]string{
		"docker.io": {"https://one.example/v2 pull, resolve", "http://10.1.2.3:5000/v2 pull, resolve", "https://both.example/cache/v2 pull, resolve unverified",
			"https://registry-1.docker.io/v2" + all},
		"plain.example:5000": {"https://plain.example:5000/v2" + insecure},
		"plain.example":      {"https://plain.example/v2" + all},
		"both.example":       {"https://both.example/v2" + insecure},
		"both.example:5000":  {"https://both.example:5000/v2" + all},
		"scheme.example":     {"https://scheme.example/v2" + insecure},
		"10.2.3.4:5000":      {"https://10.2.3.4:5000/v2" + insecure},
		"[fd00::1]:5000":     {"https://[fd00::1]:5000/v2" + insecure},
		"11.2.3.4:5000":      {"https://11.2.3.4:5000/v2" + all},
		// A file that is about the server says how it is asked.
		"toml.example":   {"https://plain.example:5000/v2" + all},
		"podman.example": {"https://both.example/v2" + all},
		// One that is about mirrors alone doesn't.
		"10.9.9.9:80": {"https://m.example/v2 pull, resolve", "https://10.9.9.9:80/v2" + insecure},
	} {
		r := record(t, f, host)
		if got := lines(r); !slices.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", host, got, want)
		}
		counts := slices.Contains(r.Files, filepath.Join(dir, "system/daemon.json"))
		if said := host == "docker.io" || r.Server.HTTPFallback; counts != said {
			t.Errorf("%s: the files are %q", host, r.Files)
		}
	}
	for _, want := range []string{
		"entry 7 of insecure-registries", "neither HOST[:PORT] nor a network", "entry 9 of insecure-registries",
		"needs http:// or https://", "must have no user", "entry 5 of registry-mirrors", "file=" + filepath.Join(dir, "system/daemon.json"),
	} {
		if !strings.Contains(logged.String(), want) {
			t.Errorf("no warning says %s:\n%s", want, logged)
		}
	}
	if strings.Contains(logged.String(), "SECRET") {
		t.Errorf("a warning tells a password:\n%s", logged)
	}
	want := []string{"10.9.9.9:80", "both.example", "cache.example", "docker.io", "plain.example:5000", "podman.example", "scheme.example", "toml.example"}
	if got := f.Hosts(); !slices.Equal(got, want) {
		t.Errorf("the registries are %q, want %q", got, want)
	}
}

// A daemon.json that can't be read as one is docker's trouble: a warning, and no error.
func TestAMalformedDaemonJSONIsLeftOut(t *testing.T) {
	for _, text := range []string{"{", "[]", `{"registry-mirrors": "https://m.example"}`, `{"registry-mirrors": ["https://m.example"],}`} {
		f, dir := conf(t, files{"user/daemon.json": text})
		logged := logTo(f)
		if r := record(t, f, "docker.io"); len(r.Mirrors) != 0 || len(r.Files) != 0 {
			t.Errorf("%s: got %q by %q", text, lines(r), r.Files)
		}
		if !strings.Contains(logged.String(), "file="+filepath.Join(dir, "user/daemon.json")) {
			t.Errorf("%s: the warnings are\n%s", text, logged)
		}
	}
}

func FuzzParseDaemonJSON(f *testing.F) {
	f.Add(`{"insecure-registries": ["a.example:5000", "10.0.0.0/8", "::/0"], "registry-mirrors": ["https://m.example/x"]}`)
	f.Add("\xef\xbb\xbf{\"registry-mirrors\": [5, null, \"http://m.example\"]}")
	f.Fuzz(func(t *testing.T, text string) {
		d := parseDaemonJSON("daemon.json", []byte(text))
		for _, s := range d.mirrors {
			if u := s.base; u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || d.names(u) && len(d.insecure)+len(d.networks) == 0 {
				t.Errorf("%q is a mirror", u)
			}
		}
		for _, w := range d.warnings {
			if w.File != "daemon.json" || w.Err == nil {
				t.Errorf("got %v", w)
			}
		}
	})
}
