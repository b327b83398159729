package integration

import (
	cryptotls "crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/mount"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// command runs ocifs with a home and a cache of the test's own. What needs no server that
// misbehaves is a script: see TestScripts.
type command struct {
	t    *testing.T
	home string
}

func newCommand(t *testing.T) *command { return &command{t, t.TempDir()} }

// run runs a script in which `ocifs` is the program.
func (c *command) run(script string) mount.Result {
	c.t.Helper()
	env := append(mount.Env(c.home, toolsDir), "XDG_CACHE_HOME="+c.home+"/cache-home", "XDG_STATE_HOME="+c.home+"/state",
		"GORACE=halt_on_error=1 exitcode=66 log_path="+c.home+"/race")
	r, err := mount.Run(limit(c.t, time.Minute), env, fmt.Sprintf("ocifs() { %s \"$@\"; }\n%s", quote(raceBin), script))
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

// ends checks the exit code, and that a failure comes with a sentence.
func (c *command) ends(code int, script string) mount.Result {
	c.t.Helper()
	r := c.run(script)
	if r.Code != code {
		c.t.Errorf("%s: exit code %d, want %d\n%s%s", script, r.Code, code, r.Stdout, r.Stderr)
	}
	if code != 0 && strings.TrimSpace(r.Stderr) == "" {
		c.t.Errorf("%s: failed without a word", script)
	}
	if strings.Contains(r.Stderr, "panic") || strings.Contains(r.Stderr, "goroutine ") {
		c.t.Errorf("%s: %s", script, r.Stderr)
	}
	return r
}

// diagnosis is what `ocifs doctor --json` prints.
type diagnosis struct {
	Checks []struct{ Group, Name, State, Found, Next string }
	OK     bool
}

// doctor runs `ocifs doctor --json` and checks its exit code, and that it left nothing
// behind in its temporary directory.
func (c *command) doctor(code int, args string) diagnosis {
	c.t.Helper()
	r := c.ends(code, "mkdir -p $HOME/tmp && export TMPDIR=$HOME/tmp && ocifs doctor --json "+args)
	var d diagnosis
	if err := json.Unmarshal([]byte(r.Stdout), &d); err != nil {
		c.t.Fatalf("ocifs doctor --json %s: %v in %q", args, err, r.Stdout)
	}
	if d.OK != (code == 0) {
		c.t.Errorf("ocifs doctor --json %s says ok: %t, and ends with %d", args, d.OK, code)
	}
	c.leftNothing()
	return d
}

func (c *command) leftNothing() {
	c.t.Helper()
	if left := c.run("ls -A $HOME/tmp; grep -F \" $HOME/tmp\" /proc/self/mountinfo").Stdout; left != "" {
		c.t.Errorf("doctor left behind: %s", left)
	}
	if races, _ := filepath.Glob(c.home + "/race.*"); len(races) > 0 {
		c.t.Errorf("doctor has a data race: see %s", c.run("cat $HOME/race.*").Stdout)
	}
}

// says checks the state of a check, and what it found and what comes next. A state of
// "" is a check that isn't there.
func (d diagnosis) says(t *testing.T, name, state, found, next string) {
	t.Helper()
	for _, c := range d.Checks {
		if c.Name != name {
			continue
		}
		if c.State != state || !strings.Contains(c.Found, found) || !strings.Contains(c.Next, next) {
			t.Errorf("%s is %s: %s → %s\nwant %s: %s → %s", name, c.State, c.Found, c.Next, state, found, next)
		}
		if (c.State == "wrong" || c.State == "warning") && c.Next == "" || c.State == "ok" && c.Next != "" {
			t.Errorf("%s is %s: %s, and what comes next is %q", name, c.State, c.Found, c.Next)
		}
		return
	}
	if state != "" {
		t.Errorf("nothing is said of %s", name)
	}
}

// Each registry is told for what it is, and is afterwards as it was before.
func TestDoctorOfARegistry(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]struct {
		start              func(*testing.T, registries.Options) *registries.Server
		catalog, referrers string // state and text
	}{
		"distribution":    {startDistribution, "ok", "tag schema"},
		"olareg":          {startOlareg, "warning", "by the API"},
		"docker-registry": {startDebian, "ok", "tag schema"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := kind.start(t, registries.Options{Dir: dir})
			must(repo(t, s, testImage).Image(t.Context(), "v1", content.Small("x")))(t)
			c := newCommand(t)
			files := func() string { // without what distribution leaves of a session that is cancelled
				return c.run("cd " + quote(dir) + " && find . -type f ! -path '*/hashstates/*' | sort").Stdout
			}
			before := files()
			s.Forget()
			d := c.doctor(0, s.Host+"/"+testImage)
			d.says(t, "address", "ok", "127.0.0.1", "")
			d.says(t, "connection", "ok", "127.0.0.1", "")
			d.says(t, "encryption", "ok", "plain HTTP", "")
			d.says(t, "api", "ok", "/v2/ answers 200", "")
			d.says(t, "login", "ok", "none is asked for", "")
			d.says(t, "round-trip", "ok", "s a request", "")
			d.says(t, "catalog", kind.catalog, "catalog", "")
			d.says(t, "repository", "ok", testImage+":v1 can be read", "")
			d.says(t, "referrers", "ok", kind.referrers, "")
			d.says(t, "range", "ok", "parts of blobs can be read", "")
			d.says(t, "blob-mount", "ok", "without being sent", "")
			d.says(t, "delete", "ok", "--allow-delete", "")
			d.says(t, "rate-limit", "", "", "")
			for _, r := range s.Requests() {
				if r.Method == http.MethodPut || r.Method == http.MethodPatch {
					t.Errorf("it sent %v", r)
				}
			}
			if after := files(); after != before {
				t.Errorf("it changed the registry from\n%s\nto\n%s", before, after)
			}

			// Of a host alone, the catalog names the repository, if there is one.
			d = c.doctor(0, "http://"+s.Host)
			d.says(t, "name", "ok", "taken for "+s.Host, "")
			if kind.catalog == "ok" {
				d.says(t, "repository", "ok", testImage+":v1", "")
			} else {
				d.says(t, "repository", "unknown", "", "ocifs doctor "+s.Host+"/REPOSITORY")
			}

			// What isn't offered, or is refused, is told from what is.
			s.Fault(registries.Fault{Method: "DELETE", Path: "/manifests/", Status: 405})
			s.Fault(registries.Fault{Method: "POST", NoMount: true})
			s.Fault(registries.Fault{Method: "GET", Path: "/blobs/", NoRange: true})
			s.Fault(registries.Fault{Path: "/_catalog", Status: 401})
			d = c.doctor(0, s.Host+"/"+testImage)
			d.says(t, "delete", "warning", "nothing can be deleted", "allow it")
			d.says(t, "blob-mount", "warning", "aren't taken over", "")
			d.says(t, "range", "warning", "begins anew", "proxy")
			d.says(t, "catalog", "warning", "isn't shown", "ls MOUNTPOINT")
			s.Heal()
			if after := files(); after != before {
				t.Errorf("it left a session: from\n%s\nto\n%s", before, after)
			}
		})
	}
}

