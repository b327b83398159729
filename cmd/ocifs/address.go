package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ocifs/ocifs/registry/ref"
)

// address is a registry, or a repository of one, as people type it: HOST or
// HOST/REPOSITORY, with a scheme in front, slashes behind, or as an image's reference.
type address struct {
	scheme string         // in lower case; "": none was typed
	host   string         // in package ref's spelling
	path   string         // the repository, as it was typed; "": the whole registry
	repo   ref.Repository // the repository; zero: the whole registry
	object string         // a tag or a digest in the repository; "": none
}

// schemes are the schemes of addresses at a registry. docker:// is skopeo's and docker's,
// oci:// is Helm's.
var schemes = []string{"docker", "https", "http", "oci"}

// transports are the other places where skopeo and podman find images
// (containers-transports(5)): none of them is at a registry.
var transports = []string{"containers-storage", "dir", "docker-archive", "docker-daemon", "oci", "oci-archive", "ostree", "sif", "tarball"}

// String is the address as ocifs mount takes it: without scheme, tag or digest.
func (a address) String() string { return strings.TrimSuffix(a.host+"/"+a.path, "/") }

// parseAddress reads an address. Its errors name what was typed and say what to write.
func parseAddress(typed string) (address, error) {
	scheme, rest, found := strings.Cut(strings.TrimSpace(typed), "://")
	if !found {
		scheme, rest = "", scheme
	}
	a := address{scheme: strings.ToLower(scheme)}
	if found && !slices.Contains(schemes, a.scheme) {
		return address{}, fmt.Errorf("%q: no registry is addressed by %s://; write HOST or HOST/REPOSITORY", typed, scheme)
	}
	rest = strings.TrimRight(rest, "/")
	name, path, _ := strings.Cut(rest, "/")
	host, err := parseHost(name)
	switch {
	case a.scheme == "docker" && err != nil && shortName(rest):
		host, path, err = ref.DockerHub, rest, nil
		if !strings.Contains(rest, "/") {
			path = "library/" + rest
		}
	case a.scheme == "docker" && path == "" && shortName(rest):
		image, _, _ := strings.Cut(rest, ":")
		return address{}, fmt.Errorf("%q is a host to some and an image to others; write %s, or %s/library/%s", typed, rest, ref.DockerHub, image)
	case err != nil:
		return address{}, fmt.Errorf("%q: write HOST or HOST/REPOSITORY%s: %w", typed, hintOfHost(rest), err)
	case isAPI(a.scheme, host, path):
		path = ""
	}
	a.host = host
	if path == "" {
		return a, nil
	}
	r, err := ref.Parse(host + "/" + path)
	if err != nil {
		hint := ""
		if _, lower := ref.Parse(host + "/" + strings.ToLower(path)); lower == nil {
			hint = ", in lower case: " + host + "/" + strings.ToLower(path)
		}
		return address{}, fmt.Errorf("%q: write HOST or HOST/REPOSITORY%s: %w", typed, hint, err)
	}
	a.path, _, _ = strings.Cut(path, "@")
	a.path, _, _ = strings.Cut(a.path, ":")
	a.repo, a.object = r.Repository, r.Object
	return a, nil
}

// parseHost reads a host as people type it, or as it stands in the tree: localhost_5000.
func parseHost(name string) (string, error) {
	host, err := ref.ParseHost(name)
	if err == nil {
		return host, nil
	}
	if i := strings.LastIndexByte(name, '_'); i > 0 {
		if host, err := ref.ParseHost(name[:i] + ":" + name[i+1:]); err == nil {
			return host, nil
		}
	}
	return "", err
}

// shortName says whether s is an image of Docker Hub to docker, which takes the first word
// for a host only if it has a dot or a port or is localhost.
func shortName(s string) bool {
	name, _, _ := strings.Cut(s, "/")
	name, _, _ = strings.Cut(name, "@")
	name, _, _ = strings.Cut(name, ":")
	_, err := ref.Parse(ref.DockerHub + "/" + s)
	return err == nil && name != "localhost" && !strings.Contains(name, ".")
}

// isAPI says whether a path is the registry's API and no repository: web addresses end in
// it, and docker's config.json has it for Docker Hub.
func isAPI(scheme, host, path string) bool {
	web := scheme == "https" || scheme == "http"
	return web && (path == "v2" || path == "v1" && host == ref.DockerHub)
}

// hintOfHost tells the probable meaning of a text that doesn't begin with a host, or "".
func hintOfHost(s string) string {
	transport, _, _ := strings.Cut(s, ":")
	switch {
	case s == "":
		return ""
	case strings.HasPrefix(s, "/"), strings.HasPrefix(s, "."), strings.HasPrefix(s, "~"):
		return "; " + s + " is a path"
	case transport != s && slices.Contains(transports, transport):
		return "; " + transport + ": is no registry"
	case shortName(s):
		return "; for Docker Hub write " + ref.DockerHub + "/" + s
	}
	return ""
}

// everyRegistry are the SOURCEs that mean every registry. fstab needs a word there. None of them
// can be a host.
var everyRegistry = []string{"", "ocifs", "none"}

// parseSource reads SOURCE: nothing, HOST or HOST/REPOSITORY. plainHTTP are the hosts of
// --plain-http.
func parseSource(source string, plainHTTP []string) (host, path string, err error) {
	if slices.Contains(everyRegistry, source) {
		return "", "", nil
	}
	a, err := parseAddress(source)
	switch {
	case err != nil:
		return "", "", fmt.Errorf("SOURCE %w", err)
	case a.object != "":
		return "", "", fmt.Errorf("SOURCE %q: a registry or a repository is mounted, and no image: write %s, and look into %s", source, a, a.inTree())
	case a.scheme == "http" && !ref.IsLoopback(a.host) && !slices.Contains(plainHTTP, a.host):
		return "", "", fmt.Errorf("SOURCE %q: a host that speaks plain HTTP has to be named: write %s --plain-http %s", source, a, a.host)
	}
	return a.host, a.path, nil
}

// inTree gives the path of the tag or the digest in the tree of the repository.
func (a address) inTree() string {
	if algorithm, hex, ok := strings.Cut(a.object, ":"); ok {
		return "manifests/" + algorithm + "/" + hex
	}
	return "tags/" + a.object
}
