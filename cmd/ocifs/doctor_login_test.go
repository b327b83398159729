package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// The doctor names the credential that is accepted and the ones that aren't, each with the
// program that replaces it.
func TestDoctorNamesTheCredentialThatIsRefused(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{Login: &registrytest.Login{Users: map[string]string{"jane": "good"}}})
	s.Image("o", "v1", []byte("x"))
	dir := t.TempDir()
	podmans, dockers := filepath.Join(dir, ".config/containers/auth.json"), filepath.Join(dir, ".docker/config.json")
	for _, f := range []string{podmans, dockers} {
		if err := os.MkdirAll(filepath.Dir(f), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	entry := func(password string) string {
		if password == "" {
			return ""
		}
		return fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, s.Host, base64.StdEncoding.EncodeToString([]byte("jane:"+password)))
	}
	for name, c := range map[string]struct {
		env, podman, docker string   // passwords
		want, never         []string // of what is told
	}{
		"an old podman login hides a docker login": {"", "bad", "good",
			[]string{"the credential of jane from " + podmans, "is refused", "that of jane from " + dockers, "is accepted", "podman logout " + s.Host}, []string{"docker login"}},
		"both are old": {"", "bad", "worse",
			[]string{podmans, dockers, "is refused", "podman login " + s.Host, "docker login " + s.Host}, []string{"accepted"}},
		"the environment": {"good", "bad", "bad",
			[]string{"the credential of jane from the environment, DOCKER_AUTH_CONFIG is accepted"}, []string{"refused"}},
		"an old environment": {"bad", "", "",
			[]string{"is refused", "set DOCKER_AUTH_CONFIG anew, or unset it"}, []string{"docker login", "podman log"}},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range map[string]string{"HOME": dir, "XDG_RUNTIME_DIR": filepath.Join(dir, "run"), "XDG_CONFIG_HOME": "", "DOCKER_CONFIG": "", "REGISTRY_AUTH_FILE": "", "DOCKER_AUTH_CONFIG": entry(c.env)} {
				t.Setenv(k, v)
			}
			for f, password := range map[string]string{podmans: c.podman, dockers: c.docker} {
				if err := os.WriteFile(f, []byte(entry(password)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var out bytes.Buffer
			d := &diagnosis{out: &out}
			at := target{host: s.Host, repo: ref.Repository{Host: s.Host, Path: "o"}}
			source, cred := d.examineCredentials(t.Context(), at)
			d.examineHost(t.Context(), at, settings{plainHTTP: []string{s.Host}}, source, cred)
			_, login, _ := strings.Cut(out.String(), " login ")
			login, _, _ = strings.Cut(login, "✓")
			for _, want := range c.want {
				if !strings.Contains(login, want) {
					t.Errorf("%q isn't told:\n%s", want, out.String())
				}
			}
			for _, never := range c.never {
				if strings.Contains(login, never) {
					t.Errorf("%q is told:\n%s", never, out.String())
				}
			}
		})
	}
}
