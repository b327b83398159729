package registry

import (
	"errors"
	"strings"
	"time"

	"github.com/ocifs/ocifs/registry/internal/transport"
)

// An Observer is told what a Client does on the wire, to count it. Its methods may be called
// concurrently, and must return at once.
//
// host is a server, host[:port] in lower case: the registry itself, a mirror, a server of tokens, or
// where a redirect leads. Nobody bounds how many there are. Other strings have few values.
type Observer interface {
	// Asks is told of the server of a registry, its own or a mirror, before each request of this
	// client to it: a host that a caller or a file of settings named. All other hosts are where those
	// lead, and whoever runs a registry chooses them.
	Asks(host string)
	// Exchanged is told of each request when the header of its answer has come, or none will:
	// status is 0 then. Requests that are sent again, those where a redirect leads, and those for
	// tokens are told of like all others, so that a registry counts the same number. (A
	// loopback host that speaks no TLS is asked by https once, in vain, which it doesn't count.)
	// method is what HTTP calls it, and may be any that was given to Client.Do.
	Exchanged(host, method string, status int, took time.Duration)
	// Retried is told that a request is going to be sent again, or the rest of a blob asked for or
	// sent, after a failure that may pass. reason is "throttled", "status" (a passing one, such
	// as 502), "refused", "dns", "broken" or "stalled".
	Retried(host, reason string)
	// Downloaded is told of bytes of a blob as they come, and Uploaded as they leave. Bytes that
	// come or leave twice count twice.
	Downloaded(host string, bytes int)
	Uploaded(host string, bytes int)
}

// noObserver is the Observer of a client that has none.
type noObserver struct{}

func (noObserver) Asks(string)                                  {}
func (noObserver) Exchanged(string, string, int, time.Duration) {}
func (noObserver) Retried(string, string)                       {}
func (noObserver) Downloaded(string, int)                       {}
func (noObserver) Uploaded(string, int)                         {}

// retried tells that a call is going to be made again, or goes on, after a failure. Requests that are
// sent again before anyone hears of a failure are told of by transport.Retry.
func (c *Client) retried(k call, cause error) {
	if k.at == nil {
		var err error
		if k.at, err = c.of(k); err != nil {
			return // it is asked by nobody
		}
	}
	reason := transport.AgainAfter(cause)
	var e *Error
	if errors.As(cause, &e) {
		switch {
		case e.Kind == ErrTooManyRequests:
			reason = transport.AgainThrottled
		case e.Status != 0:
			reason = transport.AgainStatus
		}
	}
	c.opts.Observer.Retried(strings.ToLower(k.at.name()), reason)
}
