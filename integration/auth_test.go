package integration

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// jane is the user whom registries know.
var jane = map[string]string{"jane": "open sesame"}

// dockerLogin writes what `docker login` leaves in ~/.docker/config.json.
func dockerLogin(t *testing.T, s *registries.Server, user, password string) func(home string) {
	return func(home string) { writeAuths(t, filepath.Join(home, ".docker/config.json"), s.Host, user, password) }
}

// writeAuths writes credentials in the form that docker and podman share.
func writeAuths(t *testing.T, file, host, user, password string) {
	t.Helper()
	b := must(json.Marshal(map[string]any{"auths": map[string]any{
		host: map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(user + ":" + password))},
	}}))(t)
	writeFile(t, file, b, 0o600)
}

func writeFile(t *testing.T, file string, b []byte, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, mode); err != nil {
		t.Fatal(err)
	}
}

// protected starts the registries that ask who one is, by the way they do.
func protected(t *testing.T, test func(t *testing.T, s *registries.Server, image content.Manifest)) {
	start := map[string]func(*testing.T, registries.Options) *registries.Server{
		"token": startDistribution, "htpasswd": startDebian,
	}
	for name, start := range start {
		t.Run(name, func(t *testing.T) {
			s := start(t, registries.Options{Users: jane})
			r := must(content.To(s.Host, testImage, "jane", jane["jane"]))(t)
			test(t, s, must(r.Image(t.Context(), "v1", content.Sample("v1")))(t))
		})
	}
}

// The credentials that people have are found where docker and podman keep them.
func TestCredentials(t *testing.T) {
	t.Parallel()
	protected(t, func(t *testing.T, s *registries.Server, image content.Manifest) {
		elsewhere := t.TempDir()
		writeAuths(t, filepath.Join(elsewhere, "config.json"), s.Host, "jane", jane["jane"])
		helpers := t.TempDir()
		writeFile(t, filepath.Join(helpers, "docker-credential-test"), fmt.Appendf(nil,
			"#!/bin/sh\nread host\n[ \"$1 $host\" = 'get %s' ] || exit 1\nprintf '{\"ServerURL\":\"%%s\",\"Username\":\"jane\",\"Secret\":\"%s\"}' \"$host\"\n",
			s.Host, jane["jane"]), 0o755)
		helperPath := "PATH=" + helpers + ":" + os.Getenv("PATH")
		helperConfig := func(config string) func(string) {
			return func(home string) { writeFile(t, filepath.Join(home, ".docker/config.json"), []byte(config), 0o600) }
		}
		for name, o := range map[string]mounting{
			"docker's config.json": {setup: dockerLogin(t, s, "jane", jane["jane"])},
			"DOCKER_CONFIG":        {env: []string{"DOCKER_CONFIG=" + elsewhere}},
			"REGISTRY_AUTH_FILE":   {env: []string{"REGISTRY_AUTH_FILE=" + filepath.Join(elsewhere, "config.json")}},
			"XDG_RUNTIME_DIR": {setup: func(home string) {
				writeAuths(t, filepath.Join(home, "containers/auth.json"), s.Host, "jane", jane["jane"])
			}},
			"credHelpers": {env: []string{helperPath}, setup: helperConfig(fmt.Sprintf(`{"credHelpers":{%q:"test"}}`, s.Host))},
			"credsStore":  {env: []string{helperPath}, setup: helperConfig(`{"credsStore":"test"}`)},
		} {
			t.Run(name, func(t *testing.T) {
				m := testMount(t, o)
				m.holds(m.at(s, testImage, "tags/v1/manifest.json"), image.Bytes)
				m.holds(m.at(s, testImage, "tags/v1/config.json"), image.Config.Bytes)
				m.lists(m.at(s, testImage, "tags"), "v1")
			})
		}
	})
}

// Who is refused reads EACCES, with a sentence that says which credential it was
// and never what is in it.
func TestRefused(t *testing.T) {
	t.Parallel()
	protected(t, func(t *testing.T, s *registries.Server, image content.Manifest) {
		for name, o := range map[string]mounting{
			"anonymous":      {},
			"wrong password": {setup: dockerLogin(t, s, "jane", "wrong-secret-word")},
			"unknown user":   {setup: dockerLogin(t, s, "joe", "wrong-secret-word")},
		} {
			t.Run(name, func(t *testing.T) {
				m := testMount(t, o)
				m.probe("EACCES", "read", m.at(s, testImage, "tags/v1/manifest.json"))
				m.probe("EACCES", "read", m.at(s, testImage, "blobs/sha256", image.Layers[0].Digest.Encoded()))
				m.probe("EACCES", "readdir", m.at(s, testImage, "tags"))
				f := m.lastFailure("EACCES")
				if f.Path == "" || f.Op == "" || f.Cause == "" || f.Hint == "" || f.Time.IsZero() {
					t.Errorf("a field is missing in %+v", f)
				}
				if !strings.Contains(f.Path, testImage) || !strings.Contains(f.Path, treeName(s)) {
					t.Errorf("the path is %q, want that of the file", f.Path)
				}
				everything := m.sh("cat $M/.ocifs/*") + m.Output()
				secret := base64.StdEncoding.EncodeToString([]byte("jane:wrong-secret-word"))
				if strings.Contains(everything, "wrong-secret-word") || strings.Contains(everything, secret) {
					t.Error("the password is shown in .ocifs or in the log")
				}
			})
		}
	})
}

// What one may not see is refused as well when another has it in the cache.
func TestCacheIsNoWayAroundAuthorisation(t *testing.T) {
	t.Parallel()
	protected(t, func(t *testing.T, s *registries.Server, image content.Manifest) {
		cache := filepath.Join(t.TempDir(), "cache")
		blob := image.Layers[0]
		friend := testMount(t, mounting{cache: cache, setup: dockerLogin(t, s, "jane", jane["jane"])})
		friend.holds(friend.at(s, testImage, "blobs/sha256", blob.Digest.Encoded()), blob.Bytes)
		friend.holds(friend.at(s, testImage, "tags/v1/manifest.json"), image.Bytes)

		stranger := testMount(t, mounting{cache: cache})
		stranger.probe("EACCES", "read", stranger.at(s, testImage, "blobs/sha256", blob.Digest.Encoded()))
		stranger.probe("EACCES", "read", stranger.at(s, testImage, "manifests/sha256", image.Digest.Encoded(), "manifest.json"))
		stranger.probe("EACCES", "read", stranger.at(s, testImage, "tags/v1/manifest.json"))

		again := testMount(t, mounting{cache: cache, setup: dockerLogin(t, s, "jane", jane["jane"])})
		s.Forget()
		again.holds(again.at(s, testImage, "tags/v1/manifest.json"), image.Bytes)
		if got := s.Counts(); len(got) != 0 {
			t.Errorf("a tag within its time cost the friend, after a remount, %v", got)
		}
	})
}
