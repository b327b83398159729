package auth

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ocifs/ocifs/registry/ref"
)

// Default finds credentials where docker and podman keep them: config.json in
// $DOCKER_CONFIG or ~/.docker, and auth.json in $REGISTRY_AUTH_FILE, the runtime
// directory (containers-auth.json(5)) or the configuration directory. Podman's
// come first, as podman itself has it. Files are read again when they change.
//
// Nothing below the directories in within is read or run. They are what this
// process mounts, or is about to: it would wait for itself.
func Default(log *slog.Logger, within ...string) Source {
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
	return newFiles(log, within, paths)
}

// FromFiles finds credentials in files of docker's form, the first file first.
func FromFiles(log *slog.Logger, paths ...string) Source {
	return newFiles(log, nil, paths)
}

func newFiles(log *slog.Logger, within, paths []string) *files {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	dirs := make([]string, len(within))
	for i, d := range within {
		dirs[i] = resolve(d)
	}
	s := &files{log: log, helpers: newHelpers(log, dirs), told: map[string]bool{}}
	for _, p := range paths {
		if abs, err := filepath.Abs(p); err == nil { // where this process stands may change
			p = abs
		}
		s.files = append(s.files, &configFile{path: p, within: dirs})
	}
	s.Version()
	return s
}

// files is the Source of files and of the helpers that they name.
type files struct {
	log     *slog.Logger
	files   []*configFile
	helpers *helpers

	mu      sync.Mutex
	version uint64
	told    map[string]bool // bad entries that were told of, since the last change
}

// Version forgets what helpers said, when it changes: another account may have
// logged in by them.
func (s *files) Version() uint64 {
	var now uint64
	for _, f := range s.files {
		_, v := f.load(s.log)
		now += v
	}
	s.mu.Lock()
	changed := now > s.version // each file's only grows
	s.version = max(now, s.version)
	now = s.version
	if changed {
		clear(s.told)
	}
	s.mu.Unlock()
	if changed {
		s.helpers.forget()
	}
	return now
}

func (s *files) Hosts() []string {
	var all []string
	for _, f := range s.files {
		c, _ := f.load(s.log)
		all = append(all, c.hosts()...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (s *files) Credential(ctx context.Context, r ref.Repository) (Credential, error) {
	return s.find(ctx, r, helperAge)
}

func (s *files) Renew(ctx context.Context, r ref.Repository, refused Credential) (Credential, error) {
	s.Version()
	if c, err := s.find(ctx, r, helperAge); err != nil || !c.Same(refused) {
		return c, err // someone else has renewed it
	}
	return s.find(ctx, r, renewAge)
}

// find looks for a credential. What a helper said is believed for so long.
func (s *files) find(ctx context.Context, r ref.Repository, believed time.Duration) (Credential, error) {
	for _, f := range s.files {
		c, _ := f.load(s.log)
		if helper, key := c.helper(r); helper != "" {
			cred, err := s.helpers.ask(ctx, helper, key, believed)
			if err != nil {
				return cred, err
			}
			if !cred.Empty() {
				cred.Origin = of(cred) + fmt.Sprintf("docker-credential-%s, asked because of %s", helper, f.path)
				return cred, nil
			}
		}
		if key, e, ok := c.entry(r); ok {
			cred, err := e.credential()
			if err != nil {
				s.tell(f.path, key, err)
				continue
			}
			if !cred.Empty() {
				cred.Origin = of(cred) + fmt.Sprintf("%s, key %q", f.path, key)
				return cred, nil
			}
		}
	}
	return Credential{}, nil
}

// tell tells of a bad entry, once.
func (s *files) tell(file, key string, err error) {
	s.mu.Lock()
	told := s.told[file+" "+key]
	s.told[file+" "+key] = true
	s.mu.Unlock()
	if !told {
		s.log.Warn("credential not read: going on without it", "file", file, "key", key, "cause", err)
	}
}

// maxUser bounds what is shown of a user's name.
const maxUser = 64

// of names the user of a credential, if one is known by a name.
func of(c Credential) string {
	user := strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) {
			return r
		}
		return -1
	}, c.Username)
	if user == "" || user == tokenUser {
		return ""
	}
	if len(user) > maxUser {
		user = strings.ToValidUTF8(user[:maxUser], "") + "…"
	}
	return user + " from "
}

// maxNamed is how many other registries of a file are named.
const maxNamed = 3

func (s *files) Searched(r ref.Repository) []string {
	var all []string
	for _, f := range s.files {
		c, _ := f.load(s.log)
		switch helper, key := c.helper(r); {
		case helper != "":
			why := "has none"
			if trouble := s.helpers.trouble(helper, key); trouble != "" {
				why = "gave none: " + trouble
			}
			all = append(all, fmt.Sprintf("docker-credential-%s, asked because of %s, %s", helper, f.path, why))
		case len(c.hosts()) > 0:
			hosts := c.hosts()
			slices.Sort(hosts)
			hosts = slices.Compact(hosts)
			if n := len(hosts); n > maxNamed {
				hosts = append(hosts[:maxNamed:maxNamed], fmt.Sprintf("%d others", n-maxNamed))
			}
			all = append(all, fmt.Sprintf("%s is for %s", f.path, strings.Join(hosts, ", ")))
		default:
			all = append(all, "none in "+f.path)
		}
	}
	return all
}
