package auth

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ocifs/ocifs/registry/ref"
)

// coarseTime is how old a file's modification time must be before that and its size are
// trusted to tell of each change. FAT counts in steps of two seconds, the coarsest clock
// of the file systems in use.
const coarseTime = 2 * time.Second

// program is what people log in with, to have a file written.
type program string

const (
	docker program = "docker"
	podman program = "podman"
)

// writerOf names the program that writes a file of that name.
func writerOf(path string) program {
	if filepath.Base(path) == "auth.json" {
		return podman
	}
	return docker
}

// configFile is a file of docker's form that is read again when it changes, or
// DOCKER_AUTH_CONFIG, which doesn't change.
type configFile struct {
	name     string   // for people: its path, or which variable it is
	path     string   // "" for a variable
	writer   program  // that people replace a credential with; "" for a variable
	excluded []string // directories that it must not lead into

	mu      sync.Mutex        // guards the rest; nothing else is locked under it
	stat    os.FileInfo       // when it was read; nil: it wasn't there
	readAt  time.Time         // when it was read
	sum     [sha256.Size]byte // of its bytes; zero: it had none
	config  config            // what its bytes say
	version uint64            // counts changes of sum
	warned  bool              // that it can't be read was logged
}

// environment is the variable that docker reads before its files (docker/cli#6008).
// GitLab CI and Testcontainers set it.
const environment = "DOCKER_AUTH_CONFIG"

// fromEnvironment reads the variable, once: the environment of a process doesn't
// change.
func fromEnvironment(text string, log *slog.Logger) *configFile {
	f := &configFile{name: "the environment, " + environment}
	f.says([]byte(text), log)
	return f
}

// load gives what the file says now, and how often that has changed. A file that
// isn't there says nothing.
func (f *configFile) load(log *slog.Logger) (config, uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.path != "" {
		f.read(log)
	}
	return f.config, f.version
}

// read reads the file if it may have changed. mu is held.
func (f *configFile) read(log *slog.Logger) {
	if leadsInto(f.path, f.excluded) {
		if !f.warned {
			log.Warn("credentials not read: the file is in the mount itself", "file", f.path)
		}
		f.warned, f.stat = true, nil
		f.says(nil, log)
		return
	}
	st, err := os.Stat(f.path)
	if err != nil {
		f.stat = nil
		f.says(nil, log)
		return
	}
	if f.stat != nil && os.SameFile(st, f.stat) && st.ModTime().Equal(f.stat.ModTime()) && st.Size() == f.stat.Size() &&
		f.readAt.Sub(st.ModTime()) > coarseTime {
		return
	}
	readAt := time.Now()
	b, err := os.ReadFile(f.path)
	f.stat, f.readAt = st, readAt
	if err != nil {
		f.stat = nil // what keeps it from being read needn't show in its time
		if !f.warned && !errors.Is(err, fs.ErrNotExist) {
			log.Warn("credentials not read: going on without them", "file", f.path, "cause", err)
			f.warned = true
		}
		b = nil
	} else {
		f.warned = false
	}
	f.says(b, log)
}

// maxProblems bounds the entries of one file that are warned of.
const maxProblems = 5

// says takes the bytes of the file, if they are new. mu is held, or nobody else has the
// file yet.
func (f *configFile) says(b []byte, log *slog.Logger) {
	var sum [sha256.Size]byte
	if len(b) > 0 {
		sum = sha256.Sum256(b)
	}
	if sum == f.sum {
		return
	}
	f.sum, f.config = sum, config{}
	f.version++
	if len(b) == 0 {
		return
	}
	var problems []string
	f.config, problems = parseConfig(b)
	if n := len(problems) - maxProblems; n > 0 {
		problems = append(problems[:maxProblems], fmt.Sprintf("%d more entries like these", n))
	}
	for _, p := range problems {
		log.Warn("credentials not read: going on without them", "file", f.name, "cause", p)
	}
}

// entryOrigin names the place of an entry of auths.
func (f *configFile) entryOrigin(key string) string {
	if f.path == "" {
		return f.name
	}
	return fmt.Sprintf("%s, key %q", f.name, key)
}

// entryHint says how a person replaces the credential of an entry.
func (f *configFile) entryHint(r ref.Repository, key string) string {
	_, path := splitKey(key)
	switch {
	case f.path == "":
		return "set " + environment + " anew, or unset it"
	case f.writer == podman:
		at := r.Host
		if path != "" {
			at += "/" + path
		}
		return fmt.Sprintf("podman login %s, or podman logout %s (which write %s)", at, at, f.name)
	case path != "": // docker login knows hosts alone
		return fmt.Sprintf("change the entry %q of %s", key, f.name)
	}
	return fmt.Sprintf("docker login %s (which writes %s)", r.Host, f.name)
}

// helperHint says how a person replaces the credential that a helper gave.
func (f *configFile) helperHint(r ref.Repository, h helperOf) string {
	if h.own || f.path == "" {
		return fmt.Sprintf("log in with the program that docker-credential-%s asks", h.name)
	}
	return fmt.Sprintf("%s login %s, which has docker-credential-%s keep it", f.writer, r.Host, h.name)
}
