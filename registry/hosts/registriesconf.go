package hosts

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ocifs/ocifs/registry/ref"
)

// registriesConf is the content of podman's registries.conf files, version 2
// (containers-registries.conf(5)).
type registriesConf struct {
	entries  []registryEntry // one for each prefix
	warnings []*Error        // what means nothing here
}

// registryEntry is a [[registry]].
type registryEntry struct {
	prefix  string
	host    string // the host of the prefix, or ".example.com" of *.example.com
	path    string // the repositories of the host that it is about; "": all
	file    string
	line    int
	blocked bool
	server  settings // its base is nil if the registry itself is meant
	mirrors []settings
	err     *Error // what is wrong with it
}

// The keys of a registries.conf. The other ones at the root are about names without a host,
// and about where podman finds credentials.
var (
	confKeys   = []string{"registry", "unqualified-search-registries", "short-name-mode", "credential-helpers", "aliases", "additional-layer-store-auth-helper"}
	entryKeys  = []string{"prefix", "location", "insecure", "blocked", "mirror-by-digest-only", "mirror"}
	mirrorKeys = []string{"location", "insecure", "pull-from-mirror"}
)

// parseRegistriesConf parses the text of a registries.conf. An error is an *Error. What is
// wrong with an entry is an error of the entry alone.
func parseRegistriesConf(file string, text []byte) (*registriesConf, error) {
	const kind = "registries.conf"
	root, err := parseTable(file, text)
	if err != nil {
		return nil, err
	}
	c := &registriesConf{}
	if v1, ok := root.values["registries"]; ok {
		if _, ok := v1.(map[string]any); ok {
			delete(root.values, "registries")
			c.warnings = append(c.warnings, root.errorf("registries", "registries.conf: the form of version 1 isn't read: write [[registry]] in place of [registries.…]"))
		}
	}
	c.warnings = append(c.warnings, root.unknownKeys(kind, confKeys)...)
	items, err := root.tables("registry", root.positions.arrays[joined([]string{"registry"})])
	if err != nil {
		return nil, err
	}
	// The lines of all [[registry.mirror]] are in one list, across the entries.
	lines := root.positions.arrays[joined([]string{"registry", "mirror"})]
	for _, t := range items {
		mirrors, mirrorsErr := t.tables("mirror", lines)
		lines = lines[min(len(mirrors), len(lines)):]
		e, err := t.registryEntry()
		if err != nil { // nobody knows which registry it is about
			err.Err = fmt.Errorf("registries.conf: an entry is left out: %w", err.Err)
			c.warnings = append(c.warnings, err)
			continue
		}
		if slices.ContainsFunc(c.entries, func(o registryEntry) bool { return o.host == e.host && o.path == e.path }) {
			c.warnings = append(c.warnings, t.errorf("prefix", "registries.conf: a second entry for %q is left out, as the first one counts", e.prefix))
			continue
		}
		c.warnings = append(c.warnings, t.unknownKeys(kind, entryKeys)...)
		if mirrorsErr == nil {
			mirrorsErr = t.readEntry(e, mirrors)
		}
		if mirrorsErr != nil {
			e.err = asError(mirrorsErr)
		}
		for _, m := range mirrors {
			c.warnings = append(c.warnings, m.unknownKeys(kind, mirrorKeys)...)
		}
		c.entries = append(c.entries, *e)
	}
	return c, nil
}

// asError gives the *Error that err is.
func asError(err error) *Error {
	if e, ok := err.(*Error); ok {
		return e
	}
	return &Error{Err: err}
}

// registryEntry reads which repositories a [[registry]] is about.
func (t table) registryEntry() (*registryEntry, *Error) {
	e := &registryEntry{file: t.file, line: t.start}
	location, _, err := t.text("location")
	if err != nil {
		return nil, asError(err)
	}
	if e.prefix, _, err = t.text("prefix"); err != nil {
		return nil, asError(err)
	}
	if e.prefix == "" {
		e.prefix = location
	}
	e.prefix = strings.TrimRight(e.prefix, "/")
	if e.prefix == "" {
		return nil, t.errorf("prefix", "it has no prefix and no location")
	}
	if parent, ok := strings.CutPrefix(e.prefix, "*"); ok {
		name, ok := strings.CutPrefix(parent, ".")
		if _, err := ref.ParseHost(name); !ok || err != nil || strings.ContainsAny(name, "/@:") {
			return nil, t.errorf("prefix", "the prefix %q must be of the form *.example.com", e.prefix)
		}
		e.host = strings.ToLower(parent)
		return e, nil
	}
	var host string
	host, e.path, _ = strings.Cut(e.prefix, "/")
	if e.host, err = ref.ParseHost(host); err != nil {
		if strings.Contains(e.prefix, "://") {
			return nil, t.errorf("prefix", "a prefix has no scheme: write HOST[:PORT], and insecure = true for http")
		}
		return nil, t.errorf("prefix", "the prefix names no host: %w", err)
	}
	return e, nil
}

// location reads the location of a registry or a mirror, HOST[:PORT][/PATH], and whether it is
// insecure. The base is nil if there is none. To podman insecure means https without
// verification, and http if there is no TLS.
func (t table) location() (settings, error) {
	var s settings
	location, _, err := t.text("location")
	if err != nil {
		return s, err
	}
	if strings.Contains(location, "://") {
		return s, t.errorf("location", "a location has no scheme: write HOST[:PORT][/PATH], and insecure = true for http")
	}
	if location != "" {
		host, path, _ := strings.Cut(strings.TrimRight(location, "/"), "/")
		if s.base, err = parseBase("https://"+host+"/v2/"+path, true); err != nil {
			return s, t.errorf("location", "location: %w", err)
		}
	}
	insecure, err := t.flag("insecure")
	s.skipVerify, s.httpFallback = insecure, insecure
	return s, err
}

