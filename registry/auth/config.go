package auth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	remoteauth "oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"

	"github.com/ocifs/ocifs/registry/ref"
)

const (
	helperTimeout = 30 * time.Second
	helperAge     = 5 * time.Minute // how long a helper's answer is believed
	hubKey        = "https://index.docker.io/v1/"
)

// Default finds credentials where docker and podman keep them: config.json in
// $DOCKER_CONFIG or ~/.docker, and auth.json in $REGISTRY_AUTH_FILE, the runtime
// directory (containers-auth.json(5)) or the configuration directory. Podman's
// come first, as podman itself has it. Files are read again when they change.
func Default(log *slog.Logger) Source {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	home, _ := os.UserHomeDir() // without one, the other places count
	var paths []string
	add := func(env string, parts ...string) {
		if env != "" {
			paths = append(paths, filepath.Join(append([]string{env}, parts...)...))
		}
	}
	if f := os.Getenv("REGISTRY_AUTH_FILE"); f != "" {
		paths = append(paths, f)
	} else {
		if x := os.Getenv("XDG_RUNTIME_DIR"); x != "" {
			add(x, "containers", "auth.json")
		} else {
			add("/run/containers", strconv.Itoa(os.Getuid()), "auth.json")
		}
		if x := os.Getenv("XDG_CONFIG_HOME"); x != "" {
			add(x, "containers", "auth.json")
		} else {
			add(home, ".config", "containers", "auth.json")
		}
	}
	if d := os.Getenv("DOCKER_CONFIG"); d != "" {
		add(d, "config.json")
	} else {
		add(home, ".docker", "config.json")
	}
	return FromFiles(log, paths...)
}

// FromFiles finds credentials in files of docker's form, the first file first.
func FromFiles(log *slog.Logger, paths ...string) Source {
	s := &files{log: log, helpers: make(chan struct{}, 1), answers: map[string]answer{}}
	for _, p := range paths {
		s.files = append(s.files, &configFile{path: p})
	}
	return s
}

type files struct {
	log   *slog.Logger
	files []*configFile

	// helpers is held by the one who asks a helper: one at a time, as some ask the
	// person. It guards answers.
	helpers chan struct{}
	answers map[string]answer
}

// result is what came of running a helper.
type result struct {
	got remoteauth.Credential
	err error
}

// answer is what a helper said.
type answer struct {
	cred Credential
	at   time.Time
}

// config is docker's config.json, as far as it is about credentials.
type config struct {
	Auths       map[string]authEntry `json:"auths"`
	CredsStore  string               `json:"credsStore"`
	CredHelpers map[string]string    `json:"credHelpers"`
}

