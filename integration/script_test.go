package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
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
//   - machine, which runs a script of the shell on a machine of its own: see testdata/machine.sh
//   - $REGISTRY, a registry of its own (HOST:PORT), $TREE, how that is spelled in the tree, and in it the
//     image team/app:v1, whose manifest's digest is $DIGEST
//   - $WORK, its directory, where it stands; $HOME and $TMPDIR below it; oci, an empty directory to mount on
//   - "exits CODE PROGRAM…": as exec, where the exit code counts; a failure has to come with a sentence
//   - "push" and "registry": see push and registry
//   - the condition [root]
//
// Only programs look at a mount: "exec cat FILE", never "cmp FILE" or "exists FILE". This process serves the
// registry that the mount asks, see package mount. Mounts and daemons that a script leaves are taken away.
func TestScripts(t *testing.T) {
	t.Parallel()
	for _, file := range must(filepath.Glob("testdata/script/*.txtar"))(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			runScript(t, file)
		})
	}
}

// runScript runs one script, with more variables in its environment.
func runScript(t *testing.T, file string, vars ...string) {
	testscript.RunT(oneScript{t}, testscript.Params{
		Files:               []string{file},
		Deadline:            time.Now().Add(scriptLimit), // of this one: it begins when it has a turn
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Vars = vars
			return setUpScript(t, env)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "push": push, "registry": registry, "demo": demo, "transcript": transcript,
		},
		Condition: func(name string) (bool, error) {
			if name == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("there is no condition [%s]", name)
		},
	})
}

// oneScript makes the one script of a run the test that it is in.
type oneScript struct{ *testing.T }

func (o oneScript) Run(_ string, script func(testscript.T)) { script(o) }
func (oneScript) Parallel()                                 {}
func (oneScript) Verbose() bool                             { return testing.Verbose() }

// scripted is the test of a script and its registry, which its commands find as a value of the script.
type scripted struct {
	t *testing.T
	s *registries.Server
}

func setUpScript(t *testing.T, env *testscript.Env) error {
	s := startOlareg(t, registries.Options{})
	env.Values[scripted{}] = scripted{t, s}
	image, err := repo(t, s, testImage).Image(t.Context(), "v1", content.Small("x"))
	if err != nil {
		return err
	}
	in := func(names ...string) string { return filepath.Join(append([]string{env.WorkDir}, names...)...) }
	for _, dir := range []string{".bin", ".races", "home", "tmp", "oci"} {
		if err := os.MkdirAll(in(dir), 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(in(".races"), 0o777); err != nil { // other users write there too
		return err
	}
	for name, program := range map[string]string{
		"ocifs": raceBin, "mount.ocifs": raceBin, "mount.fuse.ocifs": raceBin, "machine": filepath.Join(root, "integration/testdata/machine.sh"),
	} {
		if err := os.Symlink(program, in(".bin", name)); err != nil {
			return err
		}
	}
	env.Vars = append(append(mount.Env(in("home"), in(".bin"), toolsDir),
		"WORK="+env.WorkDir, "TMPDIR="+in("tmp"), "PROBE="+probeBin,
		// A program with the race detector ends a second late by default: for what other threads still find.
		"GORACE=halt_on_error=1 exitcode=66 atexit_sleep_ms=50 log_path="+in(".races", "race"),
		"REGISTRY="+s.Host, "TREE="+treeName(s), "DIGEST="+image.Digest.Encoded(),
	), env.Vars...)
	late := time.AfterFunc(scriptLimit, func() { _ = mount.Clear(env.WorkDir) })
	env.Defer(func() {
		late.Stop()
		s.Heal() // nothing waits any more
		endScript(t, env.WorkDir)
	})
	return nil
}

// endScript takes away what a script left, and looks for data races.
func endScript(t *testing.T, dir string) {
	for pid := range scriptProcesses(dir) {
		_ = syscall.Kill(pid, syscall.SIGCONT) // one that is stopped can't end
	}
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
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			break
		}
	}
	for _, race := range must(filepath.Glob(filepath.Join(dir, ".races/*")))(t) {
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
