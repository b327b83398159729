package auth

import (
	"encoding/base64"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ocifs/ocifs/registry/ref"
)

// An origin names the user, the file and the key, or the helper and why it was
// asked, and no secret.
//
// Behaviour: auth.told
func TestAnOriginSaysWhoseACredentialIsAndWhereFrom(t *testing.T) {
	newHelper(t, "known", says("s3cret"))
	newHelper(t, "token", `printf '{"Username":"<token>","Secret":"s3cret"}'`)
	both := base64.StdEncoding.EncodeToString([]byte("jane:s3cret"))
	for config, want := range map[string]string{
		`{"auths":{"https://h.example/v1/":{"auth":"` + both + `"}}}`:                                 `jane from FILE, key "https://h.example/v1/"`,
		`{"auths":{"h.example/a":{"username":"jane","password":"s3cret"}}}`:                           `jane from FILE, key "h.example/a"`,
		`{"auths":{"h.example":{"identitytoken":"s3cret"}}}`:                                          `FILE, key "h.example"`,
		`{"auths":{"h.example":{"registrytoken":"s3cret"}}}`:                                          `FILE, key "h.example"`,
		`{"auths":{"h.example":{"username":"<token>","identitytoken":"s3cret"}}}`:                     `FILE, key "h.example"`,
		`{"auths":{"h.example":{"username":"ja\nne\u001b[1m","password":"s3cret"}}}`:                  `jane[1m from FILE, key "h.example"`,
		`{"auths":{"h.example":{"username":"` + strings.Repeat("x", 100) + `","password":"s3cret"}}}`: strings.Repeat("x", 64) + `… from FILE, key "h.example"`,
		`{"credsStore":"known"}`:                                     `jane from docker-credential-known, asked because of FILE`,
		`{"credHelpers":{"h.example":"token"},"credsStore":"known"}`: `docker-credential-token, asked because of FILE`,
		`{"credHelpers":{"h.example":""},"auths":{"h.example":{"username":"jane","password":"s3cret"}}}`:      `jane from FILE, key "h.example"`,
		`{"credHelpers":{"other.example":"token"},"auths":{"h.example":{"identitytoken":"s3cret"},"x.y":{}}}`: `FILE, key "h.example"`,
	} {
		file := filepath.Join(t.TempDir(), "config.json")
		write(t, file, config)
		c, err := FromFiles(nil, file).Credential(t.Context(), someRepo)
		if want := strings.ReplaceAll(want, "FILE", file); err != nil || c.Empty() || c.Origin != want {
			t.Errorf("%s:\ngot  %s, %v\nwant %s", config, c.Origin, err, want)
		}
	}
}

// Who has no credential is told where one was looked for.
//
// Behaviour: auth.told
func TestWhereACredentialWasLookedForInVain(t *testing.T) {
	newHelper(t, "empty", `echo "credentials not found in native keychain"; exit 1`)
	for config, want := range map[string]string{
		``:                                   `none in FILE`,
		`{"auths":{}}`:                       `none in FILE`,
		`{"auths":{"ghcr.io":{"auth":"x"}}}`: `FILE is for ghcr.io`,
		`{"auths":{"ghcr.io/a":{},"https://ghcr.io":{}},"credHelpers":{"quay.io":"x"}}`: `FILE is for ghcr.io, quay.io`,
		`{"auths":{"a.b":{},"c.d":{},"e.f":{},"g.h":{},"i.j":{}}}`:                      `FILE is for a.b, c.d, e.f, 2 others`,
		`{"credsStore":"empty"}`:  `docker-credential-empty, asked because of FILE, has none`,
		`{"credsStore":"nosuch"}`: `docker-credential-nosuch, asked because of FILE, gave none: docker-credential-nosuch isn't on PATH`,
	} {
		file := filepath.Join(t.TempDir(), "config.json")
		if config != "" {
			write(t, file, config)
		}
		s := FromFiles(nil, file)
		if c, err := s.Credential(t.Context(), someRepo); err != nil || !c.Empty() {
			t.Errorf("%+v, %v", c, err)
		}
		if got, want := Searched(s, someRepo), strings.ReplaceAll(want, "FILE", file); len(got) != 1 || got[0] != want {
			t.Errorf("%s:\ngot  %q\nwant %q", config, got, want)
		}
	}
}

