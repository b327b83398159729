package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ocifs/ocifs/registry/auth"
	"github.com/ocifs/ocifs/registry/internal/transport"
)

// The kinds of errors, for errors.Is. Every error of this package is of one, or
// is the context's own, or that of the source of a blob that is pushed.
var (
	// ErrNotFound: the registry doesn't have it. It is also fs.ErrNotExist.
	ErrNotFound error = &subkind{"not found", fs.ErrNotExist}
	// ErrDenied: 401 or 403 after the best credentials.
	ErrDenied = errors.New("denied")
	// ErrCorrupt: a digest or size that doesn't match, or a malformed manifest.
	ErrCorrupt = errors.New("corrupt")
	// ErrTooManyRequests: 429 after the waits allowed.
	ErrTooManyRequests = errors.New("too many requests")
	// ErrServer: 5xx after retries, or an answer that makes no sense.
	ErrServer = errors.New("registry failure")
	// ErrUnreachable: no route, refused, DNS, TLS, or an unknown error of Options.Transport.
	ErrUnreachable = errors.New("unreachable")
	// ErrConfigured: what people configured of the registry can't be used. It comes
	// with ErrUnreachable.
	ErrConfigured = errors.New("the configuration of this registry can't be used")
	// ErrTimeout: no answer in time.
	ErrTimeout = errors.New("time-out")
	// ErrUnsupported: the registry doesn't offer it.
	ErrUnsupported = errors.New("not offered")
	// ErrNoPlace: as many bodies are open as may be.
	ErrNoPlace = errors.New("no connection is free")
	// ErrExists: an immutable tag points elsewhere.
	ErrExists = errors.New("the tag can't be moved")
	// ErrInUse: a deletion is refused, as a tag points at it or an index lists it.
	ErrInUse = errors.New("in use")
	// ErrTooLarge: the registry takes nothing as large as that, Spool was allowed less, or a blob
	// whose size nobody told is more than is read.
	ErrTooLarge = errors.New("too large")
	// ErrNotAhead: the registry doesn't take a blob while it is written. It can be pushed as
	// a whole.
	ErrNotAhead = errors.New("the registry doesn't take a blob while it is written")
	// ErrNotMounted: the registry didn't take the blob over from another repository.
	ErrNotMounted = errors.New("not mounted")
	// ErrBlobUnknown: a manifest names a blob or a manifest that the repository
	// lacks. It is also ErrNotFound.
	ErrBlobUnknown error = &subkind{"something that the manifest names is unknown", ErrNotFound}
)

// subkind is a kind of errors that is also of another.
type subkind struct {
	text string
	of   error
}

func (k *subkind) Error() string { return k.text }

func (k *subkind) Unwrap() error { return k.of }

// Error is what went wrong between this client and a registry.
type Error struct {
	Op         string   // what was done: "GET manifest"
	Name       string   // to what: "ghcr.io/org/app:v1"
	At         string   // the mirror that was asked, or the server of a descriptor's URL, HOST[:PORT]; "" for the registry itself
	Kind       error    // one of the kinds above
	Status     int      // of the answer; 0: there was none
	Codes      []Code   // what the registry said
	Credential string   // which credential was used, and before it those that were refused; "" for none. Never a secret.
	Hint       string   // what a person does to replace that credential, with ErrDenied: "docker login ghcr.io"; "" if nothing is known
	Searched   []string // where one was looked for in vain, with ErrDenied
	Err        error    // the cause, where it isn't the answer

	passed    []error       // of the servers that were asked before
	elsewhere bool          // the refusal is of where a redirect led, not the registry's
	wait      time.Duration // that the registry asks for, with ErrTooManyRequests
}

// Code is an error as a registry tells it (spec, "Error Codes").
type Code struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Error tells what was done, to what, and what came of it.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", e.Op, e.Name)
	if e.At != "" {
		fmt.Fprintf(&b, " at %s", e.At)
	}
	b.WriteString(": ")
	switch {
	case e.Status == 0:
		b.WriteString(e.Kind.Error())
	case e.Kind == ErrNotFound:
		fmt.Fprintf(&b, "not found (%d)", e.Status)
	default:
		fmt.Fprintf(&b, "%v (%d %s)", e.Kind, e.Status, http.StatusText(e.Status))
	}
	for _, c := range e.Codes {
		fmt.Fprintf(&b, ": %s %s", c.Code, c.Message)
	}
	if e.Err != nil {
		b.WriteString(": " + strings.TrimPrefix(e.Err.Error(), e.Kind.Error()+": ")) // a cause may name the kind too
	}
	if e.Kind == ErrDenied {
		switch {
		case e.Credential != "":
			fmt.Fprintf(&b, " (with the credential of %s)", e.Credential)
		case len(e.Searched) > 0:
			fmt.Fprintf(&b, " (without a credential: %s)", strings.Join(e.Searched, "; "))
		default:
			b.WriteString(" (without a credential)")
		}
	}
	for _, p := range e.passed {
		fmt.Fprintf(&b, "; before that %v", p)
	}
	return b.String()
}

