package hosts

import (
	"bytes"
	"cmp"
	"net/url"
	"path/filepath"

	"github.com/ocifs/ocifs/registry/ref"
)

const tomlName = "hosts.toml"

// Capabilities that a server has if no file names others.
const (
	mirrorCapabilities = Pull | Resolve
	allCapabilities    = Pull | Resolve | Push | Referrers
)

// record makes the Record of a registry: from its hosts.toml, else from registries.conf, else
// from daemon.json.
func (l *loader) record(host string) (*Record, error) {
	dir, err := l.containerdDir(host)
	if err != nil {
		return nil, err
	}
	file, server, mirrors := dir.file, dir.content.server, dir.content.mirrors
	if file == "" {
		entry, err := l.registryEntry(host)
		if err != nil {
			return nil, err
		}
		if entry != nil {
			file, server, mirrors = entry.file, entry.server, entry.mirrors
		}
	}
	docker := l.loadDaemonJSON()
	if file == "" && host == ref.DockerHub && len(docker.mirrors) > 0 {
		file, mirrors = docker.file, docker.mirrors
		l.counts(file)
	}

	rec := &Record{Host: host}
	for _, s := range mirrors {
		if !s.canNamed {
			s.can = mirrorCapabilities
		}
		if file == docker.file && s.base.Scheme == "https" && docker.names(s.base) {
			s.skipVerify = true
		}
		e, err := l.endpoint(file, s, certificates{})
		if err != nil {
			return nil, err
		}
		rec.Mirrors = append(rec.Mirrors, e)
	}
	if !server.any {
		file = "" // it is about mirrors alone
	}
	if !server.canNamed {
		server.can = allCapabilities
	}
	if server.base == nil {
		server.base = &url.URL{Scheme: "https", Host: ref.APIHost(host), Path: "/v2"}
	}
	if !server.any && docker.names(server.base) {
		file = docker.file
		l.counts(file)
		server.skipVerify, server.httpFallback = true, true
	}
	if server.base.Host != ref.APIHost(host) {
		dir.certificates = certificates{} // they are for the registry's own host
	}
	if rec.Server, err = l.endpoint(file, server, dir.certificates); err != nil {
		return nil, err
	}
	rec.Files, rec.Warnings = l.files, l.warnings
	return rec, nil
}

// endpoint makes an Endpoint of what a file says of a server. beside are the certificates that
// lie beside the file for it.
func (l *loader) endpoint(file string, s settings, beside certificates) (Endpoint, error) {
	c, err := l.certificatesOf(file, s)
	if err != nil {
		return Endpoint{}, err
	}
	if s.base.Scheme == "http" && (len(c.authorities) > 0 || len(c.clients) > 0 || c.skipVerify) {
		l.warnf(file, 0, "ca, client and skip_verify mean nothing for http://%s", s.base.Host)
	}
	c.add(beside)
	more, err := l.certificatesFor(s.base)
	if err != nil {
		return Endpoint{}, err
	}
	c.add(more)
	return Endpoint{Base: s.base, Can: s.can, Header: s.header, TLS: c.config(l), HTTPFallback: s.httpFallback, DialTimeout: s.dialTimeout, From: cmp.Or(file, c.from)}, nil
}

// containerdDir is containerd's directory for a host: a hosts.toml, or the certificates in its
// place.
type containerdDir struct {
	file         string // the hosts.toml; "": there is none
	content      hostsTOML
	certificates certificates
}

// containerdDir reads the directory that counts for a host, which may be none.
func (l *loader) containerdDir(host string) (containerdDir, error) {
	for _, root := range l.finder.containerd {
		for _, name := range append(tomlNames(host), fallback) {
			dir := filepath.Join(root, name)
			switch s := l.state(dir, false); {
			case s.err == nil && s.info.IsDir():
				read, ok, err := l.readContainerdDir(dir)
				if ok || err != nil {
					return read, err
				}
			case s.err != nil && forbidden(s.err):
				l.warnClosed(root)
			case s.err != nil && !absent(s.err):
				return containerdDir{}, &Error{File: dir, Err: s.err}
			}
		}
	}
	return containerdDir{}, nil
}

// readContainerdDir reads a host's directory. ok is false if this user may not look into it:
// then it counts for nothing.
func (l *loader) readContainerdDir(dir string) (_ containerdDir, ok bool, _ error) {
	file := filepath.Join(dir, tomlName)
	text, err := l.file(file)
	if err != nil && forbidden(err) && forbidden(stateOf(file, false).err) {
		l.warnClosed(dir)
		return containerdDir{}, false, nil
	}
	if err != nil && !absent(err) {
		return containerdDir{}, false, err
	}
	if len(bytes.TrimSpace(text)) == 0 { // or there is no such file
		c, err := l.certificatesIn(dir)
		return containerdDir{certificates: c}, true, err
	}
	content, err := parseHostsTOML(file, text)
	if err != nil {
		return containerdDir{}, false, err
	}
	l.warn(content.warnings...)
	return containerdDir{file: file, content: *content}, true, nil
}
