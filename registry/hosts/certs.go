package hosts

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
)

// material is what a TLS configuration is made of.
type material struct {
	roots      [][]byte // PEM
	pairs      []tls.Certificate
	skipVerify bool
	from       string // a file that some of it is from
}

// add adds what another place says of the same server, behind what was there.
func (m *material) add(other material) {
	m.roots = append(m.roots, other.roots...)
	m.pairs = append(m.pairs, other.pairs...)
	m.skipVerify = m.skipVerify || other.skipVerify
	m.from = cmp.Or(m.from, other.from)
}

// config makes the configuration, nil where there is nothing that the system hasn't got.
func (m material) config(r *reading) *tls.Config {
	if len(m.roots) == 0 && len(m.pairs) == 0 && !m.skipVerify {
		return nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: m.pairs, InsecureSkipVerify: m.skipVerify}
	if len(m.roots) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			r.warn("the system's certificate authorities can't be read: going on with those that are configured", "", "cause", err)
			pool = x509.NewCertPool()
		}
		for _, pem := range m.roots {
			pool.AppendCertsFromPEM(pem)
		}
		c.RootCAs = pool
	}
	return c
}

// authority reads a file of certificate authorities.
func (r *reading) authority(path string) ([]byte, error) {
	b, err := r.file(path)
	if err != nil {
		return nil, err
	}
	if !x509.NewCertPool().AppendCertsFromPEM(b) {
		return nil, &Error{File: path, Err: errors.New("it holds no certificate in PEM form")}
	}
	return b, nil
}

// certificate reads a client certificate and its key; key is empty where the
// certificate's file holds it too.
func (r *reading) certificate(cert, key string) (tls.Certificate, error) {
	c, err := r.file(cert)
	if err != nil {
		return tls.Certificate{}, err
	}
	k, both := c, cert+" for its own key"
	if key != "" {
		if k, err = r.file(key); err != nil {
			return tls.Certificate{}, err
		}
		both = cert + " with the key " + key
	}
	made, err := tls.X509KeyPair(c, k)
	if err != nil {
		return tls.Certificate{}, &Error{File: cert, Err: fmt.Errorf("client certificate %s: %w", both, err)}
	}
	return made, nil
}

// named reads what a hosts.toml in dir names, by paths that start there. An error is of
// the hosts.toml, as that is where it is mended as a rule.
func (r *reading) named(file string, s settings) (material, error) {
	m := material{skipVerify: s.skipVerify}
	dir := filepath.Dir(file)
	from := func(path string) string {
		if filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(dir, path)
	}
	for _, ca := range s.ca {
		pem, err := r.authority(from(ca.path))
		if err != nil {
			return m, &Error{File: file, Line: ca.line, Err: fmt.Errorf("ca: %w", err)}
		}
		m.roots = append(m.roots, pem)
	}
	for _, p := range s.client {
		key := p.key
		if key != "" {
			key = from(key)
		}
		c, err := r.certificate(from(p.cert), key)
		if err != nil {
			if key == "" {
				err = fmt.Errorf("%w (a certificate and its key in two files are written as [[\"CERTIFICATE\", \"KEY\"]])", err)
			}
			return m, &Error{File: file, Line: p.line, Err: fmt.Errorf("client: %w", err)}
		}
		m.pairs = append(m.pairs, c)
	}
	return m, nil
}

// found reads the certificates that lie in a directory, as docker has them, in the
// order of their names. Nobody named them for this program, so what is another user's
// (the daemon's key, say), or a link to nowhere, is left out with a warning.
func (r *reading) found(dir string) (material, error) {
	var m material
	s := r.look(dir, true)
	switch {
	case s.err != nil && forbidden(s.err):
		if s.info == nil { // then it isn't this one that is closed
			dir = filepath.Dir(dir)
		}
		r.closed(dir)
		return m, nil
	case s.err != nil && absent(s.err):
		return m, nil
	case s.err != nil:
		return m, &Error{File: dir, Err: s.err}
	}
	for _, name := range s.names {
		path := filepath.Join(dir, name)
		bare := strings.TrimSuffix(path, filepath.Ext(name))
		switch filepath.Ext(name) {
		case ".crt":
			pem, err := r.authority(path)
			if err != nil && (forbidden(err) || absent(err)) {
				r.warn("certificate authority not read: going on without it", path, "cause", errors.Unwrap(err))
				continue
			}
			if err != nil {
				return material{}, err
			}
			m.roots = append(m.roots, pem)
			m.from = cmp.Or(m.from, path)
		case ".cert":
			key := bare + ".key"
			if !slices.Contains(s.names, filepath.Base(key)) {
				return material{}, &Error{File: path, Err: fmt.Errorf("the client certificate has no key: %s is missing (an authority's file ends in .crt)", key)}
			}
			c, err := r.certificate(path, key)
			if err != nil && forbidden(err) {
				r.warn("client certificate not read: going on without it", path, "cause", err)
				continue
			}
			if err != nil {
				return material{}, err
			}
			m.pairs = append(m.pairs, c)
			m.from = cmp.Or(m.from, path)
		case ".key":
			if cert := bare + ".cert"; !slices.Contains(s.names, filepath.Base(cert)) {
				return material{}, &Error{File: path, Err: fmt.Errorf("the key has no client certificate: %s is missing", cert)}
			}
		}
	}
	return m, nil
}

// certs reads what docker's and podman's directories have for the server at u.
func (r *reading) certs(u *url.URL) (material, error) {
	var m material
	if u.Scheme != "https" {
		return m, nil
	}
	for _, root := range r.finder.certs {
		for _, name := range certNames(u.Host) {
			more, err := r.found(filepath.Join(root, name))
			if err != nil {
				return m, err
			}
			m.add(more)
		}
	}
	return m, nil
}
