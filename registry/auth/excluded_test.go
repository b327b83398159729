package auth

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A path may lead into the mount by its name or by symlinks on its way, and only the
// way to the mount is looked at.
//
// Behaviour: auth.helpers
func TestWhatLeadsIntoTheMountIsKnownWithoutLookingThere(t *testing.T) {
	dir := resolve(t.TempDir())
	mount := filepath.Join(dir, "mount")
	for _, d := range []string{mount, filepath.Join(dir, "docker")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{
		"link": mount + "/x", "relative": "mount", "twice": "link/y", "docker/up": "../mount/x", "dangling": "/nowhere/at/all",
		"circle": "circle", "sibling": "mount2", "inside": "mount/../docker", "docker/config.json": "../relative/config.json",
	} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]bool{
		"mount": true, "mount/x": true, "mount/x/y/z": true, "link": true, "relative": true, "relative/deep/er": true, "twice": true,
		"docker/up": true, "docker/config.json": true, "docker/../mount/x": true,
		"inside": true, // on its way
		"":       false, "docker": false, "docker/other": false, "mount2": false, "mounts/x": false, "sibling": false, "dangling": false,
		"circle": false, "missing/x": false,
	} {
		if got := leadsInto(dir+"/"+path, []string{mount}); got != want {
			t.Errorf("%q: %v", path, got)
		}
	}
	if leadsInto(mount, nil) {
		t.Error("there is no mount")
	}
}

// Neither is a file read in the mount, nor a helper run from there: this process
// would wait for itself.
//
// Behaviour: auth.helpers
func TestNothingIsReadOrRunByWayOfTheMount(t *testing.T) {
	mount := filepath.Join(t.TempDir(), "mount")
	if err := os.Mkdir(mount, 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(mount, link); err != nil {
		t.Fatal(err)
	}
	// Whoever reads of a pipe waits.
	if err := mkfifo(filepath.Join(mount, "config.json")); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"by name": mount, "by a link": link} {
		t.Run("a file "+name, func(t *testing.T) {
			var log syncBuffer
			t.Setenv("REGISTRY_AUTH_FILE", filepath.Join(t.TempDir(), "none.json"))
			t.Setenv("DOCKER_CONFIG", dir)
			t.Setenv(environment, "")
			s := Default(log.logger(), link)
			for range 3 {
				versionOf(s)
				if c, err := s.Credential(t.Context(), someRepo); err != nil || !c.Empty() {
					t.Errorf("%+v, %v", c, err)
				}
			}
			if told := log.String(); strings.Count(told, "level=WARN") != 1 || !strings.Contains(told, filepath.Join(dir, "config.json")) {
				t.Errorf("told: %s", told)
			}
		})
		t.Run("a helper "+name, func(t *testing.T) {
			var log syncBuffer
			h := newHelper(t, "inside", says("p"))
			if err := os.Rename(filepath.Join(h.dir, "docker-credential-inside"), filepath.Join(mount, "docker-credential-inside")); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", dir+":.:"+os.Getenv("PATH"))
			s := h.config(t, &log, mount)
			if c, err := s.Credential(t.Context(), someRepo); err != nil || !c.Empty() || h.runs() != 0 {
				t.Errorf("%+v, %v", c, err)
			}
			if told := log.String(); strings.Count(told, "level=WARN") != 1 || !strings.Contains(told, filepath.Join(dir, "docker-credential-inside")) {
				t.Errorf("told: %s", told)
			}
			// One of the same name further on is run.
			newHelper(t, "inside", says("outside"))
			t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
			s.helpers.older(failureAge)
			if c, err := s.Credential(t.Context(), someRepo); err != nil || c.Password != "outside" {
				t.Errorf("%+v, %v", c, err)
			}
		})
	}
}
