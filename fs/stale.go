package fs

import (
	"slices"
	"strings"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry/ref"
)

// staleWait is how long a push waits for the kernel to take in what has changed. A
// lookup in the same directory that waits for its registry holds that up.
const staleWait = time.Second

// stale is a name in a repository's directory of which the kernel may believe what
// isn't so any more. Without a name it is the directory's own time.
type stale struct {
	dir, name string // "tags", "v1"; "blobs/sha256", "<hex>"
	appeared  bool   // all that can be wrong is that it doesn't exist
}

func digestEntry(in string, d digest.Digest) stale {
	return stale{dir: in + "/" + d.Algorithm().String(), name: d.Encoded()}
}

// newEntry is of what stands for one digest for ever, once it does.
func newEntry(in string, d digest.Digest) stale {
	e := digestEntry(in, d)
	e.appeared = true
	return e
}

// forgetTime makes the kernel ask for the attributes of a node anew. Unlike NotifyEntry, the
// notification waits for no lock of the kernel. A negative offset leaves the pages alone.
func forgetTime(n *gofs.Inode) { _ = n.NotifyContent(-1, 0) }

// outdate makes the kernel look up names of a repository anew, under all spellings
// of the repository's path. done is closed when it is going to. The caller may have a
// directory locked in the kernel, or be in the way of someone who has, so that must
// be waited for with a bound, or not at all.
func (t *Tree) outdate(r ref.Repository, entries ...stale) (done <-chan struct{}) {
	told := make(chan struct{})
	t.telling.Add(1)
	go func() {
		defer t.telling.Done()
		defer close(told)
		for _, repo := range t.shown(r) {
			for _, e := range entries {
				dir := repo
				for name := range strings.SplitSeq(e.dir, "/") {
					if dir != nil {
						dir = dir.GetChild(name)
					}
				}
				// A kernel that doesn't know it needn't forget it.
				switch {
				case dir == nil, e.appeared && dir.GetChild(e.name) != nil:
				case e.name == "":
					forgetTime(dir)
				default:
					_ = dir.NotifyEntry(e.name)
				}
			}
		}
	}()
	return told
}

func (t *Tree) wait(told <-chan struct{}) {
	select {
	case <-told:
	case <-time.After(staleWait):
	}
}

// shown finds the directories of a repository that the kernel knows.
func (t *Tree) shown(r ref.Repository) []*gofs.Inode {
	t.mu.Lock()
	top := t.top
	t.mu.Unlock()
	if top == nil { // not mounted
		return nil
	}
	hosts := []*gofs.Inode{top}
	if namespaceOf(top) == nil {
		hosts = hosts[:0]
		for _, n := range top.Children() {
			hosts = append(hosts, n)
		}
	}
	var found []*gofs.Inode
	for _, h := range hosts {
		ns := namespaceOf(h)
		if ns == nil || ns.host.name != r.Host {
			continue
		}
		for _, path := range spellings(r) {
			rest, below := path, true
			if ns.path != "" {
				rest, below = strings.CutPrefix(path+"/", ns.path+"/")
			}
			if n := descend(h, rest); below && n != nil && !slices.Contains(found, n) {
				found = append(found, n)
			}
		}
	}
	return found
}

// descend follows repository components; nil where the kernel doesn't know them.
func descend(n *gofs.Inode, path string) *gofs.Inode {
	for c := range strings.SplitSeq(path, "/") {
		if c != "" && n != nil {
			n = n.GetChild(componentName(c))
		}
	}
	return n
}

// spellings are the paths that a repository can be entered by: Docker Hub's official
// images go without their namespace as well.
func spellings(r ref.Repository) []string {
	paths := []string{r.Path}
	if short, ok := strings.CutPrefix(r.Path, "library/"); ok && r.Host == ref.DockerHub && !strings.Contains(short, "/") {
		paths = append(paths, short)
	}
	return paths
}

// namespaceOf gives what a node shows, where that is a host or something below it.
func namespaceOf(n *gofs.Inode) *namespace {
	d, ok := n.Operations().(*dirNode)
	if !ok {
		return nil
	}
	dir := d.dir
	if w, ok := dir.(*withControl); ok {
		dir = w.directory
	}
	ns, _ := dir.(*namespace)
	return ns
}
