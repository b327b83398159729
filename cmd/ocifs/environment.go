package main

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// usualPath is the PATH where there is none: the one of Debian's root.
const usualPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// completeEnvironment gives this process the HOME and the PATH that systemd and mount -a at boot
// leave out: the home of the passwd entry, where there is one, and the usual PATH. Programs that
// ocifs starts, as credential helpers, need them as well.
func completeEnvironment() {
	if os.Getenv("PATH") == "" {
		_ = os.Setenv("PATH", usualPath) // the name and the value are good ones
	}
	if os.Getenv("HOME") != "" {
		return
	}
	if u, err := user.LookupId(strconv.Itoa(os.Getuid())); err == nil && filepath.IsAbs(u.HomeDir) {
		_ = os.Setenv("HOME", u.HomeDir)
	}
}

// defaultCache is where the cache is unless a setting says so, or "" where there is no place.
func defaultCache() string {
	if dir := serviceDir("CACHE_DIRECTORY"); dir != "" {
		return dir
	}
	return userDir("XDG_CACHE_HOME", ".cache", "/var/cache/ocifs")
}

// defaultLog is where a daemon logs unless a setting says so, or "" where there is no place.
func defaultLog() string {
	dir := serviceDir("STATE_DIRECTORY")
	if dir == "" {
		dir = userDir("XDG_STATE_HOME", ".local/state", "/var/log")
	}
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, "ocifs.log")
}

// configDir is where the user's configuration is, or "" where there is no place.
func configDir() string { return userDir("XDG_CONFIG_HOME", ".config", "/etc/ocifs") }

// serviceDir is the directory that systemd made for a service, or "": systemd.exec(5),
// CacheDirectory=. Of several, which stand between colons, it is the first.
func serviceDir(variable string) string {
	dir, _, _ := strings.Cut(os.Getenv(variable), ":")
	if !filepath.IsAbs(dir) {
		return ""
	}
	return dir
}

// userDir is ocifs' directory of a kind: below $xdg, else below ~/sub, else, for root, forRoot.
// A relative $xdg is passed over, as the XDG Base Directory Specification has it.
func userDir(xdg, sub, forRoot string) string {
	if d := os.Getenv(xdg); filepath.IsAbs(d) {
		return filepath.Join(d, "ocifs")
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, sub, "ocifs")
	}
	if os.Geteuid() == 0 {
		return forRoot
	}
	return ""
}
