package node

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// seen gives how often each kind of request was counted.
func seen(k *Kernel) map[string]int64 {
	all := map[string]int64{}
	for name, h := range k.Operations() {
		all[name] = h.Count()
	}
	return all
}

// Each request of the kernel that gets an answer is counted once, by FUSE's name, whichever there
// are in this version of go-fuse.
func TestEachOperationIsCountedOnce(t *testing.T) {
	notCounted := []string{"String", "SetDebug", "Init", "OnUnmount", "Forget"}
	notCounted = append(notCounted, "Writev") // answers ENOSYS here, so that Write is the request
	methods := reflect.TypeFor[fuse.RawFileSystem]()
	for m := range methods.Methods() {
		k := New(Options{})
		counted := reflect.ValueOf(&countedFS{fuse.NewDefaultRawFileSystem(), k.operations}).MethodByName(m.Name)
		var args []reflect.Value
		for in := range m.Type.Ins() {
			if in.Kind() == reflect.Pointer {
				args = append(args, reflect.New(in.Elem()))
			} else {
				args = append(args, reflect.Zero(in))
			}
		}
		counted.Call(args)
		want := map[string]int64{strings.ToLower(m.Name): 1}
		if slices.Contains(notCounted, m.Name) {
			want = map[string]int64{}
		}
		if got := seen(k); !reflect.DeepEqual(got, want) {
			t.Errorf("after %s, %v was counted, want %v", m.Name, got, want)
		}
	}
}

// vectored is a file system that takes several pieces at once.
type vectored struct{ fuse.RawFileSystem }

func (vectored) Writev(<-chan struct{}, *fuse.WriteIn, [][]byte) (uint32, fuse.Status) {
	return 3, fuse.OK
}

// A write that was taken in pieces is a write.
func TestAWriteInPiecesIsCounted(t *testing.T) {
	k := New(Options{})
	fs := &countedFS{vectored{fuse.NewDefaultRawFileSystem()}, k.operations}
	if n, status := fs.Writev(nil, &fuse.WriteIn{}, nil); n != 3 || !status.Ok() || seen(k)["write"] != 1 {
		t.Errorf("Writev: %d, %v, counted %v; want one write", n, status, seen(k))
	}
}

// A request that panics is counted, and panics on.
func TestAPanicIsCounted(t *testing.T) {
	k := New(Options{})
	fs := &countedFS{nil, k.operations}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is lost")
			}
		}()
		fs.Lookup(nil, &fuse.InHeader{}, "x", &fuse.EntryOut{})
	}()
	if seen(k)["lookup"] != 1 {
		t.Errorf("a lookup that panicked: %v is counted", seen(k))
	}
}

// Counting adds two looks at the clock and two atomic additions to a request, and no allocation.
func TestCountingAnOperationAllocatesNothing(t *testing.T) {
	k := New(Options{})
	if n := testing.AllocsPerRun(100, func() { k.operations.count(opRead, now()) }); n != 0 {
		t.Errorf("counting allocates %g times", n)
	}
}

// GetAttr is the cheapest request: an answer from memory. "counted" less "not counted" is what
// counting costs any request.
func BenchmarkGetAttr(b *testing.B) {
	k := New(Options{})
	root, o := k.bridge(&anyDir{})
	bare := gofs.NewNodeFS(root, o)
	for name, fs := range map[string]fuse.RawFileSystem{"not counted": bare, "counted": &countedFS{bare, k.operations}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			in, out := fuse.GetAttrIn{InHeader: fuse.InHeader{NodeId: fuse.FUSE_ROOT_ID}}, fuse.AttrOut{}
			for b.Loop() {
				fs.GetAttr(nil, &in, &out)
			}
		})
	}
}
