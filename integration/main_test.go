package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/mount"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// What the tests run, by absolute paths.
var (
	root      string // of the whole checkout
	plainBin  string
	raceBin   string
	probeBin  string
	toolsDir  string
	testImage = "team/app" // the repository of most tests
)

func TestMain(m *testing.M) {
	if err := prepare(); err != nil {
		fmt.Fprintf(os.Stderr, "integration: %v\n", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// prepare builds the program as it is now, and makes sure that nothing is
// missing: a test that can't run is a failure.
func prepare() error {
	wd, err := os.Getwd()
	if err != nil {
		return err
	}
	root = filepath.Dir(wd)
	plainBin, raceBin = filepath.Join(root, "bin/ocifs"), filepath.Join(root, "bin/ocifs-race")
	probeBin, toolsDir = filepath.Join(root, "bin/probe"), filepath.Join(root, "bin/tools")
	for _, build := range [][]string{
		{"make", "-s", "-C", root, "build", "race"},
		{"go", "build", "-o", probeBin, "./cmd/probe"},
	} {
		if out, err := exec.Command(build[0], build[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(build, " "), err, out)
		}
	}
	for _, tool := range []string{"crane", "oras", "regctl", "umoci"} {
		if _, err := os.Stat(filepath.Join(toolsDir, tool)); err != nil {
			return fmt.Errorf("%w: run `make setup` first", err)
		}
	}
	for _, tool := range []string{"skopeo", "umoci", "docker-registry", "jq", "rsync", "curl", "zstd", "make", "buildah", "rclone", "busybox"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%w: run `make setup` first", err)
		}
	}
	return nil
}

// must gives a value or ends the test: must(f())(t).
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// startDistribution keeps content on disk: distribution's memory is slow with
// big blobs.
func startDistribution(t *testing.T, o registries.Options) *registries.Server {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	s := must(registries.Distribution(context.WithoutCancel(t.Context()), o))(t)
	t.Cleanup(func() { s.Close() })
	return s
}

func startOlareg(t *testing.T, o registries.Options) *registries.Server {
	t.Helper()
	s := must(registries.Olareg(o))(t)
	t.Cleanup(func() { s.Close() })
	return s
}

func startDebian(t *testing.T, o registries.Options) *registries.Server {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	s := must(registries.Debian(context.WithoutCancel(t.Context()), o))(t)
	t.Cleanup(func() { s.Close() })
	return s
}

// onEvery runs a test against one registry of each kind.
func onEvery(t *testing.T, o registries.Options, test func(t *testing.T, s *registries.Server)) {
	t.Run("distribution", func(t *testing.T) { test(t, startDistribution(t, o)) })
	t.Run("olareg", func(t *testing.T) { test(t, startOlareg(t, o)) })
	t.Run("docker-registry", func(t *testing.T) { test(t, startDebian(t, o)) })
}

// repo gives a repository to push to.
func repo(t *testing.T, s *registries.Server, path string) *content.Repo {
	t.Helper()
	return must(content.To(s.Host, path, "", ""))(t)
}

// mounting says how a test wants its mount. The zero value mounts everything on
// a new mountpoint with a new cache, with the race detector.
type mounting struct {
	source string
	flags  []string
	env    []string
	cache  string // shared or kept from an earlier mount
	dir    string // kept from an earlier mount
	plain  bool   // without the race detector: for measurements
	setup  func(home string)
}

// mounted is a mount of a test.
type mounted struct {
	*mount.Mount
	t      *testing.T
	ended  bool // by unmount
	killed bool // by the test itself: nothing clean is expected
}

// testMount mounts, and unmounts when the test has ended, however it ended. An
// unclean end of the daemon fails the test.
func testMount(t *testing.T, o mounting) *mounted {
	t.Helper()
	m := &mounted{t: t, Mount: must(mount.Start(limit(t, 30*time.Second), o.options(t)))(t)}
	t.Cleanup(m.unmount)
	return m
}

func (o mounting) options(t *testing.T) mount.Options {
	t.Helper()
	if o.cache == "" {
		o.cache = filepath.Join(t.TempDir(), "cache")
	}
	if o.dir == "" {
		o.dir = t.TempDir()
	}
	home := t.TempDir()
	if o.setup != nil {
		o.setup(home)
	}
	binary := raceBin
	if o.plain {
		binary = plainBin
	}
	return mount.Options{
		Binary: binary, Dir: o.dir, Cache: o.cache, Home: home,
		Source: o.source, Flags: o.flags, Env: o.env,
	}
}

// forTest is the mount for a part of the test that it belongs to.
func (m *mounted) forTest(t *testing.T) *mounted {
	c := *m
	c.t = t
	return &c
}

// shell gives a function that runs commands in one shell that goes on between
// them, until the mount ends.
func (m *mounted) shell() func(command string) string {
	m.t.Helper()
	sh := must(mount.NewShell(m.env()))(m.t)
	m.t.Cleanup(func() { sh.Close() }) // before the mount's own clean-up
	return func(command string) string {
		m.t.Helper()
		out, err := sh.Do(command)
		if err != nil {
			m.t.Fatalf("%v: %s", err, out)
		}
		return out
	}
}

// unmount ends the mount once, before the test's end or at it.
func (m *mounted) unmount() {
	if m.ended {
		return
	}
	m.ended = true
	if m.t.Failed() {
		m.t.Logf("the daemon's log:\n%s", m.Output())
	}
	if m.killed {
		m.Kill()
	} else if err := m.Unmount(); err != nil {
		m.t.Error(err)
	}
}

// limit is the test's context with a time-out.
func limit(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// treeName is how a registry's host stands in the tree.
func treeName(s *registries.Server) string { return strings.ReplaceAll(s.Host, ":", "_") }

// at is the path of a repository, or of something in it.
func (m *mounted) at(s *registries.Server, path ...string) string {
	return filepath.Join(append([]string{m.Dir, treeName(s)}, path...)...)
}

// env is the environment of the programs that look at the mount.
func (m *mounted) env() []string {
	return append(mount.Env(m.Home, toolsDir), "M="+m.Dir)
}

// run runs a script against the mount. The mountpoint is $M in it.
func (m *mounted) run(script string) mount.Result {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), 90*time.Second)
	defer cancel()
	r, err := mount.Run(ctx, m.env(), script)
	if err != nil {
		m.t.Fatal(err)
	}
	return r
}

// sh runs a script that has to succeed, and gives what it printed.
func (m *mounted) sh(format string, args ...any) string {
	m.t.Helper()
	script := fmt.Sprintf(format, args...)
	r := m.run(script)
	if r.Code != 0 {
		m.t.Fatalf("%s\nexit code %d\n%s%s\nerrors.jsonl:\n%s", script, r.Code, r.Stdout, r.Stderr, m.failures())
	}
	return r.Stdout
}

// failures is the text of .ocifs/errors.jsonl.
func (m *mounted) failures() string {
	return m.run("tail -n 5 $M/.ocifs/errors.jsonl").Stdout
}

// probe does one thing to a path and checks what came of it: "ok…" or an errno.
func (m *mounted) probe(want, what string, args ...string) {
	m.t.Helper()
	got := m.probed(what, args...)
	if got != want && !(want == "ok" && strings.HasPrefix(got, "ok")) {
		m.t.Errorf("probe %s %s: %s, want %s\nerrors.jsonl:\n%s", what, strings.Join(args, " "), got, want, m.failures())
	}
}

func (m *mounted) probed(what string, args ...string) string {
	m.t.Helper()
	quoted := []string{probeBin, what}
	for _, a := range args {
		quoted = append(quoted, quote(a))
	}
	r := m.run(strings.Join(quoted, " "))
	if r.Stderr != "" {
		m.t.Fatalf("probe %s: %s", what, r.Stderr)
	}
	return strings.TrimSpace(r.Stdout)
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// list gives the names in a directory, sorted by byte.
func (m *mounted) list(dir string) []string {
	m.t.Helper()
	names := strings.Split(strings.TrimRight(m.sh("ls -A1 %s", quote(dir)), "\n"), "\n")
	if len(names) == 1 && names[0] == "" {
		return nil
	}
	slices.Sort(names)
	return names
}

// lists checks the names in a directory.
func (m *mounted) lists(dir string, want ...string) {
	m.t.Helper()
	slices.Sort(want)
	if got := m.list(dir); !slices.Equal(got, want) {
		m.t.Errorf("%s holds\n  %q, want\n  %q", dir, got, want)
	}
}

// holds checks the bytes of a file.
func (m *mounted) holds(path string, want []byte) {
	m.t.Helper()
	if got := m.sh("cat %s", quote(path)); got != string(want) {
		m.t.Errorf("%s holds %d bytes %.80q…, want %d bytes %.80q…", path, len(got), got, len(want), want)
	}
}

// links checks that path is a relative symlink to want, and that want is there.
func (m *mounted) links(path, want string) {
	m.t.Helper()
	target := strings.TrimSuffix(m.sh("readlink %s && test -e %s", quote(path), quote(path)), "\n")
	if got := filepath.Join(filepath.Dir(path), target); filepath.IsAbs(target) || got != want {
		m.t.Errorf("%s → %s, want a relative path to %s", path, target, want)
	}
}

// failure is a line of .ocifs/errors.jsonl.
type failure struct {
	Time                         time.Time
	Path, Op, Errno, Cause, Hint string
}

// lastFailure gives the last line of .ocifs/errors.jsonl with that errno.
func (m *mounted) lastFailure(errno string) failure {
	m.t.Helper()
	var last failure
	for line := range strings.Lines(m.sh("cat $M/.ocifs/errors.jsonl")) {
		var f failure
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			m.t.Fatalf("errors.jsonl: %v in %q", err, line)
		}
		if f.Errno == errno {
			last = f
		}
	}
	if last.Errno == "" {
		m.t.Errorf("errors.jsonl has no line with %s:\n%s", errno, m.failures())
	}
	return last
}

// costs runs a step and checks what it asked of the registry.
func costs(t *testing.T, s *registries.Server, what string, want registries.Counts, step func()) {
	t.Helper()
	s.Forget()
	step()
	if got := s.Counts(); got.String() != want.String() {
		t.Errorf("%s cost %v, want %v\n%v", what, got, want, s.Requests())
	}
}
