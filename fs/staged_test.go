package fs

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ocifs/ocifs/fs/internal/caller"
	"github.com/ocifs/ocifs/fs/internal/guard"
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

// A name that can't be pushed is told where it is found: at the close of an index.json.
func TestANameThatCannotBePushedIsToldAtTheClose(t *testing.T) {
	w := walk(t, registrytest.Start(t, registrytest.Options{}), t.TempDir(), Options{})
	e, err := w.to("team/app/upload/index.json")
	if err != nil {
		t.Fatal(err)
	}
	c, err := e.(node.WritableFile).OpenEmptied(t.Context(), caller.Caller{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const index = `{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":2,` +
		`"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","annotations":{"org.opencontainers.image.ref.name":"no tag!"}}]}`
	if _, err := c.WriteAt(t.Context(), []byte(index), 0); err != nil {
		t.Fatal(err)
	}
	err = c.Flush(t.Context())
	if v := w.kernel.Judge(t.Context(), err); v.Errno != syscall.EINVAL || v.Hint == "" {
		t.Errorf("the close is %v, which is told as %+v", err, v)
	}
}

// A program of another PID namespace pays for its downloads as others do, and a push that is
// done behind a program that has ended costs nobody anything.
func TestWhoPaysForWhatIsStaged(t *testing.T) {
	stranger := caller.Caller{Program: true, UID: 1000}
	if p := programOf(stranger); p == nil || p.Ended() || payerOf(p) != guard.PayerOf(stranger) {
		t.Errorf("a stranger is %v", p)
	}
	self := caller.Caller{Program: true, Thread: uint32(os.Getpid())}
	if p := programOf(self); p == nil || p.Ended() || payerOf(p) != guard.PayerOf(self) {
		t.Errorf("this program is %v", p)
	}
	gone := exec.Command("true")
	if err := gone.Start(); err != nil {
		t.Fatal(err)
	}
	p := programOf(caller.Caller{Program: true, Thread: uint32(gone.Process.Pid)})
	if err := gone.Wait(); err != nil {
		t.Fatal(err)
	}
	if payerOf(p) != (guard.Payer{}) || payerOf(nil) != (guard.Payer{}) {
		t.Errorf("a program that has ended pays: %v", payerOf(p))
	}
}
