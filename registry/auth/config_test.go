package auth

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/ocifs/ocifs/registry/ref"
)

// source writes a file of docker's form and reads credentials from it.
func source(t *testing.T, config string) Source {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return FromFiles(slog.New(slog.DiscardHandler), file)
}

// The longest key that leads to the repository wins; keys may carry what old
// clients wrote there.
//
// Behaviour: auth.keys
func TestTheClosestKeyOfAuthsCounts(t *testing.T) {
	s := source(t, `{"auths":{
		"https://index.docker.io/v1/": {"username":"hub","password":"p"},
		"registry.example":            {"username":"host","password":"p"},
		"registry.example/team":       {"username":"team","password":"p"},
		"registry.example/team/app":   {"username":"app","password":"p"},
		"http://old.example:5000/v1/": {"username":"old","password":"p"},
		"https://new.example/v2":      {"username":"new","password":"p"},
		"empty.example":               {},
		"broken.example":              {"auth":"%%%"}
	}}`)
	for where, want := range map[ref.Repository]string{
		{Host: "docker.io", Path: "library/alpine"}:        "hub",
		{Host: "registry.example"}:                         "host",
		{Host: "registry.example", Path: "other/app"}:      "host",
		{Host: "registry.example", Path: "teams/app"}:      "host",
		{Host: "registry.example", Path: "team/x"}:         "team",
		{Host: "registry.example", Path: "team/app"}:       "app",
		{Host: "registry.example", Path: "team/app/child"}: "app",
		{Host: "old.example:5000", Path: "a"}:              "old",
		{Host: "new.example", Path: "a"}:                   "new",
		{Host: "empty.example", Path: "a"}:                 "",
		{Host: "broken.example", Path: "a"}:                "",
		{Host: "example", Path: "a"}:                       "",
	} {
		c, err := s.Credential(t.Context(), where)
		if err != nil || c.Username != want || (want != "") != (c.Origin != "") {
			t.Errorf("%v: %q of %q, %v; want %q", where, c.Username, c.Origin, err, want)
		}
	}
	if got, want := Hosts(s), []string{"broken.example", "docker.io", "empty.example", "new.example", "old.example:5000", "registry.example"}; !slices.Equal(got, want) {
		t.Errorf("hosts %q, want %q", got, want)
	}
}

