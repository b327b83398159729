package upload

import (
	"errors"
	"io/fs"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

func TestATagFollowsTheProgram(t *testing.T) {
	b := newBench(t)
	b.patient()
	i := newImage("x")
	b.pieces("v1", i)
	cp := new(process)
	b.ok(b.writeBy(cp, "v1/index.json", indexOf(i.descriptor(""))))
	b.pointsAt(i.digest.String(), i.digest)
	b.pointsAt("v1", "")
	if b.state("v1") != Pushing {
		t.Errorf("uploads.json says %q", b.state("v1"))
	}
	cp.ended.Store(true)
	b.awaits("v1")
	b.pointsAt("v1", i.digest)
	if b.state("v1") != Pushed || b.tags["v1"] != i.digest {
		t.Errorf("%v", b.area.Records())
	}
}

// slowKernel is a mount whose kernel takes a while to take in a change.
type slowKernel struct {
	*bench
	tookIn atomic.Bool
}

func (k *slowKernel) Deferring(r ref.Repository, tag string) {
	time.Sleep(20 * time.Millisecond)
	k.bench.Deferring(r, tag)
	k.tookIn.Store(true)
}

// The kernel may believe that a tag doesn't exist. It knows better before the program that
// writes the image goes on, and looks the tag up.
func TestTheKernelKnowsOfADeferredPushBeforeItsProgramGoesOn(t *testing.T) {
	for _, name := range []string{"v1/index.json", "manifests/tmp.1a2b3c4d5e"} {
		b := newBench(t)
		kernel := &slowKernel{bench: b}
		b.area.o.Tree = kernel
		b.patient()
		i := newImage("x")
		b.pieces("v1", i)
		content := indexOf(i.descriptor(""))
		if name != "v1/index.json" {
			content = i.raw
		}
		b.ok(b.writeBy(new(process), name, content))
		if !kernel.tookIn.Load() {
			t.Errorf("%s is closed before the kernel knows that its tag comes", name)
		}
		b.ok(b.area.Close(t.Context()))
	}
}

func TestATagFollowsQuiet(t *testing.T) {
	b, clock := newTimedBench(t)
	i := newImage("x")
	b.pieces("v1", i)
	b.ok(b.writeBy(new(process), "v1/index.json", indexOf(i.descriptor(""))))
	clock.passes(deferFor - 1)
	b.looks()
	b.pointsAt("v1", "")
	clock.passes(1)
	b.awaits("v1")
	b.pointsAt("v1", i.digest)
}

func TestATagFollowsBeforeTheEnd(t *testing.T) {
	b := newBench(t)
	b.patient()
	i := newImage("x")
	b.pieces("v1", i)
	b.ok(b.write("v1/index.json", indexOf(i.descriptor(""))))
	b.ok(b.area.Close(t.Context()))
	b.pointsAt("v1", i.digest)
}

func TestATagThatFollowsAndFailsIsTold(t *testing.T) {
	b := newBench(t)
	b.patient()
	i := newImage("x")
	b.pieces("v1", i)
	b.s.On("PUT manifest v1", registrytest.Refuse(http.StatusForbidden, "DENIED"))
	p := new(process)
	b.ok(b.writeBy(p, "v1/index.json", indexOf(i.descriptor(""))))
	p.ended.Store(true)
	b.awaits("v1")
	if failed := b.failed(); len(failed) != 1 || !errors.Is(failed[0], registry.ErrDenied) || b.state("v1") != Failed {
		t.Errorf("told %v; %v", failed, b.area.Records())
	}
	n, err := b.dirAt("v1").Lookup(t.Context(), "index.json")
	b.ok(err)
	h, err := n.(*File).OpenWrite(t.Context(), nil)
	b.ok(err)
	defer h.Release()
	if err := h.Flush(t.Context()); !errors.Is(err, registry.ErrDenied) {
		t.Errorf("the next close says %v", err)
	}
}

func TestARenamedDirectoryNeverHadItsFirstName(t *testing.T) {
	b := newBench(t)
	b.patient()
	i := newImage("x")
	b.pieces("tmpdir", i)
	b.ok(b.writeBy(new(process), "tmpdir/index.json", indexOf(i.descriptor(""))))
	b.ok(b.rename("tmpdir", "v1"))
	b.awaits("tmpdir")
	if b.area.Deferred(b.repo, "tmpdir") || !b.area.Deferred(b.repo, "v1") {
		t.Error("a push under the first name is deferred, or none under the second")
	}
	b.ok(b.area.Close(t.Context()))
	b.pointsAt("tmpdir", "")
	b.pointsAt("v1", i.digest)
}

func TestAChildIsNotTaggedWhileItsProgramLives(t *testing.T) {
	b, clock := newTimedBench(t)
	i := newImage("amd64")
	b.pieces("v9", i)
	child := i.descriptor("")
	child.Platform = &v1.Platform{OS: "linux", Architecture: "amd64"}
	oras := new(process)
	b.ok(b.writeBy(oras, "v9/index.json", indexOf(child)))
	clock.passes(deferPieceFor - 1)
	b.looks()
	b.pointsAt("v9", "")
	oras.ended.Store(true)
	b.awaits("v9")
	b.pointsAt("v9", i.digest)
}

func TestALookupDoesNotWaitForEver(t *testing.T) {
	b := newBench(t)
	b.patient()
	b.area.awaitFor = 10 * time.Millisecond
	i := newImage("x")
	b.pieces("v1", i)
	b.ok(b.writeBy(new(process), "v1/index.json", indexOf(i.descriptor(""))))
	b.ok(b.area.Await(t.Context(), b.repo, "v1"))
	b.pointsAt("v1", "")
}

func TestATagDoesNotFollowDuringAPush(t *testing.T) {
	b, clock := newTimedBench(t)
	piece := newImage("piece")
	b.pieces("v9", piece)
	oras := new(process)
	release := make(chan struct{})
	b.s.On("PUT upload", registrytest.Hold(release))
	h := b.create(at("v9", digest.FromString("a layer")))
	h.by = oras
	if _, err := h.WriteAt(t.Context(), []byte("a layer"), 0); err != nil {
		t.Fatal(err)
	}
	sent := b.s.Count("PUT upload")
	closed := make(chan error)
	go func() { closed <- h.Flush(t.Context()) }()
	b.arrivesAt("PUT upload", sent+1)
	b.ok(b.writeBy(oras, "v9/index.json", indexOf(piece.descriptor(""))))
	clock.passes(time.Hour)
	b.looks()
	b.pointsAt("v9", "")
	close(release)
	b.ok(<-closed)
	h.Release()
	clock.passes(time.Hour)
	b.awaits("v9")
	b.pointsAt("v9", piece.digest)
}

func TestATagThatIsGivenUpHasNoRecord(t *testing.T) {
	i := newImage("x")
	for name, giveUp := range map[string]func(b *bench) error{
		"a renamed directory": func(b *bench) error { return b.rename("v1", "v2") },
		"a removed index":     func(b *bench) error { return b.dirAt("v1").Unlink(t.Context(), "index.json") },
		"a renamed index":     func(b *bench) error { return b.rename("v1/index.json", "v1/index.json~") },
		"an emptied index":    func(b *bench) error { return b.write("v1/index.json", indexOf()) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.patient()
			b.pieces("v1", i)
			b.ok(b.write("v1/index.json", indexOf(i.descriptor(""))))
			b.ok(giveUp(b))
			if b.state("v1") != "" {
				t.Errorf("uploads.json says %v", b.area.Records())
			}
			b.ok(b.area.Close(t.Context()))
			b.pointsAt("v1", "")
		})
	}
}

