package hosts

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/ocifs/ocifs/registry/ref"
)

// lookAgain is how long files are believed to be as they were.
const lookAgain = time.Second

// Options say where a Finder looks.
type Options struct {
	// Containerd are directories of hosts.toml files (containerd's certs.d, or what its
	// config_path names). The first that has something for a host counts.
	Containerd []string
	// Certs are certificate directories of docker and podman. All of them count.
	Certs []string
	// Log gets what people should know and is no error. nil: nobody.
	Log *slog.Logger
}

// Finder finds what is configured about registries. It is safe for concurrent use, and
// holds no file open.
type Finder struct {
	containerd, certs []string
	log               *slog.Logger
	now               func() time.Time

	mu     sync.Mutex // guards the maps, and is never held while files are read
	hosts  map[string]*host
	warned map[string]bool
}

// host is what is known of one registry.
type host struct {
	mu     sync.Mutex // held while its files are looked at, so that one does it for all who ask
	looked time.Time
	last   *reading // nil at first
	record *Record
	err    error
}

// New makes a Finder.
func New(o Options) *Finder {
	f := &Finder{containerd: slices.Clone(o.Containerd), certs: slices.Clone(o.Certs), log: o.Log, now: time.Now, hosts: map[string]*host{}, warned: map[string]bool{}}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	return f
}

// Usual are the directories where containerd, docker and podman keep their files: below
// $XDG_CONFIG_HOME (or ~/.config), and below /etc. Podman has no other than ~/.config, and
// Docker Desktop keeps its certificates in ~/.docker.
func Usual() Options {
	var o Options
	home, _ := os.UserHomeDir() // without one, /etc counts
	config := os.Getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(config) && home != "" { // a relative one is to be ignored, by its specification
		config = filepath.Join(home, ".config")
	}
	if filepath.IsAbs(config) {
		o.Containerd = append(o.Containerd, filepath.Join(config, "containerd", "certs.d"))
		o.Certs = append(o.Certs, filepath.Join(config, "docker", "certs.d"))
	}
	o.Containerd = append(o.Containerd, "/etc/containerd/certs.d")
	if home != "" {
		o.Certs = append(o.Certs, filepath.Join(home, ".docker", "certs.d"))
	}
	o.Certs = append(o.Certs, "/etc/docker/certs.d")
	if home != "" {
		o.Certs = append(o.Certs, filepath.Join(home, ".config", "containers", "certs.d"))
	}
	o.Certs = append(o.Certs, "/etc/containers/certs.d")
	return o
}

// Record gives what is configured about the registry called name. A registry that nobody
// configured has a Record too, with its own server and nothing else.
//
// It is the same Record as long as no file changed, and a new one after that; whether one
// did is looked at once a second at most. What is wrong in a file is an *Error until it
// is mended; a name that is no host's is one that matches ref.ErrInvalid.
func (f *Finder) Record(name string) (*Record, error) {
	name, err := ref.ParseHost(name)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	h := f.hosts[name]
	if h == nil {
		h = &host{}
		f.hosts[name] = h
	}
	f.mu.Unlock()

	h.mu.Lock()
	defer h.mu.Unlock()
	now := f.now()
	if since := now.Sub(h.looked); h.last != nil && since >= 0 && since < lookAgain {
		return h.record, h.err
	}
	// An error is tried again even where no file changed, as it may be the system's.
	if h.last == nil || h.err != nil || h.last.changed() {
		h.last = &reading{finder: f}
		h.record, h.err = h.last.record(name)
	}
	h.looked = now
	return h.record, h.err
}

// Hosts gives the registries that have a directory with a hosts.toml or with
// certificates, sorted, as ref.ParseHost spells them.
func (f *Finder) Hosts() []string {
	found := map[string]bool{}
	add := func(roots []string, names func(string) []string) {
		for _, root := range roots {
			entries, err := os.ReadDir(root)
			if err != nil && !absent(err) {
				f.warn("directory about registries not listed: going on without it", root, "cause", err)
			}
			for _, e := range entries {
				// A name that Record wouldn't look for (a port of a name with capitals, say) isn't listed.
				if h, err := parseName(e.Name()); err == nil && slices.Contains(names(h), e.Name()) && configures(filepath.Join(root, e.Name())) {
					found[h] = true
				}
			}
		}
	}
	add(f.containerd, tomlNames)
	add(f.certs, certNames)
	return slices.Sorted(maps.Keys(found))
}

// configures says whether there is something in a directory that is read.
func configures(dir string) bool {
	entries, _ := os.ReadDir(dir) // one that can't be read says nothing
	return slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		return e.Name() == tomlName || slices.Contains([]string{".crt", ".cert"}, filepath.Ext(e.Name()))
	})
}

// warn logs what a person should know about a file, once.
func (f *Finder) warn(message, file string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if key := fmt.Sprint(message, file, args); !f.warned[key] {
		f.warned[key] = true
		f.log.Warn(message, append([]any{"file", file}, args...)...)
	}
}
