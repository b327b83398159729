package main

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// completed is what a shell offers for the last of some arguments, and how.
func completed(t *testing.T, args ...string) (offered []string, directive cobra.ShellCompDirective) {
	t.Helper()
	out, err := output(append([]string{cobra.ShellCompNoDescRequestCmd}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out) {
		line = strings.TrimSuffix(line, "\n")
		if number, ok := strings.CutPrefix(line, ":"); ok {
			n, err := strconv.Atoi(number)
			if err != nil {
				t.Fatalf("%q: %v", out, err)
			}
			return offered, cobra.ShellCompDirective(n)
		}
		offered = append(offered, line)
	}
	t.Fatalf("%q has no directive", out)
	return nil, 0
}

// configured makes a home with credentials for two hosts and files about a third.
func configured(t *testing.T) (home string) {
	t.Helper()
	home = t.TempDir()
	for _, name := range []string{"CACHE_DIRECTORY", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "DOCKER_AUTH_CONFIG"} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", home)
	for path, content := range map[string]string{
		".docker/config.json": `{"auths":{"ghcr.io":{"auth":"YTpi"},"quay.example:5000":{}},"credsStore":"never-run-by-a-completion"}`,
		".config/containerd/certs.d/mirrored.example/hosts.toml": "server = 'https://mirrored.example'",
		".config/ocifs/config.toml":                              "plain_http = ['plain.example']",
		"more/other.example/hosts.toml":                          "server = 'https://other.example'",
	} {
		path = filepath.Join(home, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return home
}

// SOURCE and doctor's HOST complete to the hosts of credentials, of hosts.toml files and of the
// settings, without a space behind, because a repository may follow. No credential helper is run.
func TestHostsComplete(t *testing.T) {
	home := configured(t)
	const noSpace = cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"mount", ""}, []string{"ghcr.io", "mirrored.example", "plain.example", "quay.example:5000"}},
		{[]string{"doctor", "gh"}, []string{"ghcr.io"}},
		{[]string{"mount", "--read-only", "mi"}, []string{"mirrored.example"}},
		{[]string{"mount", "--plain-http", "qu"}, []string{"quay.example:5000"}},
		{[]string{"doctor", "--hosts-dir", home + "/more", "o"}, []string{"other.example"}},
		{[]string{"doctor", "--hosts-dir", home + "/more", "mi"}, nil},
		{[]string{"doctor", "nowhere"}, nil},
	} {
		got, directive := completed(t, c.args...)
		// The host's own files are there as well.
		missing := slices.DeleteFunc(slices.Clone(c.want), func(h string) bool { return slices.Contains(got, h) })
		if len(missing) > 0 || len(c.want) == 0 && len(got) > 0 || directive != noSpace {
			t.Errorf("%q: %q, %v, want %q, without a space", c.args, got, directive, c.want)
		}
	}
}

// MOUNTPOINT, and what isn't a known host, completes to directories; after it comes nothing.
func TestDirectoriesComplete(t *testing.T) {
	configured(t)
	for _, args := range [][]string{{"mount", "ghcr.io", ""}, {"mount", "/m"}, {"mount", "./m"}, {"mount", "~/m"}, {"mount", "mnt"}, {"mount", "--cache-dir", ""}, {"cache", "stats", "--cache-dir", ""}, {"doctor", "--hosts-dir", ""}} {
		if got, directive := completed(t, args...); len(got) > 0 || directive != cobra.ShellCompDirectiveFilterDirs {
			t.Errorf("%q: %q, %v", args, got, directive)
		}
	}
	for _, args := range [][]string{{"mount", "ghcr.io", "/mnt", ""}, {"doctor", "ghcr.io", ""}, {"mount", "--tag-ttl", ""}, {"mount", "--cache-size", ""}} {
		if got, directive := completed(t, args...); len(got) > 0 || directive != cobra.ShellCompDirectiveNoFileComp {
			t.Errorf("%q: %q, %v", args, got, directive)
		}
	}
	if got, directive := completed(t, "mount", "--log-file", ""); len(got) > 0 || directive != cobra.ShellCompDirectiveDefault {
		t.Errorf("--log-file: %q, %v", got, directive)
	}
}

// The values of a flag that has some are offered.
func TestChoicesComplete(t *testing.T) {
	for flag, want := range map[string][]string{"--verify": {"whole", "stream"}, "--symlinks": {"confined", "verbatim"}, "--log-format": {"text", "json"}, "--log-level": {"debug", "info", "warn", "error"}} {
		if got, directive := completed(t, "mount", flag, ""); !slices.Equal(got, want) || directive != cobra.ShellCompDirectiveNoFileComp {
			t.Errorf("%s: %q, %v, want %q", flag, got, directive, want)
		}
	}
	if got, _ := completed(t, "mount", "--platform", ""); !slices.Contains(got, "linux/arm64") {
		t.Errorf("--platform: %q", got)
	}
}

// A file that hangs doesn't hang the Tab key.
func TestCompletionGivesUpOnAHangingFile(t *testing.T) {
	home := configured(t)
	t.Setenv("DOCKER_CONFIG", home)
	pipe := filepath.Join(home, ".config/ocifs/config.toml")
	if err := os.Remove(pipe); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // whoever still waits for a writer gets one
		if f, err := os.OpenFile(pipe, os.O_RDWR, 0); err == nil {
			f.Close()
		}
	})
	began := time.Now()
	if got, directive := completed(t, "mount", "gh"); len(got) > 0 || directive != cobra.ShellCompDirectiveFilterDirs || time.Since(began) > 5*time.Second {
		t.Errorf("%q, %v after %v", got, directive, time.Since(began))
	}
}
