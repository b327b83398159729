package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// speaksPlain says whether err is of a server that answered TLS in plain text.
func speaksPlain(err error) bool {
	var record tls.RecordHeaderError
	return errors.As(err, &record) || errors.Is(err, http.ErrSchemeMismatch)
}

// unreachable tells in plain words what kept an answer away, and what to do.
func (v *visit) unreachable(err error) check {
	if c, ok := v.distrusted(err); ok {
		return c
	}
	var dns *net.DNSError
	var timeout interface{ Timeout() bool }
	switch {
	case speaksPlain(err):
		return wrong(fmt.Sprintf("if that is meant: --plain-http %s, or insecure = true for it in registries.conf, or insecure-registries in docker's daemon.json", v.host), "it speaks plain HTTP where TLS is expected")
	case errors.As(err, &dns) && dns.IsNotFound:
		return wrong("is it spelled right? A name of a private network may need its VPN or name server", "no name server knows %s", dns.Name)
	case errors.As(err, &dns):
		return wrong("see whether other names are found: getent hosts "+ref.APIHost(v.host), "the name server doesn't answer: %v", dns)
	case errors.Is(err, syscall.ECONNREFUSED):
		return wrong("is the registry running, and is this its port? A firewall may refuse as well", "nobody listens there: the connection is refused")
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return wrong("see whether this machine has a network, and whether a VPN or HTTPS_PROXY is needed", "there is no way there: %v", cause(err))
	case errors.Is(err, registry.ErrTooManyRequests):
		return wrong("wait, or log in: docker login "+v.host, "it asks to be left alone for a while: %v", err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, registry.ErrTimeout), errors.As(err, &timeout) && timeout.Timeout():
		return wrong("a firewall may swallow what is sent: see whether a VPN or HTTPS_PROXY is needed", "there was no answer in time")
	case errors.Is(err, registry.ErrServer):
		return wrong("try again in a while; whoever runs the registry, or a proxy before it, sees why in its log", "it fails: %v", err)
	}
	return wrong("see what curl -v https://"+ref.APIHost(v.host)+"/v2/ says", "%v", err)
}

// distrusted tells why a TLS server isn't trusted.
func (v *visit) distrusted(err error) (check, bool) {
	var unknownCA x509.UnknownAuthorityError
	var otherName x509.HostnameError
	var invalid x509.CertificateInvalidError
	host := ref.APIHost(v.host)
	switch {
	case errors.As(err, &unknownCA):
		by := ""
		if c := unknownCA.Cert; c != nil && c.Issuer.String() != "" {
			by = fmt.Sprintf(" (%s)", c.Issuer)
		}
		next := "put its authority's certificate into /etc/docker/certs.d/" + v.host + "/ca.crt, or name a file with it in SSL_CERT_FILE"
		if f := os.Getenv("SSL_CERT_FILE"); f != "" {
			next += " (which is " + f + " now)"
		}
		return wrong(next, "its certificate is signed by an authority that isn't trusted here%s", by), true
	case errors.As(err, &otherName):
		names := "none"
		if otherName.Certificate != nil {
			all := otherName.Certificate.DNSNames
			for _, ip := range otherName.Certificate.IPAddresses {
				all = append(all, ip.String())
			}
			if len(all) > 0 {
				names = strings.Join(all[:min(len(all), 5)], ", ")
			}
		}
		return wrong("use one of these names, or have the certificate made for this one", "its certificate is for other names than %s: %s", host, names), true
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil:
		if time.Now().Before(invalid.Cert.NotBefore) {
			return wrong("look at this machine's clock: date", "its certificate begins on %s, which is in the future", invalid.Cert.NotBefore.UTC().Format(time.DateOnly)), true
		}
		return wrong("have it renewed by whoever runs the registry; look at this machine's clock as well", "its certificate was over on %s", invalid.Cert.NotAfter.UTC().Format(time.DateOnly)), true
	case errors.As(err, &invalid):
		return wrong("have it made anew by whoever runs the registry", "its certificate isn't valid: %v", invalid), true
	case strings.Contains(err.Error(), "remote error: tls: "): // an alert has no type of its own
		_, alert, _ := strings.Cut(err.Error(), "remote error: tls: ")
		return wrong("it may want a client's certificate: put it, with its key, into /etc/docker/certs.d/"+v.host+"/client.cert and client.key", "it ends the TLS handshake: %s", alert), true
	}
	return check{}, false
}

// cause is the system's own word for what went wrong.
func cause(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}
