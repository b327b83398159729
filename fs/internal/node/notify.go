package node

import (
	"strings"

	gofs "github.com/hanwen/go-fuse/v2/fs"
)

// Stale is something of which the kernel may have old information: a name in a directory or, if
// Name is "", the attributes of the directory.
type Stale struct {
	Dir  string // the path of the directory below the mountpoint
	Name string
	// Appeared says that the kernel can at most believe that the name doesn't exist.
	Appeared bool
}

// Outdate makes the kernel ask again. done is closed when the kernel has been told. The caller
// may hold the lock of a directory in the kernel, or hold up somebody who does. So a caller must
// wait for done with a time limit, or not at all.
func (k *Kernel) Outdate(stale []Stale) (done <-chan struct{}) {
	told := make(chan struct{})
	k.launch(func() {
		defer close(told)
		k.listings.drop()
		for _, s := range stale {
			k.outdate(s)
		}
	})
	return told
}

func (k *Kernel) outdate(s Stale) {
	dir := k.find(s.Dir)
	// A directory that the kernel doesn't know needs no notification.
	switch {
	case dir == nil, s.Appeared && dir.GetChild(s.Name) != nil:
	case s.Name == "":
		forgetAttr(dir)
	default:
		_ = dir.NotifyEntry(s.Name)
	}
}

// forgetAttr makes the kernel ask again for the attributes of a node. Unlike NotifyEntry, this
// notification waits for no lock of the kernel. A negative offset keeps the pages.
func forgetAttr(n *gofs.Inode) { _ = n.NotifyContent(-1, 0) }

// find gives the node at a path; nil: the kernel doesn't know the path.
func (k *Kernel) find(path string) *gofs.Inode {
	k.mu.Lock()
	n := k.top
	k.mu.Unlock()
	for name := range strings.SplitSeq(path, "/") {
		if n != nil && name != "" {
			n = n.GetChild(name)
		}
	}
	return n
}

// Names gives the names in a directory that the kernel knows.
func (k *Kernel) Names(dir string) (names []string) {
	n := k.find(dir)
	if n == nil {
		return nil
	}
	for name := range n.Children() {
		names = append(names, name)
	}
	return names
}
