package main

import (
	"os"
	"os/user"
	"strconv"
	"testing"
)

// Without HOME and PATH, as systemd and mount -a at boot leave them out, the home is that of the
// passwd entry and the path the usual one. Those that are there stay.
func TestAnEmptyEnvironmentIsCompleted(t *testing.T) {
	t.Setenv("HOME", "")
	t.Setenv("PATH", "")
	completeEnvironment()
	u, err := user.LookupId(strconv.Itoa(os.Getuid()))
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("HOME") != u.HomeDir || os.Getenv("PATH") != usualPath {
		t.Errorf("HOME=%s PATH=%s, want %s, %s", os.Getenv("HOME"), os.Getenv("PATH"), u.HomeDir, usualPath)
	}
	t.Setenv("HOME", "/h")
	t.Setenv("PATH", "/p")
	completeEnvironment()
	if os.Getenv("HOME") != "/h" || os.Getenv("PATH") != "/p" {
		t.Errorf("HOME=%s PATH=%s", os.Getenv("HOME"), os.Getenv("PATH"))
	}
}

// The cache and the log are where systemd says, else where the XDG Base Directory Specification
// says, else in the home, and for root without a home in the system's directories.
func TestDefaultPlaces(t *testing.T) {
	root := func(path string) string {
		if os.Geteuid() == 0 {
			return path
		}
		return ""
	}
	for _, c := range []struct{ cache, state, xdgCache, xdgState, home, wantCache, wantLog string }{
		{"/var/cache/unit:/b", "/var/lib/unit", "/xc", "/xs", "/h", "/var/cache/unit", "/var/lib/unit/ocifs.log"},
		{"", "", "/xc", "/xs", "/h", "/xc/ocifs", "/xs/ocifs/ocifs.log"},
		{"relative", "relative", "relative", "relative", "/h", "/h/.cache/ocifs", "/h/.local/state/ocifs/ocifs.log"},
		{"", "", "", "", "", root("/var/cache/ocifs"), root("/var/log/ocifs.log")},
	} {
		for name, value := range map[string]string{"CACHE_DIRECTORY": c.cache, "STATE_DIRECTORY": c.state, "XDG_CACHE_HOME": c.xdgCache, "XDG_STATE_HOME": c.xdgState, "HOME": c.home} {
			t.Setenv(name, value)
		}
		if defaultCache() != c.wantCache || defaultLog() != c.wantLog {
			t.Errorf("%+v: the cache is in %s, the log in %s", c, defaultCache(), defaultLog())
		}
	}
}
