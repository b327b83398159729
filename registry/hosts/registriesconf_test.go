package hosts

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// conf makes a Finder of a user's and a system's registries.conf, and of a daemon.json.
func conf(t *testing.T, f files) (*Finder, string) {
	t.Helper()
	dir := t.TempDir()
	f.write(t, dir)
	user, system := filepath.Join(dir, "user/registries.conf"), filepath.Join(dir, "system/registries.conf")
	return New(Options{
		Containerd:     []string{filepath.Join(dir, "toml")},
		RegistriesConf: []RegistriesConf{{user, []string{user + ".d"}}, {system, []string{system + ".d", user + ".d"}}},
		DaemonJSON:     []string{filepath.Join(dir, "user/daemon.json"), filepath.Join(dir, "system/daemon.json")},
	}), dir
}

// line writes an endpoint in a line.
func line(e Endpoint) string {
	s := e.Base.String() + " " + e.Can.String()
	if e.TLS != nil && e.TLS.InsecureSkipVerify {
		s += " unverified"
	}
	if e.HTTPFallback {
		s += " or http"
	}
	return s
}

// lines writes what a Record has, mirrors first.
func lines(r *Record) (all []string) {
	for _, m := range r.Mirrors {
		all = append(all, line(m))
	}
	return append(all, line(r.Server))
}

const all = " pull, resolve, push, referrers"

// A registries.conf means here what it means to podman.
//
// Behaviour: mirror.podman
func TestRegistriesConfIsUnderstood(t *testing.T) {
	f, dir := conf(t, files{"system/registries.conf": `
unqualified-search-registries = ["docker.io"]
short-name-mode = "enforcing"

[[registry]]
prefix = "docker.io"
location = "registry-1.docker.io"
  [[registry.mirror]]
  location = "mirror.gcr.io"
  [[registry.mirror]]
  location = "harbor.example:8443/proxy/hub/"
  insecure = true
  pull-from-mirror = "digest-only"
  [[registry.mirror]]
  location = "tags.example"
  pull-from-mirror = "tag-only"

[[registry]]
location = "reg.example:58131"
insecure = true

[[registry]]
prefix = "public.example"
location = "inside.example/public"
mirror-by-digest-only = true
  [[registry.mirror]]
  location = "docker.io"

[[registry]]
prefix = "*.wild.example"
insecure = true

[[registry]]
prefix = "*.deep.wild.example"
location = "one.example/all"

[[registry]]
prefix = "known.wild.example"
location = "known.wild.example"

[[registry]]
location = "inline.example"
mirror = [{location = "a.example"}, {location = "b.example", pull-from-mirror = "all"}]

[[registry]]
location = "reg.example:58131"
`, "system/registries.conf.d/50-more.conf": "[[registry]]\nlocation = 'drop.example'\n[[registry.mirror]]\nlocation = 'system.example'\n",
		"system/registries.conf.d/README":     "[[[",
		"user/registries.conf.d/10-mine.conf": "[[registry]]\nprefix = 'drop.example'\nlocation = 'drop.example'\n[[registry.mirror]]\nlocation = 'mine.example'\n",
	})
	for host, want := range map[string][]string{
		"docker.io": {"https://mirror.gcr.io/v2 pull, resolve", "https://harbor.example:8443/v2/proxy/hub pull unverified or http", "https://tags.example/v2 pull, resolve",
			"https://registry-1.docker.io/v2" + all},
		"reg.example:58131":       {"https://reg.example:58131/v2" + all + " unverified or http"},
		"reg.example":             {"https://reg.example/v2" + all},
		"public.example":          {"https://registry-1.docker.io/v2 pull", "https://inside.example/v2/public" + all},
		"a.wild.example":          {"https://a.wild.example/v2" + all + " unverified or http"},
		"a.b.wild.example:5000":   {"https://a.b.wild.example:5000/v2" + all + " unverified or http"},
		"wild.example":            {"https://wild.example/v2" + all},
		"a.deep.wild.example":     {"https://one.example/v2/all" + all},
		"known.wild.example":      {"https://known.wild.example/v2" + all},
		"known.wild.example:5000": {"https://known.wild.example:5000/v2" + all + " unverified or http"},
		"notwild.example":         {"https://notwild.example/v2" + all},
		"inline.example":          {"https://a.example/v2 pull, resolve", "https://b.example/v2 pull, resolve", "https://inline.example/v2" + all},
		"drop.example":            {"https://mine.example/v2 pull, resolve", "https://drop.example/v2" + all},
	} {
		r := record(t, f, host)
		if got := lines(r); !slices.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", host, got, want)
		}
		file := map[string][]string{"drop.example": {filepath.Join(dir, "user/registries.conf.d/10-mine.conf")}, "reg.example": nil, "wild.example": nil, "notwild.example": nil}
		want, special := file[host]
		if !special {
			want = []string{filepath.Join(dir, "system/registries.conf")}
		}
		if from := strings.Join(want, ""); !slices.Equal(r.Files, want) || r.Server.From != from {
			t.Errorf("%s: the files are %q, and the server from %q; want %q", host, r.Files, r.Server.From, want)
		}
	}
	want := []string{"docker.io", "drop.example", "inline.example", "known.wild.example", "public.example", "reg.example:58131"}
	if got := f.Hosts(); !slices.Equal(got, want) {
		t.Errorf("the registries are %q, want %q", got, want)
	}
}

