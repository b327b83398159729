package fs

import (
	"strings"

	"github.com/ocifs/ocifs/registry/ref"
)

// Names of the entries of a repository directory. A repository component of the same spelling
// is written with a leading underscore, which no component can have.
const (
	tagsName      = "tags"
	manifestsName = "manifests"
	blobsName     = "blobs"
	referrersName = "referrers"
	uploadName    = "upload"
)

// planned are the entries that a repository is going to have.
var planned = map[string]bool{"rootfs": true, "unpacked": true, "archives": true}

// reserved says whether components give way to a name: the entries that a repository has, and
// those that it is going to have, so that a path keeps its meaning.
func reserved(name string) bool {
	for _, e := range repositoryEntries {
		if e.name == name {
			return true
		}
	}
	return planned[name]
}

// controlName is the directory that tells about the mount itself.
const controlName = ".ocifs"

// hostName is how a host is written in the tree: the colon before its port
// would break the tools that the paths are handed to.
func hostName(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		return host[:i] + "_" + host[i+1:]
	}
	return host
}

// parseHostName reads a host as it is written in the tree, or as people type
// it.
func parseHostName(name string) (string, error) {
	if i := strings.LastIndexByte(name, '_'); i >= 0 {
		name = name[:i] + ":" + name[i+1:]
	}
	return ref.ParseHost(name)
}

// componentName is how a repository component is written in the tree.
func componentName(component string) string {
	if reserved(component) {
		return "_" + component
	}
	return component
}

// parseComponentName reads a repository component as it is written in the tree.
func parseComponentName(name string) (string, bool) {
	if c, ok := strings.CutPrefix(name, "_"); ok {
		return c, reserved(c)
	}
	return name, !reserved(name) && ref.ValidComponent(name)
}
