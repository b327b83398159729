package hosts

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ocifs/ocifs/registry/ref"
)

const (
	// lookAgain is how long files are believed to be as they were.
	lookAgain = time.Second
	// maxHosts bounds the Records that are kept: people may name any host, and a mount lives for
	// weeks. All are made anew after that.
	maxHosts = 4096
)

// Finder finds what is configured about registries. It is safe for concurrent use, and
// holds no file open.
type Finder struct {
	containerd     []string
	registriesConf []RegistriesConf
	daemonJSON     []string
	certs          []string
	log            *slog.Logger
	now            func() time.Time

	mu     sync.Mutex       // guards the maps; it is innermost, and not held while files are read
	hosts  map[string]*host // by the registry's host, as ref.ParseHost spells it
	warned map[string]bool  // the warnings that were logged
}

// host is the Record of one registry, and when its files were last looked at.
type host struct {
	mu     sync.Mutex // guards all fields; held while files are read, so that one caller does it for all
	looked time.Time
	loader *loader // what made the record; nil before the first time
	record *Record // nil if err isn't
	err    error
}

// New makes a Finder.
func New(o Options) *Finder {
	f := &Finder{
		containerd: slices.Clone(o.Containerd), registriesConf: slices.Clone(o.RegistriesConf), daemonJSON: slices.Clone(o.DaemonJSON), certs: slices.Clone(o.Certs),
		log: o.Log, now: time.Now, hosts: map[string]*host{}, warned: map[string]bool{},
	}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	return f
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
		if len(f.hosts) >= maxHosts {
			clear(f.hosts)
		}
		h = &host{}
		f.hosts[name] = h
	}
	f.mu.Unlock()

	h.mu.Lock()
	defer h.mu.Unlock()
	now := f.now()
	if since := now.Sub(h.looked); h.loader != nil && since >= 0 && since < lookAgain {
		return h.record, h.err
	}
	// An error is tried again even where no file changed, as it may be the system's.
	if h.loader == nil || h.err != nil || h.loader.changed() {
		h.loader = &loader{finder: f}
		h.record, h.err = h.loader.record(name)
	}
	h.looked = now
	return h.record, h.err
}

// Hosts gives the registries that a file is about, sorted, as ref.ParseHost spells them: those
// that have a directory with a hosts.toml or with certificates, and those that registries.conf
// or daemon.json name.
func (f *Finder) Hosts() []string {
	found := map[string]bool{}
	add := func(roots []string, names func(string) []string) {
		for _, root := range roots {
			entries, err := os.ReadDir(root)
			if err != nil && !absent(err) {
				f.warn(&Error{File: root, Err: fmt.Errorf("directory about registries not listed: going on without it: %w", err)})
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
	l := &loader{finder: f}
	conf, err := l.loadRegistriesConf()
	if err != nil {
		e := asError(err)
		f.warn(&Error{File: e.File, Line: e.Line, Err: fmt.Errorf("its registries aren't listed: %w", e.Err)})
		conf = &registriesConf{}
	}
	for _, e := range conf.entries {
		if !e.blocked && !strings.HasPrefix(e.host, ".") {
			found[e.host] = true
		}
	}
	docker := l.loadDaemonJSON()
	if len(docker.mirrors) > 0 {
		found[ref.DockerHub] = true
	}
	for _, h := range docker.insecure {
		found[h] = true
	}
	return slices.Sorted(maps.Keys(found))
}

// configures says whether there is something in a directory that is read.
func configures(dir string) bool {
	entries, _ := os.ReadDir(dir) // one that can't be read says nothing
	return slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		return e.Name() == tomlName || slices.Contains([]string{".crt", ".cert"}, filepath.Ext(e.Name()))
	})
}

// warn logs a warning, once.
func (f *Finder) warn(e *Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if key := e.Error(); !f.warned[key] {
		f.warned[key] = true
		f.log.Warn(e.Err.Error(), "file", e.File, "line", e.Line)
	}
}