// The user's registries.conf stands in for the system's, and for its drop-in files.
func TestTheUsersRegistriesConfStandsInForTheSystems(t *testing.T) {
	mirror := func(name string) string {
		return "[[registry]]\nlocation = 'a.example'\n[[registry.mirror]]\nlocation = '" + name + ".example'\n"
	}
	for _, c := range []struct {
		name  string
		files files
		want  string
	}{
		{"nothing", nil, ""},
		{"the system's", files{"system/registries.conf": mirror("system")}, "system.example"},
		{"its drop-in file", files{"system/registries.conf": mirror("system"), "system/registries.conf.d/a.conf": mirror("drop")}, "drop.example"},
		{"the last drop-in file", files{"system/registries.conf.d/b.conf": mirror("b"), "system/registries.conf.d/a.conf": mirror("a")}, "b.example"},
		{"the user's drop-in file", files{"system/registries.conf.d/b.conf": mirror("b"), "user/registries.conf.d/a.conf": mirror("user")}, "user.example"},
		{"the user's", files{"user/registries.conf": mirror("user"), "system/registries.conf": mirror("system"), "system/registries.conf.d/b.conf": mirror("b")}, "user.example"},
		{"an empty one of the user's", files{"user/registries.conf": "", "system/registries.conf": mirror("system")}, ""},
	} {
		f, _ := conf(t, c.files)
		got := ""
		for _, m := range record(t, f, "a.example").Mirrors {
			got += m.Base.Host
		}
		if got != c.want {
			t.Errorf("%s: the mirror is %q, want %q", c.name, got, c.want)
		}
	}
}

// hosts.toml comes before registries.conf, and that before daemon.json. A directory with no
// hosts.toml leaves the rest to them.
func TestTheOrderOfTheFiles(t *testing.T) {
	toml := "[host.'https://toml.example']\n"
	podman := "[[registry]]\nlocation = 'docker.io'\n[[registry.mirror]]\nlocation = 'podman.example'\n"
	docker := `{"registry-mirrors": ["https://docker.example"]}`
	for _, c := range []struct {
		name  string
		files files
		want  string
	}{
		{"all", files{"toml/docker.io/hosts.toml": toml, "system/registries.conf": podman, "system/daemon.json": docker}, "toml.example"},
		{"a default", files{"toml/_default/hosts.toml": toml, "system/registries.conf": podman, "system/daemon.json": docker}, "toml.example"},
		{"a hosts.toml that names no mirror", files{"toml/docker.io/hosts.toml": "# none", "system/registries.conf": podman}, ""},
		{"a directory alone", files{"toml/docker.io/README": "", "toml/_default/hosts.toml": toml, "system/registries.conf": podman}, "podman.example"},
		{"podman's and docker's", files{"system/registries.conf": podman, "system/daemon.json": docker}, "podman.example"},
		{"docker's", files{"system/registries.conf": "", "system/daemon.json": docker}, "docker.example"},
		{"docker's own user's", files{"user/daemon.json": "{}", "system/daemon.json": docker}, ""},
	} {
		f, _ := conf(t, c.files)
		got := ""
		for _, m := range record(t, f, "docker.io").Mirrors {
			got += m.Base.Host
		}
		if got != c.want {
			t.Errorf("%s: the mirror is %q, want %q", c.name, got, c.want)
		}
	}
}

