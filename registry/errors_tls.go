package registry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
)

// isTLS says whether err is of a TLS handshake.
func isTLS(err error) bool {
	var record tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var alert tls.AlertError
	// HTTP/2 says no more of a server that hung up right after the handshake, as those do
	// that want a certificate.
	if strings.Contains(err.Error(), "http2: client conn could not be established") {
		return true
	}
	return errors.As(err, &record) || errors.As(err, &verify) || errors.As(err, &unknown) || errors.As(err, &host) ||
		errors.As(err, &invalid) || errors.As(err, &alert) || strings.Contains(err.Error(), "tls: ")
}
