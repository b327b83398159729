package hosts

import (
	"crypto/tls"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Capability is what a server is good for; several are joined by |.
type Capability uint8

// The capabilities of hosts.toml. A server that may not resolve isn't trusted with what
// a tag points at; content by its digest is verified whoever sends it.
const (
	Pull      Capability = 1 << iota // content by its digest
	Resolve                          // what a tag points at, and what there is
	Push                             // writing and deleting
	Referrers                        // what refers to a digest; of a mirror: before the registry is asked
)

var capabilities = []struct {
	name string
	can  Capability
}{{"pull", Pull}, {"resolve", Resolve}, {"push", Push}, {"referrers", Referrers}}

// parseCapability gives the capability of a name, 0 for a name that isn't known.
func parseCapability(name string) Capability {
	for _, k := range capabilities {
		if strings.EqualFold(name, k.name) {
			return k.can
		}
	}
	return 0
}

// String names the capabilities as hosts.toml does: "pull, resolve".
func (c Capability) String() string {
	var names []string
	for _, k := range capabilities {
		if c&k.can != 0 {
			names = append(names, k.name)
		}
	}
	return strings.Join(names, ", ")
}

// Endpoint is a server that speaks for a registry. It is shared, so nobody changes what
// it holds.
type Endpoint struct {
	// Base is where its API is, what stands in place of https://HOST/v2: scheme, host
	// and path, without a slash at its end. "https://mirror.example/v2". The path may be
	// empty (override_path), and may have a RawPath: JoinPath heeds both.
	Base *url.URL
	// Can is what it may be asked for. A mirror has Pull and Resolve if its file names no
	// capabilities. A registry's own server then has all.
	Can Capability
	// Header is sent along to it, and to the token server that it names, for its tokens. No
	// other server gets it. Its values may be secrets. nil: none.
	Header http.Header
	// TLS holds the certificates of this server alone, beside those of the system. Who
	// needs another changes a Clone. nil: the system's.
	TLS *tls.Config
	// HTTPFallback says that the server may be asked by http, with credentials, if it doesn't
	// speak TLS. Base is https then, and https is tried first. A Base without a port means
	// port 443, then 80.
	HTTPFallback bool
	// DialTimeout is how long connecting may take. 0: as usual.
	DialTimeout time.Duration
	// From is the file that names it; "" if no file does.
	From string
}

// Record is what is configured about one registry. It isn't changed once it is made.
type Record struct {
	// Host is the registry, as ref.ParseHost spells it.
	Host string
	// Mirrors are asked first, in this order, each for what it can.
	Mirrors []Endpoint
	// Server is the registry itself, or what stands in for it ("server" in hosts.toml).
	Server Endpoint
	// Files are the files that count for it, in the order of reading.
	Files []string
	// Warnings are what these files say in vain: keys and entries that are left out. A
	// Finder's log has them too, each once.
	Warnings []*Error
}

// ErrBlocked is matched by the error of a registry that a registries.conf blocks.
var ErrBlocked = errors.New("is blocked")

// Error says what is wrong with a file. It holds no value of a header and no secret.
type Error struct {
	File string
	Line int   // from 1; 0 where it isn't known
	Err  error // what is wrong
}

// Error gives FILE:LINE: WHAT.
func (e *Error) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Err.Error()
	}
	return e.File + ":" + strconv.Itoa(e.Line) + ": " + e.Err.Error()
}

// Unwrap gives what is wrong.
func (e *Error) Unwrap() error { return e.Err }