// A registry that podman blocks is asked for nothing, and the error names the file.
//
// Behaviour: mirror.podman
func TestARegistryThatIsBlockedHasNoRecord(t *testing.T) {
	f, dir := conf(t, files{"system/registries.conf": "[[registry]]\nlocation = 'ok.example'\n\n[[registry]]\nprefix = '*.bad.example'\nblocked = true\n"})
	file := filepath.Join(dir, "system/registries.conf")
	r, err := f.Record("very.bad.example")
	var e *Error
	if r != nil || !errors.Is(err, ErrBlocked) || !errors.As(err, &e) || e.File != file || e.Line != 4 || !strings.Contains(err.Error(), "blocked = true") {
		t.Errorf("got %v, %v", r, err)
	}
	if r := record(t, f, "ok.example"); !slices.Equal(r.Files, []string{file}) {
		t.Errorf("got %+v", r)
	}
}

// What is wrong with an entry is an error of the registries that it is about, with its line.
// Others have their Record.
func TestWhatIsWrongInARegistriesConfIsSaidWithItsLine(t *testing.T) {
	good := "[[registry]]\nlocation = 'b.example'\n[[registry.mirror]]\nlocation = 'm.example'\n"
	for _, c := range []struct {
		text string
		line int
		want string
	}{
		{"[[registry]]\nprefix = 'a.example'\nlocation = 'http://b.example'\n", 5, "a location has no scheme"},
		{"[[registry]]\nprefix = 'a.example'\nlocation = 'b c.example'\n", 5, "location: "},
		{"[[registry]]\nprefix = 'a.example'\nlocation = 'u:SECRET@b.example'\n", 5, "must have no user"},
		{"[[registry]]\nlocation = 'a.example'\ninsecure = 'yes'\n", 5, "insecure must be true or false"},
		{"[[registry]]\nlocation = 'a.example'\nblocked = 1\n", 5, "blocked must be true or false"},
		{"[[registry]]\nlocation = 'a.example'\npull-from-mirror = 'all'\n", 5, "belongs into a [[registry.mirror]]"},
		{"[[registry]]\nlocation = 'a.example'\n\n[[registry.mirror]]\ninsecure = true\n", 8, "a mirror needs a location"},
		{"[[registry]]\nlocation = 'a.example'\n\n[[registry.mirror]]\nlocation = 'm.example'\npull-from-mirror = 'some'\n", 8, `and not "some"`},
		{"[[registry]]\nlocation = 'a.example'\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = 'm.example'\npull-from-mirror = 'all'\n", 8, "can't have pull-from-mirror"},
		{"[[registry]]\nlocation = 'a.example'\nmirror = ['m.example']\n", 5, "[[registry.mirror]]"},
	} {
		f, dir := conf(t, files{"system/registries.conf": good + c.text})
		r, err := f.Record("a.example")
		var e *Error
		if r != nil || !errors.As(err, &e) || e.File != filepath.Join(dir, "system/registries.conf") || e.Line != c.line || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%q: got %v, %v; want line %d and %q", c.text, r, err, c.line, c.want)
		}
		if r := record(t, f, "b.example"); len(r.Mirrors) != 1 {
			t.Errorf("%q: another registry has %q", c.text, lines(r))
		}
	}
	f, dir := conf(t, files{"user/registries.conf": "[[registry]]\nlocation = 'a.example\n", "toml/c.example/hosts.toml": ""})
	var e *Error
	if _, err := f.Record("b.example"); !errors.As(err, &e) || e.Line != 2 || e.File != filepath.Join(dir, "user/registries.conf") {
		t.Errorf("a malformed file: %v", err)
	}
	files{"toml/b.example/hosts.toml": "[host.'m.example']"}.write(t, dir)
	later(f)
	if r := record(t, f, "b.example"); len(r.Mirrors) != 1 {
		t.Errorf("a hosts.toml beside a malformed file: %q", lines(r))
	}
}