// Unwrap gives the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// has says whether the registry gave one of these codes.
func (e *Error) has(codes ...string) bool {
	return slices.ContainsFunc(e.Codes, func(c Code) bool { return slices.Contains(codes, c.Code) })
}

// says tells whether the registry's codes or messages have one of these words, in
// lower case.
func (e *Error) says(words ...string) bool {
	for _, c := range e.Codes {
		text := strings.ToLower(c.Code + " " + c.Message)
		if slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) }) {
			return true
		}
	}
	return false
}

// writing gives the refusal of a write the kind that it has there.
func (k call) writing(e *Error) {
	switch k.method {
	case http.MethodDelete:
		inUse := e.says("google_manifest_dangling", "imagereferencedbymanifestlist")
		if inUse || e.Status == http.StatusConflict {
			e.Kind = ErrInUse
		}
		if e.has("UNSUPPORTED") {
			e.Kind = ErrUnsupported
		}
	case http.MethodPut, http.MethodPost, http.MethodPatch:
		switch {
		case k.what == manifestWhat && e.has("MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN"):
			e.Kind = ErrBlobUnknown
		case e.Status >= http.StatusInternalServerError:
		case e.has("MANIFEST_INVALID", "DIGEST_INVALID", "SIZE_INVALID"):
			e.Kind = ErrCorrupt
		case e.Status == http.StatusRequestEntityTooLarge, e.Status == http.StatusRequestedRangeNotSatisfiable && e.says("too large"):
			e.Kind = ErrTooLarge // GHCR says 416 of a PATCH beyond 4 MiB (seen in 2024)
		}
	}
}

// kindOf gives the kind of a status that is no success.
func kindOf(status int) error {
	switch {
	case status == http.StatusNotFound, status == http.StatusGone:
		return ErrNotFound
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusUnavailableForLegalReasons:
		return ErrDenied
	case status == http.StatusTooManyRequests:
		return ErrTooManyRequests
	case status == http.StatusMethodNotAllowed, status == http.StatusNotImplemented:
		return ErrUnsupported
	case status == http.StatusRequestTimeout:
		return ErrTimeout
	default:
		return ErrServer
	}
}

// kindOfFailure gives the kind of an error that came in place of an answer.
func kindOfFailure(err error) error {
	var token *auth.TokenError
	if errors.As(err, &token) && token.Status != 0 {
		if token.Status == http.StatusBadRequest || token.Status == http.StatusNotFound {
			return ErrDenied
		}
		return kindOf(token.Status)
	}
	var timeout interface{ Timeout() bool }
	var throttled *transport.Throttled
	var op *net.OpError
	var dns *net.DNSError
	var own *ownError
	switch {
	case errors.Is(err, ErrConfigured):
		return ErrUnreachable
	case errors.Is(err, ErrUnsupported):
		return ErrUnsupported
	case errors.As(err, &throttled):
		return ErrTooManyRequests
	case errors.Is(err, auth.ErrChallenge):
		return ErrDenied
	case errors.Is(err, transport.ErrAddress), errors.Is(err, auth.ErrToken):
		return ErrServer
	case errors.As(err, &dns):
		return ErrUnreachable
	case errors.As(err, &timeout) && timeout.Timeout():
		return ErrTimeout
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ErrServer
	case errors.As(err, &op), isTLS(err):
		return ErrUnreachable
	case errors.As(err, &own):
		return ErrUnreachable // a stranger's error: nothing says that the registry was reached
	}
	return ErrServer
}

// Bounds of what is shown of an error body.
const (
	maxCodes   = 5
	maxMessage = 300
)

// parseCodes reads the error body of the spec. Anything else gives nothing.
func parseCodes(b []byte) []Code {
	var body struct {
		Errors []Code `json:"errors"`
	}
	if json.Unmarshal(b, &body) != nil {
		return nil
	}
	codes := body.Errors[:min(len(body.Errors), maxCodes)]
	for i := range codes {
		codes[i].Code, codes[i].Message = plain(codes[i].Code), plain(codes[i].Message)
	}
	return codes
}

// plain bounds a text of a stranger and keeps it on one line.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if len(s) > maxMessage {
		s = strings.ToValidUTF8(s[:maxMessage], "") + "…"
	}
	return s
}
