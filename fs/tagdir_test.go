package fs

import (
	"testing"
	"unsafe"

	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// A listing never shows a directory that the kernel has of a tag for one that points
// elsewhere by now, in whatever order the kernel forgets the directories of the tag, and
// however often it says so.
func TestAListingShowsNoOldDirectory(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Image("team/app", "v1", []byte("one"))
	w := walkAt(t, s, t.TempDir())
	listed := func() *tagDir {
		t.Helper()
		w.ages()
		e, err := w.to("team/app/tags")
		if err != nil {
			t.Fatal(err)
		}
		l, err := e.(node.Directory).List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return l.Child("v1").Entry.(*tagDir)
	}
	looks := func(d *tagDir) {
		t.Helper()
		if _, err := d.Lookup(t.Context(), digestName); err != nil {
			t.Fatal(err)
		}
	}
	first := listed()
	looks(first) // a program stands in it from now on
	s.Image("team/app", "v1", []byte("two"))
	second := listed()
	looks(second)
	if second.id == first.id || second.isBoundTo(first.bound().Descriptor.Digest) {
		t.Fatal("a moved tag is shown by its old directory")
	}
	second.Forgotten()
	if e, err := w.to("team/app/tags/v1"); err != nil || e == node.Entry(first) {
		t.Errorf("looked up it is %v, %v", e, err)
	}
	second.Forgotten()
	if third := listed(); third.id == first.id {
		t.Error("a directory that a program stands in is shown for the moved tag")
	}
	second.Remembered() // it was looked up in the moment in which it was forgotten
	first.Forgotten()
	if third := listed(); third.id == second.id || third.id == first.id && second.id == firstListed {
		t.Error("a directory that the kernel has is shown anew")
	}
	second.Forgotten()
	if last := listed(); last.id != firstListed || len(w.tagDirs.byTag) != 0 {
		t.Errorf("nothing is to be told apart, and it is %q, of %d", last.id, len(w.tagDirs.byTag))
	}
}

// A name of a list of tags costs one object, which the kernel may hold 100,000 times, and its inode
// number costs none.
func TestAListedTagIsOneSmallObject(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Image("team/app", "v1", []byte("one"))
	w := walkAt(t, s, t.TempDir())
	e, err := w.to("team/app/tags")
	if err != nil {
		t.Fatal(err)
	}
	l, err := e.(node.Directory).List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { l.Identity("v1") }); n > 0 {
		t.Errorf("an inode number takes %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { l.Child("v1").Attr() }); n > 1 {
		t.Errorf("a directory and its attributes take %v allocations", n)
	}
	if n := unsafe.Sizeof(tagDir{}); n > 64 {
		t.Errorf("a directory takes %d bytes", n)
	}
	if l.Identity("v1") != l.Child("v1").Attr().Identity {
		t.Error("the inode number of a name isn't that of its directory")
	}
}
