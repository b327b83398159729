package hosts

import (
	"slices"
	"strings"

	"github.com/ocifs/ocifs/registry/ref"
)

// fallback is containerd's directory for the hosts that have none of their own.
const fallback = "_default"

// spellings are the names that a host goes by in the names of directories.
func spellings(host string) []string {
	if h, err := ref.ParseHost(host); err == nil && h == ref.DockerHub {
		return []string{ref.DockerHub, ref.APIHost(ref.DockerHub), "index.docker.io"}
	}
	return []string{host}
}

// cutPort cuts the port off a host that has one.
func cutPort(host string) (name, port string, ok bool) {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		return host[:i], host[i+1:], true
	}
	return host, "", false
}

// tomlNames are the names of containerd's directory for a host, the first one first.
// Colons are no characters for files on Windows, so it has two spellings.
func tomlNames(host string) []string {
	if name, port, ok := cutPort(host); ok {
		return []string{name + "_" + port + "_", host}
	}
	return spellings(host)
}

// certNames are the names of docker's directories for a host. The port is the
// server's own, and https has 443 in any case.
func certNames(host string) []string {
	name, port, ok := cutPort(host)
	if ok && port != "443" {
		return []string{host}
	}
	var names []string
	for _, s := range spellings(name) {
		names = append(names, s, s+":443")
	}
	if ok {
		slices.Reverse(names)
	}
	return names
}

// parseName reads the name of a host's directory.
func parseName(dir string) (string, error) {
	if inner, ok := strings.CutSuffix(dir, "_"); ok {
		if i := strings.LastIndexByte(inner, '_'); i > 0 {
			dir = inner[:i] + ":" + inner[i+1:]
		}
	}
	return ref.ParseHost(dir)
}
