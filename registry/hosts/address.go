package hosts

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/ocifs/ocifs/registry/ref"
)

// parseBase reads the address of a server, as hosts.toml has it. Without a scheme it is
// https: a loopback host that answers in plain text is asked so anyway. The API is
// below the path at /v2, or with override at the path itself.
//
// An error shows no more of the address than its host, as people write passwords there.
func parseBase(address string, override bool) (*url.URL, error) {
	if !strings.Contains(address, "://") {
		address = "https://" + address
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("the address is no URL: write https://HOST:PORT/PATH")
	}
	bad := func(why string) (*url.URL, error) {
		return nil, fmt.Errorf("the address of %q %s", u.Host, why)
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return bad("must begin with https:// or http://")
	case u.Hostname() == "":
		return bad("names no host")
	case u.User != nil:
		return bad("must have no user in it: credentials belong where docker login puts them")
	case u.RawQuery != "" || u.ForceQuery:
		return bad("must have no query")
	case u.Fragment != "" || strings.Contains(address, "#"):
		return bad("must have no fragment")
	}
	if port := u.Port(); port != "" || strings.HasSuffix(u.Host, ":") {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return bad("has no port that there can be")
		}
	}
	at := u.EscapedPath()
	if at != "" {
		at = strings.TrimRight(path.Clean(at), "/")
	}
	if !override && !strings.HasSuffix(at, "/v2") {
		at += "/v2"
	}
	plain, err := url.PathUnescape(at)
	if err != nil {
		return bad("has a path that is none")
	}
	base := &url.URL{Scheme: u.Scheme, Host: apiHost(strings.ToLower(u.Host)), Path: plain}
	if base.EscapedPath() != at {
		base.RawPath = at
	}
	return base, nil
}

// apiHost is ref.APIHost for hosts that may be spelled in another way: nobody answers
// for Docker Hub's API at docker.io, which many a hosts.toml names as the server.
func apiHost(host string) string {
	if name, err := ref.ParseHost(host); err == nil {
		return ref.APIHost(name)
	}
	return host
}
