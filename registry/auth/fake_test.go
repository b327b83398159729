package auth

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ocifs/ocifs/registry/ref"
)

// fake is a registry, and what it was asked: method, path, and by whom.
type fake struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
}

// serve starts a registry that answers as h does, TLS or not.
func serve(t *testing.T, encrypted bool, h http.HandlerFunc) *fake {
	t.Helper()
	f := &fake{}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		f.mu.Lock()
		f.asked = append(f.asked, strings.TrimSpace(req.Method+" "+req.URL.Path+" "+who(req)))
		f.mu.Unlock()
		h(w, req)
	}))
	if encrypted {
		f.StartTLS()
	} else {
		f.Start()
	}
	t.Cleanup(f.Close)
	return f
}

// who is the user of a Basic header with its password, or the token of another.
func who(req *http.Request) string {
	if user, password, ok := req.BasicAuth(); ok {
		return user + ":" + password
	}
	return strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")
}

// took gives what was asked since it was last called.
func (f *fake) took() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	asked := f.asked
	f.asked = nil
	return asked
}

// want checks what was asked since the last time.
func (f *fake) want(t *testing.T, want ...string) {
	t.Helper()
	if got := f.took(); !slices.Equal(got, want) {
		t.Errorf("asked\n%q, want\n%q", got, want)
	}
}

func (f *fake) repo(path string) ref.Repository {
	_, host, _ := strings.Cut(f.URL, "://")
	return ref.Repository{Host: host, Path: path}
}

// bodies sends each body as it is now: http.Transport would get it anew by itself,
// where it finds it at its end.
type bodies struct{ next http.RoundTripper }

func (b bodies) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		all, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		req = req.Clone(req.Context())
		req.Body, req.GetBody = io.NopCloser(bytes.NewReader(all)), nil
	}
	return b.next.RoundTrip(req)
}

// by makes an Authorizer with a source.
func (f *fake) by(s Source) *Authorizer {
	return &Authorizer{Next: bodies{f.Client().Transport}, Source: s, PlainOK: func(string) bool { return true }}
}

// send sends a request for something of a repository.
func (f *fake) send(ctx context.Context, a *Authorizer, method, path, body string, access Access) (status int, origin string, err error) {
	var sends io.Reader
	if body != "" {
		sends = strings.NewReader(body)
	}
	r := f.repo(path)
	req, err := http.NewRequestWithContext(ctx, method, f.URL+"/v2/"+path, sends)
	if err != nil {
		return 0, "", err
	}
	resp, use, err := a.Do(req, r, access)
	if err != nil {
		return 0, use.Origin, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return resp.StatusCode, use.Origin, err
}

// get reads something of a repository, which must be answered with a status.
func (f *fake) get(t *testing.T, a *Authorizer, path string, want int) (origin string) {
	t.Helper()
	status, origin, err := f.send(t.Context(), a, http.MethodGet, path, "", Access{})
	if err != nil || status != want {
		t.Errorf("GET %s: %d, %v; want %d", path, status, err, want)
	}
	return origin
}

// challenge refuses a request with challenges.
func challenge(w http.ResponseWriter, challenges ...string) {
	for _, c := range challenges {
		w.Header().Add("WWW-Authenticate", c)
	}
	w.WriteHeader(http.StatusUnauthorized)
}

// basicAs lets in only who has one of these passwords, by Basic.
func basicAs(passwords ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		if _, password, _ := req.BasicAuth(); !slices.Contains(passwords, password) {
			challenge(w, `Basic realm="x"`)
		}
	}
}

// writeConfig writes a file of docker's form: HOST=USER:PASSWORD.
func writeConfig(t *testing.T, file string, entries ...string) {
	t.Helper()
	var auths []string
	for _, e := range entries {
		host, secret, _ := strings.Cut(e, "=")
		auths = append(auths, `"`+host+`":{"auth":"`+base64.StdEncoding.EncodeToString([]byte(secret))+`"}`)
	}
	write(t, file, `{"auths":{`+strings.Join(auths, ",")+`}}`)
}

// write writes a file as docker does, by a new one under its name.
func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// helper is a shell script on PATH that answers as a credential helper does. Each
// run adds a line to the file log of its directory, $dir.
type helper struct {
	name, dir string
}

func newHelper(t *testing.T, name, script string) helper {
	t.Helper()
	h := helper{name, t.TempDir()}
	path := filepath.Join(h.dir, "docker-credential-"+name)
	text := "#!/bin/sh\ndir='" + h.dir + "'\necho run >>\"$dir/log\"\n" + script + "\n"
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", h.dir+":"+os.Getenv("PATH"))
	return h
}

// says is a script that gives jane's password.
func says(password string) string {
	return `printf '{"ServerURL":"x","Username":"jane","Secret":"` + password + `"}'`
}

// saysSecret is a script that gives what is in the file secret.
const saysSecret = `printf '{"Username":"jane","Secret":"%s"}' "$(cat "$dir/secret")"`

func (h helper) secret(t *testing.T, secret string) {
	t.Helper()
	write(t, filepath.Join(h.dir, "secret"), secret)
}

func (h helper) runs() int {
	b, _ := os.ReadFile(filepath.Join(h.dir, "log"))
	return strings.Count(string(b), "run\n")
}

// config makes a source that asks the helper for everything. What is told is written
// to log.
func (h helper) config(t *testing.T, log io.Writer, excluded ...string) *files {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.json")
	write(t, file, `{"credsStore":"`+h.name+`"}`)
	return newFiles(slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), excluded, []string{file})
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// syncBuffer is a log that may be written to and read at once.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (b *syncBuffer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
