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

	"github.com/ocifs/ocifs/registry/ref"
)

// Default finds credentials where docker and podman keep them: in DOCKER_AUTH_CONFIG in
// the environment; in auth.json in $REGISTRY_AUTH_FILE, or in the runtime directory and the
// configuration directory (containers-auth.json(5)); in config.json in $DOCKER_CONFIG or
// ~/.docker. Files are read again when they change. A nil log is silent.
//
// Nothing below the excluded directories is read or run. They are what this process mounts,
// or is about to: it would wait for itself.
func Default(log *slog.Logger, excluded ...string) Source {
	home, _ := os.UserHomeDir() // without one, the other places count
	var paths []string
	add := func(dir string, parts ...string) {
		if dir != "" {
			paths = append(paths, filepath.Join(append([]string{dir}, parts...)...))
		}
	}
	auths := os.Getenv("REGISTRY_AUTH_FILE")
	if auths != "" {
		paths = append(paths, auths)
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
	s := newFiles(log, excluded, paths)
	if auths != "" {
		s.files[0].writer = podman // whatever its name is
	}
	if text := os.Getenv(environment); text != "" {
		s.files = slices.Insert(s.files, 0, fromEnvironment(text, s.log))
	}
	return s
}

// FromFiles finds credentials in files of docker's form, the first file first. They are
// read again when they change. A nil log is silent.
func FromFiles(log *slog.Logger, paths ...string) Source {
	return newFiles(log, nil, paths)
}

func newFiles(log *slog.Logger, excluded, paths []string) *files {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	dirs := make([]string, len(excluded))
	for i, d := range excluded {
		dirs[i] = resolve(d)
	}
	s := &files{log: log, helpers: newHelpers(log, dirs)}
	for _, p := range paths {
		if abs, err := filepath.Abs(p); err == nil { // the working directory may change
			p = abs
		}
		s.files = append(s.files, &configFile{name: p, path: p, writer: writerOf(p), excluded: dirs})
	}
	s.Version()
	return s
}

// files is the Source of files and of the helpers that they name.
type files struct {
	log     *slog.Logger
	files   []*configFile // the first counts first; not changed once made
	helpers *helpers

	mu      sync.Mutex // guards version; nothing else is locked under it
	version uint64     // the sum of the versions of files, as it was last seen
}

var (
	_ = (NextSource)((*files)(nil))
	_ = (VersionSource)((*files)(nil))
	_ = (HostSource)((*files)(nil))
	_ = (SearchSource)((*files)(nil))
)

// Version makes helpers be asked anew, when it changes: another account may have logged in
// by them.
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
	return s.find(ctx, r, nil)
}

func (s *files) Next(ctx context.Context, r ref.Repository, refused []Credential) (Credential, error) {
	s.Version()
	return s.find(ctx, r, refused)
}

// find gives the first credential that wasn't refused.
func (s *files) find(ctx context.Context, r ref.Repository, refused []Credential) (Credential, error) {
	for _, f := range s.files {
		c, _ := f.load(s.log)
		if h := c.helper(r); h.name != "" {
			cred, err := s.helpers.ask(ctx, h.name, h.key, helperAge)
			if err == nil && cred.in(refused) {
				cred, err = s.helpers.ask(ctx, h.name, h.key, renewAge)
			}
			if err != nil {
				return Credential{}, err
			}
			if !cred.Empty() && !cred.in(refused) {
				cred.Origin = owner(cred) + fmt.Sprintf("docker-credential-%s, asked because of %s", h.name, f.name)
				cred.Hint = f.helperHint(r, h)
				return cred, nil
			}
		}
		if key, cred, ok := c.entry(r); ok && !cred.in(refused) {
			cred.Origin = owner(cred) + f.entryOrigin(key)
			cred.Hint = f.entryHint(r, key)
			return cred, nil
		}
	}
	return Credential{}, nil
}

// maxNamed is how many other registries of a file are named.
const maxNamed = 3

func (s *files) Searched(r ref.Repository) []string {
	var all []string
	for _, f := range s.files {
		c, _ := f.load(s.log)
		switch h := c.helper(r); {
		case h.name != "":
			why := "has none"
			if trouble := s.helpers.trouble(h.name, h.key); trouble != "" {
				why = "gave none: " + trouble
			}
			all = append(all, fmt.Sprintf("docker-credential-%s, asked because of %s, %s", h.name, f.name, why))
		case len(c.hosts()) > 0:
			hosts := c.hosts()
			if n := len(hosts); n > maxNamed {
				hosts = append(hosts[:maxNamed:maxNamed], fmt.Sprintf("%d others", n-maxNamed))
			}
			all = append(all, fmt.Sprintf("%s is for %s", f.name, strings.Join(hosts, ", ")))
		default:
			all = append(all, "none in "+f.name)
		}
	}
	return all
}
