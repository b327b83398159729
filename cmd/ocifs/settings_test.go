package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// loaded gives settings of a command line, an environment and files: NAME → content.
func loaded(t *testing.T, args, environ []string, files ...string) (*settings, error) {
	t.Helper()
	s := newSettings()
	c := &cobra.Command{Use: "mount"}
	s.register(c)
	if err := c.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	from := sources{environ: environ}
	for _, content := range files {
		from.files = append(from.files, config(t, content))
	}
	from.files = append(from.files, filepath.Join(t.TempDir(), "absent"))
	return s, s.loadFrom(c.Flags(), from)
}

// config writes a config.toml.
func config(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A flag goes before the environment, that before the user's file, that before the system's file,
// and each of them before the default, key by key.
func TestSettingsComeFromTheFirstPlaceThatHasThem(t *testing.T) {
	const user, system = "tag-ttl = '3s'\nlist_ttl = '3s'\nconnections = 3", "tag_ttl = '4s'\nlist_ttl = '4s'\nconnections = 4\nunpacked_size = 4096\nxattr = true"
	s, err := loaded(t, []string{"--tag-ttl=1s"}, []string{"OCIFS_TAG_TTL=2s", "OCIFS_LIST_TTL=2s"}, user, system)
	if err != nil {
		t.Fatal(err)
	}
	if s.tagTTL != time.Second || s.listTTL != 2*time.Second || s.connections != 3 || s.unpackedSize != 4096 || !s.xattr || s.retryMaxWait != 30*time.Second {
		t.Errorf("tag-ttl %v (flag), list-ttl %v (environment), connections %d (user's file), unpacked-size %d and xattr %t (system's file), retry-max-wait %v (default)",
			s.tagTTL, s.listTTL, s.connections, s.unpackedSize, s.xattr, s.retryMaxWait)
	}
	if s, err := loaded(t, []string{"--xattr=false"}, nil, "xattr = true"); err != nil || s.xattr {
		t.Errorf("--xattr=false gives %t, %v where the file has true", s.xattr, err)
	}
}

// A list in the environment is separated by commas; a list of one place hides those of the places
// after it; a flag adds to the flag before it alone.
func TestLists(t *testing.T) {
	for name, c := range map[string]struct {
		args, environ []string
		user, system  string
		want          []string
	}{
		"flags":           {[]string{"--plain-http=a.io", "--plain-http=b.io"}, []string{"OCIFS_PLAIN_HTTP=c.io"}, "", "", []string{"a.io", "b.io"}},
		"environment":     {nil, []string{"OCIFS_PLAIN_HTTP=a.io:5000, b.io,"}, "plain_http = ['c.io']", "", []string{"a.io:5000", "b.io"}},
		"empty variable":  {nil, []string{"OCIFS_PLAIN_HTTP="}, "plain_http = ['c.io']", "", []string{"c.io"}},
		"file":            {nil, nil, "plain_http = ['a.io', 'b.io']", "plain_http = ['c.io']", []string{"a.io", "b.io"}},
		"an empty list":   {nil, nil, "plain_http = []", "plain_http = ['c.io']", []string{}},
		"the system's":    {nil, nil, "", "plain_http = ['c.io']", []string{"c.io"}},
		"nothing at all ": {nil, nil, "", "", []string{}},
	} {
		s, err := loaded(t, c.args, c.environ, c.user, c.system)
		if err != nil || !slices.Equal(s.plainHTTP, c.want) {
			t.Errorf("%s: %q, %v, want %q", name, s.plainHTTP, err, c.want)
		}
	}
}

// A mistake in a file is told with the file, the line and the key, whichever place would win; one
// in the environment with the variable.
func TestMistakesAreNamed(t *testing.T) {
	for in, want := range map[string]string{
		"tag_ttl = '1s'\ncach-dir = '/x'":  `config.toml:2: there is no setting "cach-dir" \(is "cache-dir" meant\?\)`,
		"max_downlod = '1GB'":              `config.toml:1: there is no setting "max_downlod" \(is "max_download" meant\?\)`,
		"zzz = 1":                          `config.toml:1: there is no setting "zzz"$`,
		"foreground = true":                `config.toml:1: there is no setting "foreground"`,
		"[mount]\nxattr = true":            `config.toml:1: there is no setting "mount"`,
		"cache.dir = '/x'":                 `config.toml:1: there is no setting "cache"`,
		"\n\nconnections = '8'":            `config.toml:3: connections: write a number, without quotes`,
		"connections = 100":                `config.toml:1: connections: 100 isn't a number from 1 to 64`,
		"xattr = 'true'":                   `config.toml:1: xattr: write true or false, without quotes`,
		"xattr = 1":                        `config.toml:1: xattr: write true or false, without quotes`,
		"tag_ttl = 60":                     `config.toml:1: tag_ttl: write a text in quotes$`,
		"tag_ttl = '60'":                   `config.toml:1: tag_ttl: write a time as 90s`,
		"cache_size = '10 apples'":         `config.toml:1: cache_size: write a size as 48MiB`,
		"cache_size = 1.5":                 `config.toml:1: cache_size: write a size in quotes`,
		"plain_http = 'a.io'":              `config.toml:1: plain_http: write a list of texts, as \["HOST\[:PORT\]"`,
		"plain_http = [1]":                 `config.toml:1: plain_http: write a list of texts`,
		"verify = 'no'":                    `config.toml:1: verify: write whole or stream`,
		"cache_dir = 'x'":                  `config.toml:1: cache_dir: "x": write a path that begins with / or ~/`,
		"hosts_dir = ['x']":                `config.toml:1: hosts_dir: "x": write a path`,
		"cache_dir = '/x'\ncache-dir='/y'": `config.toml:2: cache-dir: it is set already: .*config.toml:1: cache_dir`,
		"a = 1\na = 2":                     `config.toml:2:`,
		"cache_dir = /x":                   `config.toml:1:13: `,
	} {
		for _, args := range [][]string{nil, {"--xattr", "--connections=1", "--tag-ttl=1s"}} {
			_, err := loaded(t, args, nil, "", in)
			if err == nil || !regexp.MustCompile(want).MatchString(err.Error()) || !errors.As(err, new(usageError)) {
				t.Errorf("%q: %v\nwant %s", in, err, want)
			}
		}
	}
	for in, want := range map[string]string{
		"OCIFS_XATTR=yes":         "OCIFS_XATTR: write true or false",
		"OCIFS_CONNECTIONS=0":     "OCIFS_CONNECTIONS: 0 isn't",
		"OCIFS_PLAIN_HTTP=a.io,/": "OCIFS_PLAIN_HTTP: ",
	} {
		if _, err := loaded(t, nil, []string{in}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", in, err, want)
		}
	}
	large := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(large, bytes.Repeat([]byte("#\n"), maxConfig/2+1), 0o600); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(t.TempDir(), "config.toml")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{t.TempDir(): "no regular file", pipe: "no regular file", "/dev/zero": "no regular file", large: "are allowed"} {
		if _, err := readConfig(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is read: %v, want %s", path, err, want)
		}
	}
}

// Paths of a file begin at the root or at the home.
func TestPathsOfFiles(t *testing.T) {
	t.Setenv("HOME", "/home/jane")
	s, err := loaded(t, nil, nil, "cache_dir = '~/c'\nlog_file = '/l'\nhosts_dir = ['~/h', '/h']")
	if err != nil || s.cacheDir != "/home/jane/c" || s.logFile != "/l" || !slices.Equal(s.hostsDirs, []string{"/home/jane/h", "/h"}) {
		t.Errorf("%s, %s, %q, %v", s.cacheDir, s.logFile, s.hostsDirs, err)
	}
}

// ~/ is the home in the environment, in flags and in mount options too, where no shell expands it. In
// fstab, a path that depends on the working directory is a mistake.
func TestHomeInPaths(t *testing.T) {
	t.Setenv("HOME", "/home/jane")
	s, err := loaded(t, []string{"--cache-dir=~/c"}, []string{"OCIFS_LOG_FILE=~/l", "OCIFS_HOSTS_DIR=~/h,/h"})
	if err != nil || s.cacheDir != "/home/jane/c" || s.logFile != "/home/jane/l" || !slices.Equal(s.hostsDirs, []string{"/home/jane/h", "/h"}) {
		t.Errorf("%s, %s, %q, %v", s.cacheDir, s.logFile, s.hostsDirs, err)
	}
	s = newSettings()
	if err := s.setOption("cache_dir", "~/c", true); err != nil || s.cacheDir != "/home/jane/c" {
		t.Errorf("as a mount option it is %s, %v", s.cacheDir, err)
	}
	if err := s.setOption("cache_dir", "c", true); err == nil || err.Error() != `mount option cache_dir: "c": write a path that begins with / or ~/` {
		t.Errorf("a relative mount option: %v", err)
	}
}

// The user's file is below $XDG_CONFIG_HOME, else below ~/.config, and goes before the system's;
// where there is no home, the system's alone counts for root.
func TestConfigFilesAreFound(t *testing.T) {
	for _, c := range []struct {
		home, xdg string
		want      []string
	}{
		{"/home/jane", "", []string{"/home/jane/.config/ocifs/config.toml", systemConfig}},
		{"/home/jane", "/etc/jane", []string{"/etc/jane/ocifs/config.toml", systemConfig}},
		{"/home/jane", "relative", []string{"/home/jane/.config/ocifs/config.toml", systemConfig}},
		{"", "", []string{systemConfig}},
	} {
		t.Setenv("HOME", c.home)
		t.Setenv("XDG_CONFIG_HOME", c.xdg)
		if got := usualSources().files; !slices.Equal(got, c.want) {
			t.Errorf("HOME=%s XDG_CONFIG_HOME=%s: %q, want %q", c.home, c.xdg, got, c.want)
		}
	}
}

// Mount options set what flags set, with _ or -, and are errors where they can't.
func TestOptions(t *testing.T) {
	s := newSettings()
	for _, o := range [][]string{{"allow_other"}, {"tag-ttl", "5s"}, {"tag_ttl", "6s"}, {"plain_http", "a.io"}, {"plain_http", "b.io,c.io"}, {"xattr", "false"}, {"cache_size", "500MB"}} {
		value := strings.Join(o[1:], "")
		if err := s.setOption(o[0], value, len(o) > 1); err != nil {
			t.Error(err)
		}
	}
	want := []string{"--allow-other=true", "--cache-size=500MB", "--tag-ttl=6s", "--plain-http=a.io", "--plain-http=b.io", "--plain-http=c.io", "--xattr=false"}
	if got := s.arguments(); !slices.Equal(got, want) {
		t.Errorf("the flags are %q, want %q", got, want)
	}
	again, err := loaded(t, s.arguments(), []string{"OCIFS_TAG_TTL=1s"})
	if err != nil || !again.allowOther || again.tagTTL != 6*time.Second || !slices.Equal(again.plainHTTP, s.plainHTTP) || again.cacheSize != 500e6 {
		t.Errorf("the flags give %+v, %v", again, err)
	}
	for want, o := range map[string]struct {
		name, value string
		has         bool
	}{
		`mount option: there is no setting "alow_other" (is "allow_other" meant?)`: {"alow_other", "", false},
		`mount option: there is no setting "foreground"`:                           {"foreground", "", false},
		"mount option cache_size: it needs a value: cache_size=SIZE":               {"cache_size", "", false},
		"mount option tag_ttl: it needs a value: tag_ttl=DURATION":                 {"tag_ttl", "", true},
		"mount option xattr: write true or false":                                  {"xattr", "maybe", true},
		"mount option ro: it takes no value: write ro alone":                       {"ro", "1", true},
		"mount option nodev: it takes no value: write nodev alone":                 {"nodev", "0", true},
	} {
		err := newSettings().setOption(o.name, o.value, o.has)
		if err == nil || err.Error() != want {
			t.Errorf("%+v: %v, want %s", o, err, want)
		}
		if errors.As(err, new(unknownSetting)) != (strings.Contains(want, "there is no") || strings.Contains(want, "no value")) {
			t.Errorf("%+v: %T", o, err)
		}
	}
}

// Contradictions and missing directories are told with the place where they were set.
func TestChecksNameThePlace(t *testing.T) {
	t.Setenv("HOME", "/home/jane")
	for want, c := range map[string]struct {
		args []string
		env  []string
		file string
	}{
		`^.*config.toml:1: allow_delete and --read-only: which`: {[]string{"--read-only"}, nil, "allow_delete = true"},
		`^OCIFS_HOSTS_DIR: .*no such file`:                      {nil, []string{"OCIFS_HOSTS_DIR=/absent"}, ""},
		`^--hosts-dir: /dev/null is not a directory`:            {[]string{"--hosts-dir=/dev/null"}, nil, ""},
		`^--cache-dir: it is empty`:                             {[]string{"--cache-dir="}, nil, ""},
	} {
		s, err := loaded(t, c.args, c.env, c.file)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.check(); err == nil || !regexp.MustCompile(want).MatchString(err.Error()) {
			t.Errorf("%+v: %v, want %s", c, err, want)
		}
	}
}

// config.json has every setting but the flag's own, as config.toml has them.
func TestEffectiveSettings(t *testing.T) {
	s, err := loaded(t, nil, nil, "tag_ttl = '5s'\nread_only = true\nconnections = 9\nunpacked_size = '2G'\nlog_level = 'debug'")
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(s.effective("ghcr.io", "/mnt", 48<<20))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"source":"ghcr.io"`, `"mountpoint":"/mnt"`, `"cache_size":50331648`, `"tag_ttl":"5s"`, `"read_only":true`, `"connections":9`,
		`"unpacked_size":2147483648`, `"log_level":"debug"`, `"plain_http":[]`, `"hosts_dir":[]`, `"verify":"whole"`, `"max_download":0`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%s isn't in %s", want, b)
		}
	}
	if strings.Contains(string(b), "foreground") {
		t.Errorf("foreground is in %s", b)
	}
}

// Every setting has one name, a group, a text without an end, and a default that is the same on
// each machine.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, row := range table {
		if seen[row.name] || row.letter != "" && seen["-"+row.letter] {
			t.Errorf("%s is there twice", row.name)
		}
		seen[row.name], seen["-"+row.letter] = true, true
		if row.group == "" || row.text == "" || strings.HasSuffix(row.text, ".") || row.name != strings.ToLower(row.name) || row.value(&settings{}).Type() == "" {
			t.Errorf("%+v", row)
		}
	}
	t.Setenv("HOME", "/elsewhere")
	c := &cobra.Command{}
	newSettings().register(c)
	if usage := c.Flags().FlagUsages(); strings.Contains(usage, "/elsewhere") || !strings.Contains(usage, "default ~/.cache/ocifs") {
		t.Errorf("the help depends on the home: %s", usage)
	}
	row, _ := settingOf("cache_dir")
	if row.name != "cache-dir" || row.variable() != "OCIFS_CACHE_DIR" || row.key() != "cache_dir" {
		t.Errorf("%+v is OCIFS_… %s and in files %s", row, row.variable(), row.key())
	}
}

// A variable that looks like a setting and is none is told once, with the one that may be meant.
func TestMisspeltVariablesAreTold(t *testing.T) {
	var log strings.Builder
	warnOfVariables(slog.New(slog.NewTextHandler(&log, nil)), []string{"OCIFS_CACHEDIR=/x", "OCIFS_CACHE_DIR=/y", "OCIFS_READY_FD=3", "OCIFS_ARGS=", "OCIFS_FOREGROUND=1", "HOME=/"})
	if strings.Count(log.String(), "\n") != 2 || !strings.Contains(log.String(), "name=OCIFS_CACHEDIR nearest=OCIFS_CACHE_DIR") || !strings.Contains(log.String(), "name=OCIFS_FOREGROUND") {
		t.Errorf("the log says %s", log.String())
	}
}

// The cache and doctor commands take their settings from the environment and the files as well,
// and tell mistakes there as mount does.
func TestOtherCommandsHaveSettings(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("CACHE_DIRECTORY", "")
	write := func(content string) {
		t.Helper()
		dir := filepath.Join(home, ".config", "ocifs")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "config.toml"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	names := func(want string, args ...string) {
		t.Helper()
		if out, err := output(args...); err != nil || !strings.Contains(out, want) {
			t.Errorf("%q: %v: %s\nwant %s", args, err, out, want)
		}
	}
	names(home+"/.cache/ocifs", "cache", "stats")
	write("cache_dir = '~/of-the-file'")
	names(home+"/of-the-file", "cache", "stats")
	t.Setenv("OCIFS_CACHE_DIR", home+"/of-the-environment")
	names(home+"/of-the-environment", "cache", "stats")
	names(home+"/of-the-flag", "cache", "stats", "--cache-dir", home+"/of-the-flag")
	t.Setenv("OCIFS_CACHE_DIR", "")
	write("hosts_dir = ['/absent']")
	if _, err := output("doctor"); err == nil || !strings.Contains(err.Error(), "config.toml:1: hosts_dir: stat /absent") {
		t.Errorf("doctor: %v", err)
	}
	write("unheard = 1")
	for _, args := range [][]string{{"doctor"}, {"cache", "stats"}, {"mount", "/absent"}} {
		if _, err := output(args...); err == nil || !strings.Contains(err.Error(), `config.toml:1: there is no setting "unheard"`) || !errors.As(err, new(usageError)) {
			t.Errorf("%q: %v", args, err)
		}
	}
}