// The key of Docker Hub is an address of its old API, in any spelling.
//
// Behaviour: names.hub, auth.keys
func TestDockerHubsCredentialHasAKeyOfItsOwn(t *testing.T) {
	r := ref.Repository{Host: ref.DockerHub, Path: "library/alpine"}
	for _, key := range []string{"https://index.docker.io/v1/", "index.docker.io/v1/", "https://index.docker.io/v1", "index.docker.io", "docker.io", "https://docker.io", "registry-1.docker.io", "docker.io/library", "docker.io/library/alpine"} {
		s := source(t, `{"auths":{"`+key+`":{"username":"jane","password":"p"}}}`)
		if c, err := s.Credential(t.Context(), r); err != nil || c.Username != "jane" {
			t.Errorf("%s: %+v, %v", key, c, err)
		}
	}
	newHelper(t, "hub", `read key; test "$key" = https://index.docker.io/v1/ && `+says("p"))
	if c, err := source(t, `{"credsStore":"hub"}`).Credential(t.Context(), r); err != nil || c.Username != "jane" {
		t.Errorf("%+v, %v", c, err)
	}
	for _, key := range []string{"docker.io/other", "docker.example", "hub.docker.com", "docker.io/library/alpine/x"} {
		s := source(t, `{"auths":{"`+key+`":{"username":"jane","password":"p"}}}`)
		if c, err := s.Credential(t.Context(), r); err != nil || !c.Empty() {
			t.Errorf("%s: %+v, %v", key, c, err)
		}
	}
}

// Behaviour: auth.keys
func TestKeysComeInManySpellings(t *testing.T) {
	for _, host := range []string{"h.example", "h.example:5000", "localhost:5000", "[::1]:5000"} {
		for _, form := range []string{"%s", "http://%s", "https://%s", "https://%s/", "https://%s/v1/", "https://%s/v1", "https://%s/v2/", "%s/v2", "%s/v1/access-token", "https://%s/v1/refresh-token", "%s/access-token"} {
			key := fmt.Sprintf(form, host)
			s := source(t, `{"auths":{"`+key+`":{"username":"jane","password":"p"}}}`)
			if c, err := s.Credential(t.Context(), ref.Repository{Host: host, Path: "a/b"}); err != nil || c.Username != "jane" {
				t.Errorf("%s: %+v, %v", key, c, err)
			}
			if got := Hosts(s); len(got) != 1 || got[0] != host {
				t.Errorf("%s is for %q", key, got)
			}
		}
	}
	// The end of a repository's name isn't the path of an API.
	s := source(t, `{"auths":{"h.example/team/v1":{"username":"jane","password":"p"},"H.Example":{"username":"joe","password":"p"}}}`)
	for path, want := range map[string]string{"team/v1": "jane", "team/v1/x": "jane", "team/v2": "joe", "team": "joe", "": "joe"} {
		if c, err := s.Credential(t.Context(), ref.Repository{Host: "h.example", Path: path}); err != nil || c.Username != want {
			t.Errorf("%s: %+v, %v; want %s", path, c, err, want)
		}
	}
	// Of two that are the same, it is always the same one.
	for range 10 {
		s := source(t, `{"auths":{"https://h.example/v1/access-token":{"username":"no","password":"p"},"https://h.example/v1/":{"username":"yes","password":"p"}}}`)
		if c, _ := s.Credential(t.Context(), someRepo); c.Username != "yes" {
			t.Errorf("%+v", c)
		}
	}
}
