package fs

import (
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// A user who isn't root gives no file away, and is told no error; root does.
func TestAUserGivesNoFileAway(t *testing.T) {
	w := walk(t, registrytest.Start(t, registrytest.Options{}), t.TempDir(), Options{})
	const user, other = 1000, 2000
	w.kernel = node.New(node.Options{Owner: user})
	b := w.bridge()
	_, file := b.to("r.example", "app", "upload", "oci-layout")
	for _, caller := range []uint32{user, 0} {
		in := &fuse.SetAttrIn{SetAttrInCommon: fuse.SetAttrInCommon{
			InHeader: fuse.InHeader{NodeId: file.NodeId, Caller: fuse.Caller{Owner: fuse.Owner{Uid: caller}}},
			Valid:    fuse.FATTR_UID, Owner: fuse.Owner{Uid: other},
		}}
		var out fuse.AttrOut
		if status := b.SetAttr(nil, in, &out); !status.Ok() {
			t.Errorf("chown by %d: %v", caller, status)
		}
		if given := out.Uid == other; given != (caller == 0) {
			t.Errorf("after a chown by %d it is of %d", caller, out.Uid)
		}
	}
}