// The credential that counts is named, and whether it is let in; a wrong password is
// told from none. No secret is printed, and none goes along where none was asked for.
func TestDoctorOfACredential(t *testing.T) {
	t.Parallel()
	protected(t, func(t *testing.T, s *registries.Server, _ content.Manifest) {
		const wrongWord = "wrong-secret-word"
		for name, who := range map[string]struct {
			password    string
			code        int
			used, state string
			found, next string
		}{
			"right": {jane["jane"], 0, "jane", "ok", "is accepted", ""},
			"wrong": {wrongWord, 1, "jane", "wrong", "is refused", "docker login " + s.Host},
			"none":  {"", 1, "as nobody", "", "", "docker login " + s.Host},
		} {
			t.Run(name, func(t *testing.T) {
				c := newCommand(t)
				if who.password != "" {
					dockerLogin(t, s, "jane", who.password)(c.home)
				}
				d := c.doctor(who.code, s.Host+"/"+testImage)
				d.says(t, "used", "ok", who.used, "")
				if who.password != "" {
					d.says(t, "login", who.state, who.found, who.next)
				}
				if who.code == 0 {
					d.says(t, "repository", "ok", "v1", "")
					d.says(t, "delete", "ok", "", "")
				} else {
					d.says(t, "repository", "wrong", "can't be read", "docker login")
				}
				everything := fmt.Sprint(d) + c.run("ocifs doctor "+s.Host+" 2>&1").Stdout
				for _, secret := range []string{jane["jane"], wrongWord} {
					if strings.Contains(everything, secret) || strings.Contains(everything, base64.StdEncoding.EncodeToString([]byte("jane:"+secret))) {
						t.Errorf("a secret is printed:\n%s", everything)
					}
				}
			})
		}
	})
}

