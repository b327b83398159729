package fs

import (
	"slices"
	"strings"

	"github.com/ocifs/ocifs/registry/ref"
)

// Names of the entries of a repository directory. A repository component with the same name is
// written with a leading underscore, which no component can have.
const (
	archivesName  = "archives"
	tagsName      = "tags"
	manifestsName = "manifests"
	blobsName     = "blobs"
	referrersName = "referrers"
	rootfsName    = "rootfs"
	unpackedName  = "unpacked"
	uploadName    = "upload"
)

// reserved says whether a component with this name gets an underscore, because it is spelled like
// an entry of a repository.
func reserved(name string) bool {
	return slices.ContainsFunc(repositoryEntries, func(e repositoryEntry) bool { return e.name == name })
}

// controlName is the directory with files about the mount itself.
const controlName = ".ocifs"

// hostName gives the name of a host in the tree. The colon before a port becomes an underscore,
// because many tools that get the path would misread a colon.
func hostName(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		return host[:i] + "_" + host[i+1:]
	}
	return host
}

// parseHostName parses the name of a host in the tree, or as people type it.
func parseHostName(name string) (string, error) {
	if i := strings.LastIndexByte(name, '_'); i >= 0 {
		name = name[:i] + ":" + name[i+1:]
	}
	return ref.ParseHost(name)
}

// componentName gives the name of a repository component in the tree.
func componentName(component string) string {
	if reserved(component) {
		return "_" + component
	}
	return component
}

// parseComponentName parses the name of a repository component in the tree.
func parseComponentName(name string) (string, bool) {
	if c, ok := strings.CutPrefix(name, "_"); ok {
		return c, reserved(c)
	}
	return name, !reserved(name) && ref.ValidComponent(name)
}
