package ref

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// ParseHost checks the name of a registry, HOST or HOST:PORT, and returns it as
// it is spelled everywhere else: in lower case, and docker.io for each of
// Docker Hub's names.
//
// As for docker, a name is a host only where it has a dot or a port or is
// "localhost"; a bare word would be an image of Docker Hub there, so it is
// refused here. IPv6 addresses are written in brackets.
func ParseHost(s string) (string, error) {
	bad := func(why string) (string, error) {
		return "", fmt.Errorf("%w: %q is no registry host: %s", ErrInvalid, s, why)
	}
	name, port := s, ""
	if end := strings.LastIndexByte(s, ']'); strings.HasPrefix(s, "[") && end > 0 {
		name, port = s[:end+1], s[end+1:]
		if port != "" && port[0] != ':' {
			return bad("nothing but a port may follow the address")
		}
		if a, err := netip.ParseAddr(name[1:end]); err != nil || !a.Is6() || a.Zone() != "" {
			return bad("not an IPv6 address")
		}
	} else {
		if i := strings.IndexByte(s, ':'); i >= 0 {
			name, port = s[:i], s[i:]
		}
		if !validDomain(name) {
			return bad("labels are letters, digits and inner dashes, separated by dots")
		}
		if port == "" && name != "localhost" && !strings.Contains(name, ".") {
			return bad("it needs a dot, a port, or to be localhost")
		}
	}
	if port != "" {
		n, err := strconv.ParseUint(port[1:], 10, 16)
		if err != nil || n == 0 || port[1] == '+' || port[1] == '0' {
			return bad("the port must be a number from 1 to 65535")
		}
	}
	switch host := strings.ToLower(s); host {
	case "index.docker.io", dockerHubAPI, DockerHub:
		return DockerHub, nil
	default:
		return host, nil
	}
}

// validDomain says whether s is a domain name or an IPv4 address.
func validDomain(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if !alnum(c) && (c < 'A' || c > 'Z') && c != '-' {
				return false
			}
		}
	}
	return true
}

// IsLoopback says whether host, with or without a port, is this machine.
// Loopback hosts may speak plain HTTP.
func IsLoopback(host string) bool {
	name := host
	if strings.HasPrefix(name, "[") {
		name, _, _ = strings.Cut(name[1:], "]")
	} else {
		name, _, _ = strings.Cut(name, ":")
	}
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	a, err := netip.ParseAddr(name)
	return err == nil && a.Unmap().IsLoopback()
}