type authEntry struct {
	Auth          string `json:"auth"`
	Username      string `json:"username"`
	Password      string `json:"password"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

// configFile is a file that is read again when it changes.
type configFile struct {
	path string

	mu     sync.Mutex
	mtime  time.Time
	size   int64
	config config
}

// load gives what the file says now. A file that isn't there says nothing.
func (f *configFile) load(log *slog.Logger) config {
	f.mu.Lock()
	defer f.mu.Unlock()
	st, err := os.Stat(f.path)
	if err != nil {
		f.config, f.mtime = config{}, time.Time{}
		return f.config
	}
	if st.ModTime().Equal(f.mtime) && st.Size() == f.size {
		return f.config
	}
	f.mtime, f.size, f.config = st.ModTime(), st.Size(), config{}
	b, err := os.ReadFile(f.path)
	if err == nil {
		err = json.Unmarshal(b, &f.config)
	}
	if err != nil {
		f.config = config{}
		log.Warn("credentials not read: going on without them", "file", f.path, "cause", err)
	}
	return f.config
}

func (s *files) Hosts() []string {
	hosts := map[string]bool{}
	for _, f := range s.files {
		c := f.load(s.log)
		for _, keys := range [][]string{slices.Collect(maps.Keys(c.Auths)), slices.Collect(maps.Keys(c.CredHelpers))} {
			for _, k := range keys {
				host, _, _ := strings.Cut(bareKey(k), "/")
				if h, err := ref.ParseHost(host); err == nil {
					hosts[h] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(hosts))
}

func (s *files) Credential(ctx context.Context, r ref.Repository) (Credential, error) {
	for _, f := range s.files {
		c := f.load(s.log)
		if helper, key := c.helper(r); helper != "" {
			if cred, err := s.ask(ctx, helper, key, f.path); err != nil || !cred.Empty() {
				return cred, err
			}
		}
		if key, e, ok := c.entry(r); ok {
			cred, err := e.credential()
			if err != nil {
				s.log.Warn("credential not read", "file", f.path, "key", key, "cause", err)
				continue
			}
			if !cred.Empty() {
				cred.Origin = fmt.Sprintf("%s (%s)", f.path, key)
				return cred, nil
			}
		}
	}
	return Credential{}, nil
}

// helper gives the credential helper for a repository's host, and the key that
// it knows the host by.
func (c config) helper(r ref.Repository) (name, key string) {
	for k, h := range c.CredHelpers {
		if host, _, _ := strings.Cut(bareKey(k), "/"); canonical(host) == r.Host {
			return h, k
		}
	}
	key = r.Host
	if r.Host == ref.DockerHub {
		key = hubKey
	}
	return c.CredsStore, key
}

// entry gives the entry of auths with the longest key that is the repository or
// leads to it.
func (c config) entry(r ref.Repository) (string, authEntry, bool) {
	best, length := "", -1
	for k, e := range c.Auths {
		if e == (authEntry{}) {
			continue // says that a helper has it
		}
		host, path, _ := strings.Cut(bareKey(k), "/")
		if canonical(host) != r.Host {
			continue
		}
		if path == "" || path == r.Path || strings.HasPrefix(r.Path, path+"/") {
			// Of two spellings of one key the lesser wins, so that it is always the same,
			// and /v1/ comes before /v1/access-token.
			if len(path) > length || len(path) == length && k < best {
				best, length = k, len(path)
			}
		}
	}
	return best, c.Auths[best], length >= 0
}

// bareKey is a key of auths as host and path: without the scheme and the paths
// of old APIs.
func bareKey(k string) string {
	for _, scheme := range []string{"https://", "http://"} {
		k = strings.TrimPrefix(k, scheme)
	}
	k = strings.TrimSuffix(k, "/")
	for _, tail := range []string{"/v1", "/v2", "/access-token", "/refresh-token"} {
		k = strings.TrimSuffix(k, tail)
	}
	return strings.TrimSuffix(strings.TrimSuffix(k, "/v1"), "/")
}

func canonical(host string) string {
	h, err := ref.ParseHost(host)
	if err != nil {
		return host
	}
	return h
}

func (e authEntry) credential() (Credential, error) {
	c := Credential{Username: e.Username, Password: e.Password, IdentityToken: e.IdentityToken, RegistryToken: e.RegistryToken}
	if e.Auth != "" {
		b, err := base64.StdEncoding.DecodeString(e.Auth)
		if err != nil {
			return Credential{}, errors.New("auth is not base64")
		}
		user, password, ok := strings.Cut(strings.TrimRight(string(b), "\x00"), ":")
		if !ok {
			return Credential{}, errors.New("auth is not USER:PASSWORD in base64")
		}
		c.Username, c.Password = user, password
	}
	return c, nil
}

// ask asks a credential helper. A helper that isn't there, or fails, is told of
// once in a while, and stands for no credential.
func (s *files) ask(ctx context.Context, helper, key, path string) (Credential, error) {
	select {
	case s.helpers <- struct{}{}:
		defer func() { <-s.helpers }()
	case <-ctx.Done():
		return Credential{}, ctx.Err()
	}
	id := helper + " " + key
	if a, ok := s.answers[id]; ok && time.Since(a.at) < helperAge {
		return a.cred, nil
	}
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, helperTimeout)
	defer cancel()
	// Killing a helper doesn't end what it started, and that may hold its output
	// open. So nobody waits for the output beyond ctx; the goroutine ends with it.
	done := make(chan result, 1)
	go func() {
		got, err := credentials.NewNativeStore(helper).Get(ctx, key)
		done <- result{got, err}
	}()
	var said result
	select {
	case said = <-done:
	case <-ctx.Done():
		said.err = ctx.Err()
	}
	got, err := said.got, said.err
	if err != nil {
		if outer.Err() != nil {
			return Credential{}, outer.Err()
		}
		hint := "see what 'docker-credential-" + helper + " get' says"
		if errors.Is(err, exec.ErrNotFound) {
			hint = "install docker-credential-" + helper
		}
		s.log.Warn("credential helper failed: going on without a credential", "helper", helper, "key", key, "cause", err, "hint", hint)
	}
	cred := Credential{Username: got.Username, Password: got.Password, IdentityToken: got.RefreshToken, RegistryToken: got.AccessToken}
	if !cred.Empty() {
		cred.Origin = fmt.Sprintf("docker-credential-%s (%s)", helper, path)
	}
	s.answers[id] = answer{cred, time.Now()}
	return cred, nil
}
