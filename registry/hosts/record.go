package hosts

import (
	"bytes"
	"cmp"
	"net/url"
	"path/filepath"

	"github.com/ocifs/ocifs/registry/ref"
)

const tomlName = "hosts.toml"

// record makes the Record of a registry.
func (r *reading) record(host string) (*Record, error) {
	said, err := r.containerd(host)
	if err != nil {
		return nil, err
	}
	rec := &Record{Host: host}
	for _, s := range said.mirrors {
		s.can = cmp.Or(s.can, Pull|Resolve)
		e, err := r.endpoint(said.file, s, material{})
		if err != nil {
			return nil, err
		}
		rec.Mirrors = append(rec.Mirrors, e)
	}
	s, file := said.server, said.file
	if !s.said {
		file = "" // which is about mirrors alone
	}
	s.can = cmp.Or(s.can, Pull|Resolve|Push)
	if s.base == nil {
		s.base = &url.URL{Scheme: "https", Host: ref.APIHost(host), Path: "/v2"}
	}
	if rec.Server, err = r.endpoint(file, s, said.own); err != nil {
		return nil, err
	}
	rec.Files = r.files
	return rec, nil
}

// endpoint makes an Endpoint of what file says of it. own is what lies beside the file
// for it.
func (r *reading) endpoint(file string, s settings, own material) (Endpoint, error) {
	m, err := r.named(file, s)
	if err != nil {
		return Endpoint{}, err
	}
	if s.base.Scheme == "http" && (len(m.roots) > 0 || len(m.pairs) > 0 || m.skipVerify) {
		r.warn("ca, client and skip_verify mean nothing for an address of http", file, "host", s.base.Host)
	}
	m.add(own)
	certs, err := r.certs(s.base)
	if err != nil {
		return Endpoint{}, err
	}
	m.add(certs)
	return Endpoint{Base: s.base, Can: s.can, Header: s.header, TLS: m.config(r), DialTimeout: s.dialTimeout, From: cmp.Or(file, m.from)}, nil
}

// hostDir is what containerd's directory for a host says: a hosts.toml, or the
// certificates that lie in its place.
type hostDir struct {
	config
	file string
	own  material
}

// containerd reads the directory that counts for a host, which may be none.
func (r *reading) containerd(host string) (hostDir, error) {
	for _, root := range r.finder.containerd {
		for _, name := range append(tomlNames(host), fallback) {
			dir := filepath.Join(root, name)
			switch s := r.look(dir, false); {
			case s.err == nil && s.info.IsDir():
				if said, ok, err := r.hostDir(dir); ok || err != nil {
					return said, err
				}
			case s.err != nil && forbidden(s.err):
				r.closed(root)
			case s.err != nil && !absent(s.err):
				return hostDir{}, &Error{File: dir, Err: s.err}
			}
		}
	}
	return hostDir{}, nil
}

// hostDir reads a host's directory. It isn't ok where the directory can't be looked into:
// then it is as though it weren't there.
func (r *reading) hostDir(dir string) (hostDir, bool, error) {
	file := filepath.Join(dir, tomlName)
	text, err := r.file(file)
	if err != nil && forbidden(err) && forbidden(look(file, false).err) {
		r.closed(dir)
		return hostDir{}, false, nil
	}
	if err != nil && !absent(err) {
		return hostDir{}, false, err
	}
	if len(bytes.TrimSpace(text)) == 0 { // or it isn't there
		own, err := r.found(dir)
		return hostDir{own: own}, true, err
	}
	c, err := parse(file, text)
	if err != nil {
		return hostDir{}, false, err
	}
	for _, e := range c.ignored {
		r.warn("hosts.toml: "+e.Err.Error(), file, "line", e.Line)
	}
	return hostDir{config: *c, file: file}, true, nil
}