// A registry that can't be reached, or isn't one, is a sentence with a next step.
func TestDoctorOfARegistryThatCannotBeReached(t *testing.T) {
	t.Parallel()
	c := newCommand(t)
	s := startOlareg(t, registries.Options{})
	must(0, s.Gone())(t)
	d := c.doctor(1, s.Host)
	d.says(t, "connection", "wrong", "nobody listens there", "port")
	d.says(t, "api", "", "", "")
	must(0, s.Back())(t)
	s.Fault(registries.Fault{Path: "/tags/list", Status: http.StatusNotFound})
	c.doctor(0, s.Host+"/no/such").says(t, "repository", "warning", "doesn't list the tags of", "no/such:TAG")
	c.doctor(1, startDistribution(t, registries.Options{}).Host+"/no/such").says(t, "repository", "wrong", "no/such isn't there", "spelled")
	s.Fault(registries.Fault{Status: http.StatusNotFound})
	c.doctor(1, s.Host).says(t, "api", "wrong", "no registry", "host")
	s.Heal()
	s.Fault(registries.Fault{Status: http.StatusBadGateway})
	c.doctor(1, s.Host).says(t, "api", "wrong", "502", "again")
	c.doctor(1, "no-such-host.invalid").says(t, "address", "wrong", "", " ")
	for setting, want := range map[string][]string{
		"NO_PROXY=example":         {"✓ proxy", ""},
		"NO_PROXY=another.example": {"✓ proxy        registry.example is asked by way of http://" + s.Host, "127.0.0.1 is an address"},
	} {
		r := c.ends(1, "export HTTPS_PROXY=http://me:open-sesame@"+s.Host+" "+setting+"; ocifs doctor registry.example")
		if found := strings.Contains(r.Stdout, want[0]); found != (want[1] != "") || !strings.Contains(r.Stdout, want[1]) || strings.Contains(r.Stdout+r.Stderr, "open-sesame") {
			t.Errorf("with %s it prints\n%s", setting, r.Stdout)
		}
	}
}

// A server with a foreign authority is told for it, with where to put its
// certificate; once it is trusted, its signer and its end are told.
func TestDoctorOfACertificate(t *testing.T) {
	t.Parallel()
	tls := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			http.NotFound(w, r)
		}
	}))
	tls.Config.ErrorLog = log.New(io.Discard, "", 0)
	tls.StartTLS()
	t.Cleanup(tls.Close)
	host := strings.TrimPrefix(tls.URL, "https://")
	c := newCommand(t)
	d := c.doctor(1, host)
	d.says(t, "encryption", "wrong", "an authority that isn't trusted", "/etc/docker/certs.d/"+host+"/ca.crt")
	d.says(t, "encryption", "wrong", "", "SSL_CERT_FILE")
	d.says(t, "api", "", "", "")
	writeFile(t, filepath.Join(c.home, "ca.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: tls.Certificate().Raw}), 0o644)
	r := c.ends(0, "export TMPDIR=$HOME/tmp SSL_CERT_FILE=$HOME/ca.crt; ocifs doctor "+host)
	for _, want := range []string{"✓ encryption   TLS 1.3, signed by ", "✓ api          /v2/ answers 200", "! catalog"} {
		if !strings.Contains(r.Stdout, want) {
			t.Errorf("it prints no %q:\n%s", want, r.Stdout)
		}
	}

	// One that wants to see a certificate itself.
	strict := httptest.NewUnstartedServer(http.NotFoundHandler())
	strict.Config.ErrorLog = tls.Config.ErrorLog
	strict.TLS = &cryptotls.Config{ClientAuth: cryptotls.RequireAnyClientCert, MaxVersion: cryptotls.VersionTLS12}
	strict.StartTLS()
	t.Cleanup(strict.Close)
	host = strings.TrimPrefix(strict.URL, "https://")
	r = c.ends(1, "export TMPDIR=$HOME/tmp SSL_CERT_FILE=$HOME/ca.crt; ocifs doctor "+host)
	if !strings.Contains(r.Stdout, "✗ encryption   it ends the TLS handshake: ") || !strings.Contains(r.Stdout, host+"/client.cert") {
		t.Errorf("it prints\n%s", r.Stdout)
	}
	c.leftNothing()
}

// Who interrupts doctor gets the prompt back at once, and nothing is left.
func TestDoctorIsInterrupted(t *testing.T) {
	t.Parallel()
	s := startOlareg(t, registries.Options{})
	s.Fault(registries.Fault{Hold: true})
	c := newCommand(t)
	r := c.run(`mkdir -p $HOME/tmp; export TMPDIR=$HOME/tmp
		` + quote(raceBin) + ` doctor ` + s.Host + ` >$HOME/out 2>$HOME/err & pid=$!
		until grep -q connection $HOME/out; do sleep 0.05; done
		kill -TERM $pid; wait $pid; code=$?; cat $HOME/out $HOME/err; exit $code`)
	if r.Code != 143 || !strings.Contains(r.Stdout, "interrupted") || strings.Contains(r.Stdout, "encryption") {
		t.Errorf("it ended with %d:\n%s", r.Code, r.Stdout)
	}
	c.leftNothing()
	s.Heal()
}
