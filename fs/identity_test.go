package fs

import (
	"fmt"
	"testing"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/fs/internal/known"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// Two paths of different hosts that have one FNV-64a sum, found by a meet in the middle
// within seconds: the first is one that somebody can register to be taken for the second.
const (
	attackerHost, attackerPath = "evil.example", "cep4avmhyweg3f23xf"
	victimHost, victimPath     = "ghcr.io", "org"
)

// bridged is a tree behind go-fuse's bridge, without a kernel.
type bridged struct {
	fuse.RawFileSystem
	t    *testing.T
	root *gofs.Inode
}

func (w *walked) bridge() *bridged {
	raw, root := w.kernel.Bridge(w.root)
	return &bridged{raw, w.t, root}
}

// to walks along names from the root, as the kernel does.
func (b *bridged) to(names ...string) (*gofs.Inode, fuse.EntryOut) {
	b.t.Helper()
	out, at := fuse.EntryOut{NodeId: fuse.FUSE_ROOT_ID}, b.root
	for _, name := range names {
		parent := out.NodeId
		out = fuse.EntryOut{}
		if status := b.Lookup(nil, &fuse.InHeader{NodeId: parent}, name, &out); !status.Ok() {
			b.t.Fatalf("lookup of %s: %v", name, status)
		}
		at = at.GetChild(name)
	}
	return at, out
}

// A registry's directory is never another's, whatever names the registry chooses.
//
// Behaviour: names.hashes
func TestNoRegistryTakesOverAnothersDirectory(t *testing.T) {
	b := walk(t, registrytest.Start(t, registrytest.Options{}), t.TempDir(), Options{}).bridge()
	_, attacker := b.to(attackerHost, attackerPath)
	inode, victim := b.to(victimHost, victimPath)
	if attacker.NodeId == victim.NodeId || attacker.Ino == victim.Ino {
		t.Errorf("both are node %d and %d, with inode number %d and %d", attacker.NodeId, victim.NodeId, attacker.Ino, victim.Ino)
	}
	if ns, ok := node.EntryOf(inode).(*namespace); !ok || ns.host.Name != victimHost || ns.path != victimPath {
		t.Errorf("%s/%s is served by %+v", victimHost, victimPath, ns)
	}
}

// The kernel is told the identity of each node: in lookups, in attributes, in listings and
// below upload/.
func TestNodesAreShownByTheirIdentity(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	oneLayer(t, s, "team/app", "v1", "one")
	w := walk(t, s, t.TempDir(), Options{TagTTL: time.Minute, ListTTL: time.Minute})
	b := w.bridge()
	seen := map[node.Identity]string{}
	for _, names := range [][]string{
		{}, {controlName}, {controlName, "version"}, {w.host}, {w.host, "team"}, {w.host, "team", "app"},
		{w.host, "team", "app", "tags"}, {w.host, "team", "app", "tags", "v1"},
		{w.host, "team", "app", "tags", "v1", "manifest.json"}, {w.host, "team", "app", "tags", "v1", "referrers"},
		{w.host, "team", "app", "upload"}, {w.host, "team", "app", "upload", "blobs"},
		{w.host, "team", "app", "upload", "oci-layout"},
	} {
		inode, out := b.to(names...)
		var attr fuse.AttrOut
		if errno := inode.Operations().(gofs.NodeGetattrer).Getattr(t.Context(), nil, &attr); errno != 0 {
			t.Fatalf("%q: %v", names, errno)
		}
		id := node.Identity{Ino: inode.StableAttr().Ino, Gen: inode.StableAttr().Gen}
		if attr.Ino != id.Ino || len(names) > 0 && (out.Ino != id.Ino || out.Generation != id.Gen) {
			t.Errorf("%q is %v; a lookup says %d and %d, its attributes %d", names, id, out.Ino, out.Generation, attr.Ino)
		}
		if len(names) > 0 && (id.Gen == 0 || id.Ino < 2 || id.Ino >= 1<<63) {
			t.Errorf("%q has %v, of which something is reserved", names, id)
		}
		if other, ok := seen[id]; ok {
			t.Errorf("%q is %s", names, other)
		}
		seen[id] = fmt.Sprint(names)
		if open, ok := inode.Operations().(gofs.NodeOpendirHandler); ok {
			b.listsIdentities(inode, open)
		}
	}
}

// listsIdentities checks that a listing gives the inode numbers that lookups give.
func (b *bridged) listsIdentities(dir *gofs.Inode, open gofs.NodeOpendirHandler) {
	b.t.Helper()
	h, _, errno := open.OpendirHandle(b.t.Context(), 0)
	if errno != 0 {
		return // a registry that has no such list
	}
	for {
		e, errno := h.(gofs.FileReaddirenter).Readdirent(b.t.Context())
		if e == nil || errno != 0 {
			return
		}
		var out fuse.EntryOut
		if e.Name == "." || e.Name == ".." {
			continue
		}
		if _, errno := dir.Operations().(gofs.NodeLookuper).Lookup(b.t.Context(), e.Name, &out); errno != 0 || out.Ino != e.Ino {
			b.t.Errorf("%s/%s is listed with inode number %d, and looked up with %d, %v", dir.Path(nil), e.Name, e.Ino, out.Ino, errno)
		}
	}
}

// An identity depends on the path from the registry down and on the digest alone: it is
// the same after a remount and in a mount of a part. Where the path ends counts.
func TestIdentities(t *testing.T) {
	d := digest.FromString("content")
	whole := place{&Tree{}, "registry.example/team/app"}
	for _, same := range []place{
		{&Tree{}, "registry.example/team/app"},
		{&Tree{prefix: "registry.example"}, "team/app"},
		{&Tree{prefix: "registry.example/team/app"}, ""},
	} {
		if got := same.identity(d); got != whole.identity(d) {
			t.Errorf("%q below %q is %v, want %v", same.path, same.tree.prefix, got, whole.identity(d))
		}
	}
	// Written down so that a change of it, which every remount would show, is seen.
	if got, want := whole.identity(""), (node.Identity{Ino: 8526541354618622858, Gen: 10765144032129223128}); got != want {
		t.Errorf("the identity is %v, want %v", got, want)
	}
	tree := &Tree{}
	seen := map[node.Identity]string{node.RootIdentity: "the root"}
	for _, c := range []struct {
		path string
		d    digest.Digest
	}{
		{"a", ""}, {"", "a"}, {"a", "b"}, {"ab", ""}, {"", "ab"}, {"a/b", ""}, {"a", "/b"}, {"a\x00b", ""}, {"a", "\x00b"}, {"", ""},
		{"", "listed"}, {"", "staged 1"}, {"staged 1", ""},
	} {
		id := place{tree, c.path}.identity(c.d)
		if other, ok := seen[id]; ok {
			t.Errorf("%q with %q is %s", c.path, c.d, other)
		}
		seen[id] = fmt.Sprintf("%q with %q", c.path, c.d)
	}
}

// BenchmarkDirentsOfManyTags is a listing of 100,000 tags: each name gets its inode number.
func BenchmarkDirentsOfManyTags(b *testing.B) {
	tree := &Tree{known: known.New(known.Options{}), opts: Options{now: time.Now}}
	r := tree.repository(ref.Repository{Host: "registry.example.com", Path: "team/project/app"})
	dir := &tagsDir{place{tree, "registry.example.com/team/project/app/tags"}, r}
	names := make([]string, 100_000)
	for i := range names {
		names[i] = fmt.Sprintf("v1.%06d", i)
	}
	l := dir.listing(known.TagList{Names: names})
	for b.Loop() {
		for _, name := range names {
			l.Identity(name)
		}
	}
}
