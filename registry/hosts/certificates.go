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

// certificates are the certificates for one server, and whether its own is verified.
type certificates struct {
	authorities [][]byte // in PEM form
	clients     []tls.Certificate
	skipVerify  bool
	from        string // the first file of docker's or podman's that some of them are from
}

// add adds those that another place has for the same server.
func (c *certificates) add(other certificates) {
	c.authorities = append(c.authorities, other.authorities...)
	c.clients = append(c.clients, other.clients...)
	c.skipVerify = c.skipVerify || other.skipVerify
	c.from = cmp.Or(c.from, other.from)
}

// config makes the TLS configuration. It is nil if the system's own is enough.
func (c certificates) config(l *loader) *tls.Config {
	if len(c.authorities) == 0 && len(c.clients) == 0 && !c.skipVerify {
		return nil
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: c.clients, InsecureSkipVerify: c.skipVerify}
	if len(c.authorities) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			l.warnf(c.from, 0, "the system's certificate authorities can't be read: going on with those that are configured: %w", err)
			pool = x509.NewCertPool()
		}
		for _, pem := range c.authorities {
			pool.AppendCertsFromPEM(pem)
		}
		t.RootCAs = pool
	}
	return t
}

// authority reads a file of certificate authorities.
func (l *loader) authority(path string) ([]byte, error) {
	b, err := l.file(path)
	if err != nil {
		return nil, err
	}
	if !x509.NewCertPool().AppendCertsFromPEM(b) {
		return nil, &Error{File: path, Err: errors.New("it holds no certificate in PEM form")}
	}
	return b, nil
}

// certificate reads a client certificate and its key. key is empty if one file holds both.
func (l *loader) certificate(cert, key string) (tls.Certificate, error) {
	c, err := l.file(cert)
	if err != nil {
		return tls.Certificate{}, err
	}
	k, both := c, cert+" for its own key"
	if key != "" {
		if k, err = l.file(key); err != nil {
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

// certificatesOf reads the certificates that a hosts.toml names for a server. Relative paths
// start at its directory. An error is of the hosts.toml, where it is mended as a rule.
func (l *loader) certificatesOf(file string, s settings) (certificates, error) {
	c := certificates{skipVerify: s.skipVerify}
	dir := filepath.Dir(file)
	from := func(path string) string {
		if filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(dir, path)
	}
	for _, ca := range s.ca {
		pem, err := l.authority(from(ca.path))
		if err != nil {
			return c, &Error{File: file, Line: ca.line, Err: fmt.Errorf("ca: %w", err)}
		}
		c.authorities = append(c.authorities, pem)
	}
	for _, p := range s.client {
		key := p.key
		if key != "" {
			key = from(key)
		}
		client, err := l.certificate(from(p.cert), key)
		if err != nil {
			if key == "" {
				err = fmt.Errorf("%w (a certificate and its key in two files are written as [[\"CERTIFICATE\", \"KEY\"]])", err)
			}
			return c, &Error{File: file, Line: p.line, Err: fmt.Errorf("client: %w", err)}
		}
		c.clients = append(c.clients, client)
	}
	return c, nil
}

// certificatesIn reads the certificates in a directory, as docker has them, in the order of
// their names. Nobody named them for this program, so a warning is enough for a file of
// another user (the daemon's key, say) and for a link to nowhere.
func (l *loader) certificatesIn(dir string) (certificates, error) {
	var c certificates
	s := l.state(dir, true)
	switch {
	case s.err != nil && forbidden(s.err):
		if s.info == nil { // then the directory above is closed
			dir = filepath.Dir(dir)
		}
		l.warnClosed(dir)
		return c, nil
	case s.err != nil && absent(s.err):
		return c, nil
	case s.err != nil:
		return c, &Error{File: dir, Err: s.err}
	}
	for _, name := range s.names {
		path := filepath.Join(dir, name)
		bare := strings.TrimSuffix(path, filepath.Ext(name))
		switch filepath.Ext(name) {
		case ".crt":
			pem, err := l.authority(path)
			if err != nil && (forbidden(err) || absent(err)) {
				l.warnf(path, 0, "certificate authority not read: going on without it: %w", errors.Unwrap(err))
				continue
			}
			if err != nil {
				return certificates{}, err
			}
			c.authorities = append(c.authorities, pem)
			c.from = cmp.Or(c.from, path)
		case ".cert":
			key := bare + ".key"
			if !slices.Contains(s.names, filepath.Base(key)) {
				key = "" // containerd takes one file with both
			}
			client, err := l.certificate(path, key)
			if err != nil && forbidden(err) {
				l.warnf(path, 0, "client certificate not read: going on without it: %w", err)
				continue
			}
			if err != nil && key == "" {
				err = &Error{File: path, Err: fmt.Errorf("the client certificate has no key: %s.key is missing, and the file doesn't hold the key too (an authority's file ends in .crt): %w", bare, errors.Unwrap(err))}
			}
			if err != nil {
				return certificates{}, err
			}
			c.clients = append(c.clients, client)
			c.from = cmp.Or(c.from, path)
		case ".key":
			if cert := bare + ".cert"; !slices.Contains(s.names, filepath.Base(cert)) {
				return certificates{}, &Error{File: path, Err: fmt.Errorf("the key has no client certificate: %s is missing", cert)}
			}
		}
	}
	return c, nil
}

// certificatesFor reads the certificates that docker's and podman's directories have for the
// server at u.
func (l *loader) certificatesFor(u *url.URL) (certificates, error) {
	var c certificates
	if u.Scheme != "https" {
		return c, nil
	}
	for _, root := range l.finder.certs {
		for _, name := range certNames(u.Host) {
			more, err := l.certificatesIn(filepath.Join(root, name))
			if err != nil {
				return c, err
			}
			c.add(more)
		}
	}
	return c, nil
}
