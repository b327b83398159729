package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// A command or a flag that isn't there is a usage error that names the nearest one.
func TestMisspeltCommandsAndFlags(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"moutn ghcr.io /mnt", `there is no command "ocifs moutn" (is 'ocifs mount' meant?)`},
		{"moutn -f /mnt", `there is no command "ocifs moutn" (is 'ocifs mount' meant?)`},
		{"umont /mnt", `is 'ocifs umount' meant?`},
		{"cache prun", `there is no command "ocifs cache prun" (is 'ocifs cache prune' meant?)`},
		{"cache prun --dry-run", `there is no command "ocifs cache prun" (is 'ocifs cache prune' meant?)`},
		{"completion tcsh", `there is no command "ocifs completion tcsh"`},
		{"version x", `no argument is taken, and "x" is given; usage: ocifs version`},
		{"cache stats x", `no argument is taken, and "x" is given`},
		{"zzzzzz", `there is no command "ocifs zzzzzz"; see 'ocifs --help'`},
		{"mount --cach-dir /x /mnt", `unknown flag: --cach-dir (is --cache-dir meant?); see 'ocifs mount --help'`},
		{"mount --cache_dir /x /mnt", `is --cache-dir meant?`},
		{"mount --zzzzzz /mnt", `unknown flag: --zzzzzz; see 'ocifs mount --help'`},
		{"cache stats --jsn", `is --json meant?`},
	} {
		_, err := output(strings.Fields(c.args)...)
		if err == nil || !strings.Contains(err.Error(), c.says) || !errors.As(err, new(usageError)) {
			t.Errorf("ocifs %s: %v\nwant %s", c.args, err, c.says)
		}
	}
}

// Every command that the help shows is in a group.
func TestCommandsAreInGroups(t *testing.T) {
	root := rootCommand()
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() && c.GroupID == "" {
			t.Errorf("%s is in no group", c.Name())
		}
	}
	help, err := output("--help")
	if err != nil {
		t.Fatal(err)
	}
	at := -1
	for _, g := range groups {
		if i := strings.Index(help, g.title); i <= at {
			t.Errorf("%s isn't in its place:\n%s", g.title, help)
		} else {
			at = i
		}
	}
}

// version tells the commit, its date and Go, of what the Makefile stamped, else of what Go knows.
func TestVersion(t *testing.T) {
	info := &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}, Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "2026-01-02T03:04:05Z"}, {Key: "vcs.modified", Value: "true"}}}
	b := buildOf(info)
	want := "ocifs devel\ncommit abc, with changes\ndate   2026-01-02T03:04:05Z\nGo     " + strings.TrimPrefix(runtime.Version(), "go") + " " + runtime.GOOS + "/" + runtime.GOARCH
	if b.String() != want {
		t.Errorf("it says\n%s\nwant\n%s", b, want)
	}
	t.Cleanup(func() { version, commit, date = "", "", "" })
	version, commit, date = "v1.2.3", "def", "2027-01-01T00:00:00Z"
	if b := buildOf(info); b.Version != "v1.2.3" || b.Commit != "def" || b.Date != "2027-01-01T00:00:00Z" {
		t.Errorf("stamped, it is %+v", b)
	}
	out, err := output("version", "--json")
	var fields map[string]any
	if err != nil || json.Unmarshal([]byte(out), &fields) != nil || fields["version"] != "v1.2.3" || fields["commit"] != "def" || fields["go"] != runtime.Version() {
		t.Errorf("%v: %s", err, out)
	}
	if short, err := output("--version"); err != nil || short != "ocifs v1.2.3\n" {
		t.Errorf("--version says %q, %v", short, err)
	}
	long, err := output("version")
	if err != nil || !bytes.HasPrefix([]byte(long), []byte("ocifs v1.2.3\ncommit def")) || !slices.Contains(strings.Split(long, "\n"), "date   2027-01-01T00:00:00Z") {
		t.Errorf("version says %q, %v", long, err)
	}
}