// readEntry reads what a [[registry]] says besides its prefix.
func (t table) readEntry(e *registryEntry, mirrors []table) error {
	var err error
	if e.blocked, err = t.flag("blocked"); err != nil {
		return err
	}
	if e.server, err = t.location(); err != nil {
		return err
	}
	e.server.any = true
	digestOnly, err := t.flag("mirror-by-digest-only")
	if err != nil {
		return err
	}
	if _, ok := t.values["pull-from-mirror"]; ok {
		return t.errorf("pull-from-mirror", "pull-from-mirror belongs into a [[registry.mirror]]")
	}
	for _, m := range mirrors {
		s, err := m.location()
		if err != nil {
			return err
		}
		if s.base == nil {
			return m.errorf("location", "a mirror needs a location")
		}
		which, ok, err := m.text("pull-from-mirror")
		if err != nil {
			return err
		}
		if ok && which != "" && digestOnly {
			return m.errorf("pull-from-mirror", "the registry has mirror-by-digest-only, so its mirror can't have pull-from-mirror")
		}
		s.canNamed = true
		switch which {
		case "", "all":
			s.can = Pull | Resolve
		case "digest-only":
			s.can = Pull
		case "tag-only":
			// What its tags point at need not be at the registry yet.
			s.can = Pull | Resolve
		default:
			return m.errorf("pull-from-mirror", "pull-from-mirror is all, digest-only or tag-only, and not %q", which)
		}
		if digestOnly {
			s.can = Pull
		}
		e.mirrors = append(e.mirrors, s)
	}
	return nil
}

// matches says how well an entry matches a registry, as a number of characters: podman's
// longest prefix wins. 0 is no match. A port counts, but for *.example.com, which matches any.
func (e *registryEntry) matches(host string) int {
	if name, _, _ := cutPort(host); strings.HasPrefix(e.host, ".") && strings.HasSuffix(name, e.host) && len(name) > len(e.host) {
		return len(e.host)
	}
	if e.host == host {
		return len(host) + 1
	}
	return 0
}

// loadRegistriesConf reads the registries.conf files that count.
func (l *loader) loadRegistriesConf() (*registriesConf, error) {
	all := &registriesConf{}
	for i, conf := range l.finder.registriesConf {
		text, err := l.shared(conf.File)
		if err != nil && absent(err) && i < len(l.finder.registriesConf)-1 {
			continue
		}
		if err := l.addRegistriesConf(all, conf.File, text, err); err != nil {
			return nil, err
		}
		for _, dir := range conf.Dirs {
			s := l.state(dir, true)
			if s.err != nil && forbidden(s.err) {
				l.warnClosed(dir)
			} else if s.err != nil && !absent(s.err) {
				return nil, &Error{File: dir, Err: s.err}
			}
			for _, name := range s.names {
				if file := filepath.Join(dir, name); filepath.Ext(name) == ".conf" {
					text, err := l.shared(file)
					if err := l.addRegistriesConf(all, file, text, err); err != nil {
						return nil, err
					}
				}
			}
		}
		break
	}
	return all, nil
}

// addRegistriesConf adds the entries of a file, in place of earlier ones with the same
// prefix. err is of reading it.
func (l *loader) addRegistriesConf(all *registriesConf, file string, text []byte, err error) error {
	switch {
	case err != nil && absent(err):
		return nil
	case err != nil && forbidden(err):
		l.warnClosed(file)
		return nil
	case err != nil:
		return err
	}
	c, err := parseRegistriesConf(file, text)
	if err != nil {
		return err
	}
	all.warnings = append(all.warnings, c.warnings...)
	for _, e := range c.entries {
		all.entries = slices.DeleteFunc(all.entries, func(o registryEntry) bool { return o.host == e.host && o.path == e.path })
		all.entries = append(all.entries, e)
	}
	return nil
}

// registryEntry gives the entry of registries.conf for a registry, nil if there is none. An
// entry for some repositories of the registry is left out with a warning, as a Record is of
// the whole registry.
func (l *loader) registryEntry(host string) (*registryEntry, error) {
	c, err := l.loadRegistriesConf()
	if err != nil {
		return nil, err
	}
	l.warn(c.warnings...)
	var best *registryEntry
	for i := range c.entries {
		e := &c.entries[i]
		match := e.matches(host)
		if match > 0 && e.path != "" {
			l.counts(e.file)
			l.warnf(e.file, e.line, "registries.conf: the prefix %q is about some repositories of %s alone, and is left out: write an entry for all of %s, or a hosts.toml", e.prefix, e.host, e.host)
			continue
		}
		if match > 0 && (best == nil || match > best.matches(host)) {
			best = e
		}
	}
	if best == nil {
		return nil, nil
	}
	l.counts(best.file)
	if best.err != nil {
		return nil, best.err
	}
	if best.blocked {
		return nil, &Error{File: best.file, Line: best.line, Err: fmt.Errorf("registry %s %w (blocked = true)", best.prefix, ErrBlocked)}
	}
	return best, nil
}
