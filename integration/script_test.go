package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/mount"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// scriptLimit is how long a script may take. What still runs then is ended, and what waits for a
// mount fails.
const scriptLimit = 3 * time.Minute

// TestScripts runs the scripts of testdata/script, each as a test of its own: what a person types,
// and what comes of it. The syntax is testscript's. A script has:
//
//   - ocifs, mount.ocifs and mount.fuse.ocifs in PATH, with the race detector, and the peers of bin/tools
//   - $REGISTRY, a registry of its own (HOST:PORT), $TREE, how that is spelled in the tree, and in it the
//     image team/app:v1, whose manifest's digest is $DIGEST
//   - $WORK, its directory, where it stands; $HOME and $TMPDIR below it; oci, an empty directory to mount on
//   - "exits CODE PROGRAM…": as exec, where the exit code counts; a failure has to come with a sentence
//   - the condition [root]
//
// Only programs look at a mount: "exec cat FILE", never "cmp FILE" or "exists FILE". This process serves the
// registry that the mount asks, see package mount. Mounts and daemons that a script leaves are taken away.
func TestScripts(t *testing.T) {
	t.Parallel()
	files := must(filepath.Glob("testdata/script/*.txtar"))(t)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			testscript.RunT(oneScript{t}, testscript.Params{
				Files:               []string{file},
				Deadline:            time.Now().Add(scriptLimit), // of this one: it begins when it has a turn
				RequireExplicitExec: true,
				RequireUniqueNames:  true,
				Setup:               func(env *testscript.Env) error { return setUpScript(t, env) },
				Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
				Condition: func(name string) (bool, error) {
					if name == "root" {
						return os.Geteuid() == 0, nil
					}
					return false, fmt.Errorf("there is no condition [%s]", name)
				},
			})
		})
	}
}

// oneScript makes the one script of a run the test that it is in.
type oneScript struct{ *testing.T }

func (o oneScript) Run(_ string, script func(testscript.T)) { script(o) }
func (oneScript) Parallel()                                 {}
func (oneScript) Verbose() bool                             { return testing.Verbose() }

func setUpScript(t *testing.T, env *testscript.Env) error {
	s := startOlareg(t, registries.Options{})
	image, err := repo(t, s, testImage).Image(t.Context(), "v1", content.Small("x"))
	if err != nil {
		return err
	}
	bin := filepath.Join(env.WorkDir, ".bin")
	for _, dir := range []string{bin, filepath.Join(env.WorkDir, "home"), filepath.Join(env.WorkDir, "tmp"), filepath.Join(env.WorkDir, "oci")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	for _, name := range []string{"ocifs", "mount.ocifs", "mount.fuse.ocifs"} {
		if err := os.Symlink(raceBin, filepath.Join(bin, name)); err != nil {
			return err
		}
	}
	env.Vars = append(mount.Env(filepath.Join(env.WorkDir, "home"), bin, toolsDir),
		"WORK="+env.WorkDir, "TMPDIR="+filepath.Join(env.WorkDir, "tmp"),
		"GORACE=halt_on_error=1 exitcode=66 log_path="+filepath.Join(env.WorkDir, ".race"),
		"REGISTRY="+s.Host, "TREE="+treeName(s), "DIGEST="+image.Digest.Encoded(),
	)
	late := time.AfterFunc(scriptLimit, func() { _ = mount.Clear(env.WorkDir) })
	env.Defer(func() {
		late.Stop()
		endScript(t, env.WorkDir)
	})
	return nil
}

// endScript takes away what a script left, and looks for data races.
func endScript(t *testing.T, dir string) {
	if err := mount.Clear(dir); err != nil {
		t.Error(err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		left := scriptProcesses(dir)
		if len(left) == 0 {
			break
		}
		if time.Now().After(end) {
			for pid, command := range left {
				t.Errorf("it left process %d behind: %s", pid, command)
				if p, err := os.FindProcess(pid); err == nil {
					_ = p.Kill()
				}
			}
			break
		}
	}
	for _, race := range must(filepath.Glob(filepath.Join(dir, ".race.*")))(t) {
		t.Errorf("a data race: %s", must(os.ReadFile(race))(t))
	}
}

// scriptProcesses are the processes with the script's environment, and their commands: daemons.
func scriptProcesses(dir string) map[int]string {
	left := map[int]string{}
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		env, err := os.ReadFile(file)
		if err != nil || !strings.Contains("\x00"+string(env), "\x00WORK="+dir+"\x00") {
			continue // gone, or another's
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			command, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
			left[pid] = strings.ReplaceAll(string(command), "\x00", " ")
		}
	}
	return left
}

// trace is of a program that broke down.
var trace = regexp.MustCompile(`(?m)^(panic: |goroutine \d|fatal error: )`)

// exits runs a program, and checks its exit code, and that a failure comes with a sentence.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG…]")
	}
	want, err := strconv.Atoi(args[0])
	if err != nil {
		ts.Fatalf("exits: %v", err)
	}
	code := 0
	err = ts.Exec(args[1], args[2:]...)
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	said := ts.ReadFile("stderr")
	switch {
	case code != want:
		ts.Fatalf("exit code %d, want %d", code, want)
	case code != 0 && (strings.TrimSpace(said) == "" || strings.Count(said, "\n") > 4):
		ts.Fatalf("it failed without a sentence that says why")
	case trace.MatchString(said):
		ts.Fatalf("it broke down")
	}
}
