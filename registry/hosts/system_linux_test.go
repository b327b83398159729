package hosts

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// system is the authority that the system trusts while these tests run, and the only one.
var system = newIssuer("system")

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "hosts-roots-")
	if err != nil {
		panic(err)
	}
	file := filepath.Join(dir, "roots.pem")
	if err := os.WriteFile(file, system.pem, 0o600); err != nil {
		panic(err)
	}
	_ = os.Setenv("SSL_CERT_FILE", file)
	_ = os.Setenv("SSL_CERT_DIR", filepath.Join(dir, "none"))
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// An authority that is configured is one more: those of the system, by SSL_CERT_FILE here,
// are trusted still, and that is so with and without it.
//
// Behaviour: mirror.certs
func TestAnAuthorityIsAddedToTheSystems(t *testing.T) {
	known, extra := system.serve(t, nil), newIssuer("extra")
	for name, f := range map[string]files{
		"nothing":      nil,
		"docker's":     {"certs/" + known + "/ca.crt": string(extra.pem)},
		"containerd's": {"toml/" + known + "/hosts.toml": "ca = 'ca.pem'", "toml/" + known + "/ca.pem": string(extra.pem)},
	} {
		finder, _ := finder(t, f)
		e := record(t, finder, known).Server
		if _, err := get(t, e); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if (e.TLS == nil) != (f == nil) {
			t.Errorf("%s: got TLS settings %v", name, e.TLS)
		}
	}
}

// asSomebodyElse runs do as a user who may read nothing that isn't open to all. Root,
// who may read everything, becomes another user on this thread.
func asSomebodyElse(t *testing.T, do func()) {
	t.Helper()
	if os.Getuid() != 0 {
		do()
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Setfsuid(65534); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setfsuid(0); err != nil {
			t.Fatal(err)
		}
	}()
	do()
}

// What belongs to another user (the daemon's directory, its key) is left out and told once. A
// hosts.toml that can't be read is an error: somebody configured this very host.
func TestWhatIsAnotherUsersIsAWarning(t *testing.T) {
	authority := newIssuer("servers")
	c, k := authority.issue(t, "daemon")
	cert, key := string(c), string(k)
	all := files{
		"toml/a.example/hosts.toml": "dial_timeout = '1s'",
		"toml/_default/hosts.toml":  "dial_timeout = '2s'",
		"certs/a.example/ca.crt":    string(authority.pem), "certs/a.example/d.cert": cert, "certs/a.example/d.key": key,
	}
	for _, c := range []struct {
		closed  string
		warning string // "" where it is an error
		timeout string // of the record
		files   int
	}{
		{"toml", "toml", "0s", 3},
		{"toml/a.example", "toml/a.example", "2s", 4},
		{"toml/a.example/hosts.toml", "", "", 0},
		{"certs", "certs", "1s", 1},
		{"certs/a.example", "certs/a.example", "1s", 1},
		{"certs/a.example/d.key", "certs/a.example/d.cert", "1s", 3},
		{"certs/a.example/ca.crt", "certs/a.example/ca.crt", "1s", 3},
	} {
		f, dir := finder(t, all)
		logged := logTo(f)
		chmod(t, filepath.Dir(dir), 0o755) // which is the test's, and its own user's at first
		chmod(t, filepath.Join(dir, c.closed), 0)
		asSomebodyElse(t, func() {
			r, err := f.Record("a.example")
			again, errAgain := f.Record("a.example")
			if again != r || errAgain != err {
				t.Errorf("%s: it is another one at once", c.closed)
			}
			if c.warning == "" {
				if err == nil || !strings.Contains(err.Error(), c.closed+": permission denied") {
					t.Errorf("%s: got %v, %v", c.closed, r, err)
				}
				return
			}
			if err != nil || r.Server.DialTimeout.String() != c.timeout || len(r.Files) != c.files {
				t.Errorf("%s: got %+v, %v", c.closed, r, err)
			}
			later(f)
			if _, err := f.Record("a.example"); err != nil {
				t.Error(err)
			}
			if _, err := f.Record("b.example"); err != nil {
				t.Error(err)
			}
			told := strings.Fields(logged.String())
			if n := strings.Count(logged.String(), "level=WARN"); n != 1 || !slices.Contains(told, "file="+filepath.Join(dir, c.warning)) {
				t.Errorf("%s: told %d times, want once of %s:\n%s", c.closed, n, c.warning, logged)
			}
			f.Hosts() // which has nothing to do with who may read what
		})
		chmod(t, filepath.Join(dir, c.closed), 0o755) // so that it can be removed
	}
}

// A directory that couldn't be looked into, and goes away, is a change like any other.
func TestAClosedDirectoryMayGoAway(t *testing.T) {
	f, dir := finder(t, files{"certs/a.example/ca.crt": "none"})
	closed := filepath.Join(dir, "certs/a.example")
	chmod(t, filepath.Dir(dir), 0o755)
	chmod(t, closed, 0)
	var first *Record
	asSomebodyElse(t, func() { first = record(t, f, "a.example") })
	if err := os.Rename(closed, closed+".gone"); err != nil {
		t.Fatal(err)
	}
	later(f)
	if second := record(t, f, "a.example"); second == first {
		t.Error("wasn't noticed")
	}
	chmod(t, closed+".gone", 0o755)
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}