func TestARenamedDirectoryWaitsUnderItsNewName(t *testing.T) {
	b := newBench(t)
	b.patient()
	b.ok(b.write("v1/index.json", indexOf(newImage("x").descriptor(""), newImage("y").descriptor(""))))
	b.ok(b.rename("v1", "v2"))
	if b.state("v1") != "" || b.state("v2") != Waiting {
		t.Errorf("uploads.json says %v", b.area.Records())
	}
}

func TestATagThatGoesBackIsPushed(t *testing.T) {
	b := newBench(t)
	b.patient()
	one, two := newImage("one"), newImage("two")
	b.pieces("v1", one)
	b.pieces("v1", two)
	b.ok(b.write("v1/index.json", indexOf(one.descriptor("v1"))))
	b.ok(b.write("v1/index.json", indexOf(two.descriptor(""))))
	b.ok(b.write("v1/index.json", indexOf(one.descriptor(""))))
	if b.state("v1") != Pushed {
		t.Errorf("uploads.json says %v", b.area.Records())
	}
}

func TestATagDoesNotFollowDuringAQuestion(t *testing.T) {
	b, clock := newTimedBench(t)
	piece := newImage("piece")
	b.pieces("v9", piece)
	release := make(chan struct{})
	b.s.On("HEAD blob", registrytest.Hold(release))
	blobs := b.dirAt("v9/blobs/sha256")
	asked := b.s.Count("HEAD blob")
	found := make(chan error)
	go func() {
		_, err := blobs.Lookup(t.Context(), digest.FromString("a layer").Encoded())
		found <- err
	}()
	b.arrivesAt("HEAD blob", asked+1)
	b.ok(b.writeBy(new(process), "v9/index.json", indexOf(piece.descriptor(""))))
	clock.passes(time.Hour)
	b.looks()
	b.pointsAt("v9", "")
	close(release)
	if err := <-found; !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a blob that the registry lacks: %v", err)
	}
	clock.passes(time.Hour)
	b.awaits("v9")
	b.pointsAt("v9", piece.digest)
}
