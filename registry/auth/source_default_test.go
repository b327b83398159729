package auth

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ocifs/ocifs/registry/ref"
)

// home makes a home directory where nobody has logged in, and gives the paths of podman's
// and docker's files there.
func home(t *testing.T) (podmans, dockers string) {
	t.Helper()
	dir := t.TempDir()
	for name, value := range map[string]string{
		"HOME": dir, "XDG_RUNTIME_DIR": filepath.Join(dir, "run"), "XDG_CONFIG_HOME": "", "DOCKER_CONFIG": "", "REGISTRY_AUTH_FILE": "", environment: "",
	} {
		t.Setenv(name, value)
	}
	podmans, dockers = filepath.Join(dir, ".config/containers/auth.json"), filepath.Join(dir, ".docker/config.json")
	for _, file := range []string{podmans, dockers} {
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return podmans, dockers
}

// entryOf spells an entry of auths.
func entryOf(host, secret string) string {
	return fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, base64.StdEncoding.EncodeToString([]byte(secret)))
}

// The environment comes first, then podman's file, then docker's. Each says where the
// credential is from and which program replaces it.
//
// Behaviour: auth.environment, auth.told
func TestWhereCredentialsAreLookedForAndInWhichOrder(t *testing.T) {
	podmans, dockers := home(t)
	t.Setenv(environment, entryOf("h.example", "env:s3cret"))
	writeConfig(t, podmans, "h.example=pod:s3cret")
	writeConfig(t, dockers, "h.example=dock:s3cret")
	s := Default(nil)
	var refused []Credential
	for _, want := range []Use{
		{Origin: "env from the environment, DOCKER_AUTH_CONFIG", Hint: "set DOCKER_AUTH_CONFIG anew, or unset it"},
		{Origin: "pod from " + podmans + `, key "h.example"`, Hint: "podman login h.example, or podman logout h.example (which write " + podmans + ")"},
		{Origin: "dock from " + dockers + `, key "h.example"`, Hint: "docker login h.example (which writes " + dockers + ")"},
		{},
	} {
		c, err := next(t.Context(), s, someRepo, refused)
		if got := (Use{Origin: c.Origin, Hint: c.Hint}); err != nil || got != want {
			t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
		}
		refused = append(refused, c)
	}
}

// What is malformed in the variable is warned of, without its value, and files count.
//
// Behaviour: auth.environment
func TestAMalformedVariableCostsItselfAlone(t *testing.T) {
	for name, text := range map[string]string{"no JSON": `{"auths":{"h.example":{"auth":"s3cret`, "an odd entry": `{"auths":{"h.example":{"auth":"s3cret!"}}}`, "a password": "s3cret"} {
		t.Run(name, func(t *testing.T) {
			_, dockers := home(t)
			t.Setenv(environment, text)
			writeConfig(t, dockers, "h.example=jane:p")
			var log syncBuffer
			s := Default(log.logger())
			for range 3 {
				if c, err := s.Credential(t.Context(), someRepo); err != nil || c.Username != "jane" {
					t.Errorf("%+v, %v", c, err)
				}
			}
			if told := log.String(); strings.Count(told, "level=WARN") != 1 || !strings.Contains(told, environment) || strings.Contains(told, "s3cret") {
				t.Errorf("told: %s", told)
			}
		})
	}
}

// A person does as the hint says, and it helps: the program is the one that writes the
// file.
func TestAHintNamesTheProgramThatWritesTheFile(t *testing.T) {
	newHelper(t, "store", says("p"))
	for name, c := range map[string]struct{ file, config, want string }{
		"docker's":                 {"config.json", `{"auths":{"h.example":{"auth":"dTpw"}}}`, "docker login h.example (which writes FILE)"},
		"docker's, with a path":    {"config.json", `{"auths":{"h.example/a":{"auth":"dTpw"}}}`, `change the entry "h.example/a" of FILE`},
		"podman's":                 {"auth.json", `{"auths":{"h.example":{"auth":"dTpw"}}}`, "podman login h.example, or podman logout h.example (which write FILE)"},
		"podman's, with a path":    {"auth.json", `{"auths":{"h.example/a":{"auth":"dTpw"}}}`, "podman login h.example/a, or podman logout h.example/a (which write FILE)"},
		"a store":                  {"config.json", `{"credsStore":"store"}`, "docker login h.example, which has docker-credential-store keep it"},
		"a helper of the registry": {"config.json", `{"credHelpers":{"h.example":"store"}}`, "log in with the program that docker-credential-store asks"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), c.file)
			write(t, file, c.config)
			cred, err := FromFiles(nil, file).Credential(t.Context(), someRepo)
			if want := strings.ReplaceAll(c.want, "FILE", file); err != nil || cred.Hint != want {
				t.Errorf("got  %s, %v\nwant %s", cred.Hint, err, want)
			}
		})
	}
}

// Static's credential is for its registry alone.
func TestAStaticCredentialIsForItsRegistryAlone(t *testing.T) {
	for _, spelled := range []string{"docker.io", "index.docker.io"} {
		s := Static(spelled, "jane", "s3cret")
		c, err := s.Credential(t.Context(), ref.Repository{Host: "docker.io", Path: "library/alpine"})
		if err != nil || c.Username != "jane" || c.Password != "s3cret" || strings.Contains(c.Origin, "s3cret") || c.Origin == "" {
			t.Errorf("%+v, %v", c, err)
		}
		if c, err := s.Credential(t.Context(), someRepo); err != nil || !c.Empty() {
			t.Errorf("another registry gets %+v, %v", c, err)
		}
		if got := Hosts(s); len(got) != 1 || got[0] != "docker.io" {
			t.Errorf("it is for %q", got)
		}
	}
}

// A file of the places where docker and podman keep theirs counts, podman's first.
func TestTheFilesOfPodmanAndDocker(t *testing.T) {
	home, run, conf := t.TempDir(), t.TempDir(), t.TempDir()
	for name, v := range map[string]string{"HOME": home, "XDG_RUNTIME_DIR": run, "XDG_CONFIG_HOME": conf, "REGISTRY_AUTH_FILE": "", "DOCKER_CONFIG": "", environment: ""} {
		t.Setenv(name, v)
	}
	s := Default(nil)
	for _, c := range []struct{ file, user string }{
		{filepath.Join(home, ".docker/config.json"), "docker"},
		{filepath.Join(conf, "containers/auth.json"), "podman"},
		{filepath.Join(run, "containers/auth.json"), "login"},
	} {
		if err := os.MkdirAll(filepath.Dir(c.file), 0o700); err != nil {
			t.Fatal(err)
		}
		writeConfig(t, c.file, "h.example="+c.user+":p")
		got, err := s.Credential(t.Context(), ref.Repository{Host: "h.example", Path: "a"})
		if err != nil || got.Username != c.user {
			t.Errorf("%+v, %v; want %s", got, err, c.user)
		}
	}
}