// What means nothing here is told once, with the file and the line: never left out in silence.
func TestWhatARegistriesConfSaysInVainIsTold(t *testing.T) {
	for text, want := range map[string][]string{
		"[registries.insecure]\nregistries = ['a.example']\n":                                                          {"version 1", "line=1"},
		"\n[[registry]]\nprefix = 'a.example/team'\nlocation = 'b.example/x'\nblocked = true\n":                        {"a.example/team", "an entry for all of a.example", "line=2"},
		"[[registry]]\n[[registry]]\nprefix = '*.com/x'\n":                                                             {"no prefix and no location", "line=1", "*.example.com", "line=2"},
		"[[registry]]\nlocation = 'a.example'\n[[registry]]\nlocation = 'a.example'\ninsecure = true\n":                {`second entry for \"a.example\"`, "line=3"},
		"[[registry]]\nprefix = 'https://a.example'\n":                                                                 {"a prefix has no scheme", "line=1"},
		"[[registry]]\nlocation = 'a.example'\nsig = 1\n[[registry.mirror]]\nlocation = 'm.example'\nx = 1\n[other]\n": {`\"sig\" means nothing`, `\"x\" means nothing`, `\"other\" means nothing`, "line=4", "line=7"},
	} {
		f, dir := conf(t, files{"system/registries.conf": text})
		logged := logTo(f)
		for range 2 {
			record(t, f, "a.example")
			later(f)
		}
		for _, w := range append(want, "file="+filepath.Join(dir, "system/registries.conf")) {
			if !strings.Contains(logged.String(), w) {
				t.Errorf("%q: no warning says %s:\n%s", text, w, logged)
			}
		}
		if n := strings.Count(logged.String(), "level=WARN"); n > len(want)/2+1 {
			t.Errorf("%q: %d warnings:\n%s", text, n, logged)
		}
	}
}

// A change of any of these files is noticed, also of one that wasn't there.
func TestAChangeOfASharedFileIsNoticed(t *testing.T) {
	f, dir := conf(t, nil)
	seen := map[string]bool{}
	for i, file := range []string{"system/daemon.json", "system/registries.conf", "system/registries.conf.d/a.conf", "user/registries.conf", "user/registries.conf.d/a.conf", "user/registries.conf.d/b.conf"} {
		text := fmt.Sprintf("[[registry]]\nlocation = 'docker.io'\n[[registry.mirror]]\nlocation = 'm%d.example'\n", i)
		if strings.HasSuffix(file, ".json") {
			text = `{"registry-mirrors": ["https://m0.example"]}`
		}
		before := record(t, f, "docker.io")
		files{file: text}.write(t, dir)
		if record(t, f, "docker.io") != before {
			t.Errorf("%s was looked at again at once", file)
		}
		later(f)
		if r := record(t, f, "docker.io"); len(r.Mirrors) != 1 || r.Mirrors[0].From != filepath.Join(dir, file) || seen[r.Mirrors[0].Base.Host] {
			t.Errorf("%s: got %q", file, lines(r))
		} else {
			seen[r.Mirrors[0].Base.Host] = true
		}
	}
}

func FuzzParseRegistriesConf(f *testing.F) {
	f.Add("[[registry]]\nprefix = '*.example.com'\n[[registry.mirror]]\nlocation = 'm.example/x'\ninsecure = true\n")
	f.Add("registry = [{ location = 'a.example:5000', mirror = [{ location = 'm.example' }], blocked = true }]\n")
	f.Add("[registries.search]\nregistries = []\n[[registry]]\nlocation = 'a.example/b/c'\nmirror-by-digest-only = true\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseRegistriesConf("registries.conf", []byte(text))
		if err != nil {
			if e := (*Error)(nil); !errors.As(err, &e) || c != nil || e.Line < 0 || e.Line > strings.Count(text, "\n")+1 {
				t.Fatalf("got %v, %v", c, err)
			}
			return
		}
		for _, w := range c.warnings {
			if w.File == "" || w.Line < 1 {
				t.Errorf("%v is on no line", w)
			}
		}
		for _, e := range c.entries {
			if e.host == "" || e.line < 1 || e.err != nil && e.err.File == "" {
				t.Errorf("got %+v", e)
			}
			servers := e.mirrors
			if e.server.base != nil {
				servers = append(servers, e.server)
			}
			for _, s := range servers {
				u := s.base
				if u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !strings.HasPrefix(u.Path, "/v2") || s.httpFallback != s.skipVerify {
					t.Errorf("%q is a server", u)
				}
			}
		}
	})
}
