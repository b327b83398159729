package auth

import (
	"encoding/json"
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
	if got, want := s.Hosts(), []string{"broken.example", "docker.io", "empty.example", "new.example", "old.example:5000", "registry.example"}; !slices.Equal(got, want) {
		t.Errorf("hosts %q, want %q", got, want)
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
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var c config
		if json.Unmarshal([]byte(s), &c) != nil {
			return
		}
		for _, h := range c.hosts() {
			if canonical, err := ref.ParseHost(h); err != nil || canonical != h {
				t.Errorf("the host %q, %v", h, err)
			}
		}
		r := ref.Repository{Host: "a.example", Path: "b/c"}
		if name, key := c.helper(r); name != "" {
			if host, _ := splitKey(key); host != r.Host || name != c.CredsStore && name != c.CredHelpers[key] {
				t.Errorf("the helper %q is asked for %q", name, key)
			}
		}
		key, e, ok := c.entry(r)
		if again, _, _ := c.entry(r); again != key {
			t.Errorf("once it is %q and once %q", key, again)
		}
		if !ok {
			return
		}
		if host, path := splitKey(key); host != r.Host || path != "" && !strings.HasPrefix(r.Path+"/", path+"/") || e == (authEntry{}) {
			t.Errorf("the entry %q was chosen for %v", key, r)
		}
		cred, err := e.credential()
		if err != nil && !cred.Empty() {
			t.Errorf("%+v, and %v", cred, err)
		}
		if shown := of(cred); len(shown) > maxUser+len("… from ") || strings.ContainsFunc(shown, unicode.IsControl) {
			t.Errorf("%q is shown as %q", cred.Username, shown)
		}
	})
}