// An entry that can't be used costs itself, and so does a mark of the byte order. The
// warning names the file and the entry, and no value.
//
// Behaviour: auth.odd
func TestOneOddEntryCostsItselfAlone(t *testing.T) {
	const good = `"h.example":{"auth":"amFuZTpnb29k"}`
	newHelper(t, "fine", says("good"))
	for name, c := range map[string]struct{ config, warned string }{
		"text":                     {`{"auths":{"other":"x",` + good + `}}`, `entry \"other\" of auths: it isn't an object`},
		"a list":                   {`{"auths":{"other":[1],` + good + `}}`, `entry \"other\" of auths`},
		"a number as password":     {`{"auths":{` + good + `,"other.example":{"username":"a","password":4711}}}`, `entry \"other.example\" of auths: password isn't text`},
		"an object as auth":        {`{"auths":{` + good + `,"other.example":{"auth":{}}}}`, `entry \"other.example\" of auths: auth isn't text`},
		"no base64":                {`{"auths":{` + good + `,"other.example":{"auth":"%%%"}}}`, `entry \"other.example\" of auths: auth isn't base64`},
		"nothing":                  {`{"auths":{` + good + `,"other.example":null}}`, ""},
		"an e-mail that is odd":    {`{"auths":{"h.example":{"auth":"amFuZTpnb29k","email":1}}}`, ""},
		"a closer entry":           {`{"auths":{"h.example/a":7,` + good + `}}`, `entry \"h.example/a\" of auths`},
		"credsStore":               {`{"credsStore":["x"],"auths":{` + good + `}}`, "credsStore isn't text"},
		"credHelpers":              {`{"credHelpers":"x","auths":{` + good + `}}`, "credHelpers isn't an object"},
		"one of credHelpers":       {`{"credHelpers":{"h.example":5},"auths":{` + good + `}}`, `entry \"h.example\" of credHelpers: it isn't text`},
		"auths beside a helper":    {`{"credHelpers":{"h.example":"fine"},"auths":[]}`, "auths isn't an object"},
		"a byte order mark":        {"\xef\xbb\xbf" + `{"auths":{` + good + `}}`, ""},
		"another field that's odd": {`{"HttpHeaders":1,"auths":{` + good + `}}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var log syncBuffer
			file := filepath.Join(t.TempDir(), "config.json")
			write(t, file, c.config)
			s := FromFiles(log.logger(), file)
			for range 3 {
				if cred, err := s.Credential(t.Context(), someRepo); err != nil || cred.Username != "jane" || cred.Password != "good" {
					t.Errorf("%+v, %v", cred, err)
				}
			}
			told := log.String()
			if c.warned == "" && told != "" || c.warned != "" && (strings.Count(told, "level=WARN") != 1 || !strings.Contains(told, c.warned) || !strings.Contains(told, file)) {
				t.Errorf("told: %s\nwant %s", told, c.warned)
			}
			if strings.Contains(told, "4711") || strings.Contains(told, "%%%") {
				t.Errorf("a value is told: %s", told)
			}
		})
	}
}

// A file in UTF-16 can't be read, and the warning says how it can.
func TestAFileInUTF16IsNamedAsSuch(t *testing.T) {
	var log syncBuffer
	file := filepath.Join(t.TempDir(), "config.json")
	write(t, file, "\xff\xfe{\x00}\x00")
	FromFiles(log.logger(), file)
	if told := log.String(); !strings.Contains(told, "UTF-16") || !strings.Contains(told, file) {
		t.Errorf("told: %s", told)
	}
}

// Many odd entries are few warnings.
func TestTheWarningsOfOneFileAreBounded(t *testing.T) {
	var log syncBuffer
	file := filepath.Join(t.TempDir(), "config.json")
	var entries []string
	for i := range 100 {
		entries = append(entries, fmt.Sprintf(`"h%d":1`, i))
	}
	write(t, file, `{"auths":{`+strings.Join(entries, ",")+`}}`)
	FromFiles(log.logger(), file)
	if n := strings.Count(log.String(), "level=WARN"); n != maxProblems+1 || !strings.Contains(log.String(), "95 more") {
		t.Errorf("told %d times: %s", n, log.String())
	}
}

// Keys of credHelpers may have paths. The longest that leads to the repository counts, one
// of another path never does, and the helper is asked for its key.
//
// Behaviour: auth.helper-keys
func TestTheClosestKeyOfCredHelpersCounts(t *testing.T) {
	for _, name := range []string{"a", "o", "all", "hub"} {
		newHelper(t, name, `read key; printf '{"Username":"`+name+` %s","Secret":"p"}' "$key"`)
	}
	const config = `{"credsStore":"all","credHelpers":{"h.example/a":"a","h.example/team":"a","h.example/team/o":"o","https://other.example/v1/":"o","file.example":"","docker.io/library":"hub"},
		"auths":{"file.example":{"username":"file","password":"p"}}}`
	s := source(t, config)
	for where, want := range map[string]string{
		"h.example/a":              "a h.example/a",
		"h.example/a/b":            "a h.example/a",
		"h.example/ab":             "all h.example",
		"h.example/o":              "all h.example",
		"h.example":                "all h.example",
		"h.example/team/x":         "a h.example/team",
		"h.example/team/o":         "o h.example/team/o",
		"h.example/team/o/x":       "o h.example/team/o",
		"other.example/x":          "o https://other.example/v1/",
		"file.example/x":           "file",
		"docker.io/library/alpine": "hub docker.io/library",
		"docker.io/other/x":        "all " + hubKey,
	} {
		host, path, _ := strings.Cut(where, "/")
		c, err := s.Credential(t.Context(), ref.Repository{Host: host, Path: path})
		if err != nil || c.Username != want {
			t.Errorf("%s: %q, %v; want %q", where, c.Username, err, want)
		}
	}
}

// Two accounts are told apart, also where they differ in the secret alone, and
// the name that tells them apart holds none.
func TestAccounts(t *testing.T) {
	seen := map[string]Credential{}
	for _, c := range []Credential{
		{}, {Username: "jane", Password: "one"}, {Username: "jane", Password: "two"}, {Username: "joe", Password: "one"},
		{IdentityToken: "one"}, {RegistryToken: "one"},
	} {
		name := c.Account()
		if other, twice := seen[name]; twice {
			t.Errorf("%+v and %+v are both %q", c, other, name)
		}
		seen[name] = c
		if (name == "") != c.Empty() || len(name) > len(c.Username)+5 {
			t.Errorf("%+v is called %q", c, name)
		}
	}
}

// Whatever a file says: the entry that counts leads to the repository, always the
// same does, and what is shown of it is no more than a name.
func FuzzConfig(f *testing.F) {
	for _, s := range []string{
		`{"auths":{"a.example/b":{"auth":"dTpw"}},"credHelpers":{"b.example":""}}`,
		`{"auths":{"https://":{"auth":"Og=="},"/":{"auth":"dQ=="}}}`,
		`{"auths":{"https://index.docker.io/v1/":{},"a.example":{"email":"x"}},"credsStore":"desktop","currentContext":"default"}`,
		`{"auths":{"A.EXAMPLE/v1/access-token":{"auth":"dTpwAAA="},"a.example":{"identitytoken":"i","auth":"MDAwMDAwMDA6"}}}`,
		`{"auths":{"a.example/b/c":{"registrytoken":"r"},"a.example/b/c/d":{"username":"\u001b","password":"p"}},"credHelpers":{"https://a.example/v1/":"ecr-login","A.example":"x"}}`,
		`{"auths":null,"credHelpers":{"a.example":null}}`,
		`{"auths":{"a.example:443":{"auth":"dTpwOnE="},"[::1]:5000":{"auth":"dTpw"}}}`,
		`{"auths":{"a.example":"x","a.example/b":{"username":1},"other":null},"credsStore":{},"credHelpers":{"a.example/b":"one","a.example/c":2}}`,
		"\xef\xbb\xbf" + `{"auths":{"a.example":{"auth":"dTpw"}}}`,
		"\xff\xfe{\x00}\x00",
		`{"auths":[],"credHelpers":"x"}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, problems := parseConfig([]byte(s))
		if !json.Valid([]byte(s)) && len(problems) == 0 && !strings.HasPrefix(s, "\xef\xbb\xbf") {
			t.Errorf("%q is fine", s)
		}
		for _, h := range c.hosts() {
			if canonical, err := ref.ParseHost(h); err != nil || canonical != h {
				t.Errorf("the host %q, %v", h, err)
			}
		}
		r := ref.Repository{Host: "a.example", Path: "b/c"}
		if h := c.helper(r); h.own {
			if host, path := splitKey(h.key); host != r.Host || path != "" && !strings.HasPrefix(r.Path+"/", path+"/") || h.name != c.credHelpers[h.key] {
				t.Errorf("the helper %q is asked for %q", h.name, h.key)
			}
		} else if h.name != c.credsStore || h.key != r.Host {
			t.Errorf("the helper %q is asked for %q", h.name, h.key)
		}
		key, cred, ok := c.entry(r)
		if again, _, _ := c.entry(r); again != key {
			t.Errorf("once it is %q and once %q", key, again)
		}
		if !ok {
			return
		}
		if host, path := splitKey(key); host != r.Host || path != "" && !strings.HasPrefix(r.Path+"/", path+"/") || cred.Empty() {
			t.Errorf("the entry %q was chosen for %v", key, r)
		}
		if shown := owner(cred); len(shown) > maxUser+len("… from ") || strings.ContainsFunc(shown, unicode.IsControl) {
			t.Errorf("%q is shown as %q", cred.Username, shown)
		}
	})
}
