package transport

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
)

// Statuses that no RFC defines, of proxies before a registry. The request may never have
// come to the registry.
const (
	// nginx says it of a client that went away: here, a proxy behind nginx.
	statusClientClosedRequest = 499
	// Cloudflare says 520 to 524 where the server behind it fails to answer: unknown error,
	// down, connection timed out, unreachable, time-out
	// (developers.cloudflare.com/support/troubleshooting/http-status-codes). 525 and 526 are
	// of the certificate of that server: another try within seconds doesn't mend it.
	statusCloudflareFirst = 520
	statusCloudflareLast  = 524
)

// isPassingStatus says whether the failure that a status tells of may pass within seconds.
func isPassingStatus(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable,
		http.StatusRequestTimeout, http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout,
		statusClientClosedRequest:
		return true
	}
	return status >= statusCloudflareFirst && status <= statusCloudflareLast
}

// isPassingError says whether a failure to get an answer may pass within seconds: the
// connection or the stream was lost, or a name server failed. A name that doesn't exist, and a
// connection that can't be made, stay so.
func isPassingError(err error) bool {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return !dns.IsNotFound && (dns.IsTemporary || dns.IsTimeout)
	}
	for _, lost := range []error{syscall.ECONNRESET, syscall.EPIPE, net.ErrClosed, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, lost) {
			return true
		}
	}
	return isStreamReset(err) || isConnectionLost(err)
}

// Error codes of HTTP/2 (RFC 9113, section 7) that say nothing of the request itself.
const (
	h2NoError         = 0x0
	h2InternalError   = 0x2
	h2RefusedStream   = 0x7
	h2Cancel          = 0x8
	h2EnhanceYourCalm = 0xb
)

// isStreamReset says whether the server reset the stream of a request (RST_STREAM) for a reason
// of its own, before it answered. Other codes (PROTOCOL_ERROR, HTTP_1_1_REQUIRED, …) are of how
// the request was made, and come again.
func isStreamReset(err error) bool {
	// net/http fills a struct of these fields from its own error (net/http/h2_error.go).
	var stream streamError
	if !errors.As(err, &stream) {
		return false
	}
	switch stream.Code {
	case h2NoError, h2InternalError, h2RefusedStream, h2Cancel, h2EnhanceYourCalm:
		return true
	}
	return false
}

// streamError has the fields of golang.org/x/net/http2.StreamError.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e streamError) Error() string { return "HTTP/2 stream error" }

// isConnectionLost says whether a connection of HTTP/2 ended (GOAWAY, no answer to a ping),
// with all requests that it carried. net/http has no other sign of that than these texts
// (net/http/h2_bundle.go, Go 1.26).
func isConnectionLost(err error) bool {
	text := err.Error()
	return strings.Contains(text, "server sent GOAWAY") || strings.Contains(text, "http2: client connection lost") ||
		strings.Contains(text, "http2: client connection force closed")
}
