package upload

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// Names that programs give to a file for a moment are told from those of tags.
func TestPassingNames(t *testing.T) {
	for name, private := range map[string]bool{
		"sedxVar7Q": false, "sedabcdef": true, "tmps23w3_kh": false, "tmp.aZ3dE9xYz1": false, "tmp": false, "v1.new": false,
		"v1.bak": false, "v1.orig": false, "v1.tmp123456": false, "v1-tmp": false, "4913": false, "v1.aB3dE9": false, "v1.swx": false,
		"manifest-t9i7wbcx.json": true, "manifest1083579642.json": true, "manifest.cg9L": true, "v1aB3dE9": true, "v1.abcdef": true, "v11934027534": true, "release-x8_k2m4q": true, "v1___jb_tmp___": false,
	} {
		made := Openly
		if private {
			made = Privately
		}
		if !passingName(name, made) {
			t.Errorf("%q (private: %v) is pushed at once", name, private)
		}
	}
	for _, name := range []string{"v1", "latest", "stable", "v1.2.3", "1.27-alpine", "v1.stable", "main-3f2a1b", "20241231", "1.0.20240101", "sha-0123abc", "template", "tempo", "newest", "v1.0.123456", "3.12-slim-bookworm", "edit", "py"} {
		if passingName(name, Openly) {
			t.Errorf("%q isn't pushed at its close", name)
		}
	}
}

// A manifest whose name looks temporary is pushed under that name only if it keeps it.
func TestATemporaryNameNeverBecomesATag(t *testing.T) {
	b := newBench(t)
	b.patient()
	i := newImage("x")
	b.pieces("", i)
	for from, to := range map[string]string{"manifests/sedxVar7Q": "manifests/edit", "manifests/tmps23w3_kh": "manifests/py"} {
		b.ok(b.write(from, i.raw))
		b.ok(b.rename(from, to))
	}
	b.ok(b.write("manifests/sedabc123", i.raw))
	b.ok(b.dirAt("manifests").Unlink(t.Context(), "sedabc123"))
	b.pointsAt("edit", i.digest)
	b.pointsAt("py", i.digest)
	b.ok(b.area.Close(t.Context()))
	if tags, _, _ := b.s.Held(b.repo.Path); len(tags) != 2 {
		t.Errorf("tags: %v", tags)
	}
}

// A manifest that keeps a name which looks temporary is pushed under it.
func TestANameThatLooksTemporaryAndStays(t *testing.T) {
	b, clock := newTimedBench(t)
	i := newImage("x")
	b.pieces("", i)
	b.ok(b.write("manifests/tmpwasmeant", i.raw))
	clock.passes(deferFor)
	b.awaits("tmpwasmeant")
	b.pointsAt("tmpwasmeant", i.digest)
}

// A manifest that is to be pushed in a moment doesn't wait for anything: the end of the
// mount pushes it.
func TestAManifestThatFollowsIsNotWaiting(t *testing.T) {
	b := newBench(t)
	b.patient()
	i := newImage("x")
	b.pieces("", i)
	b.ok(b.write("manifests/v1.new", i.raw))
	if b.state("v1.new") != Pushing {
		t.Errorf("uploads.json says %v", b.area.Records())
	}
	b.ok(b.area.Close(t.Context()))
	b.pointsAt("v1.new", i.digest)
}

// A manifest isn't pushed, and nothing is told of it, while a program writes it once more.
func TestAManifestThatIsWrittenOnceMoreIsNotPushed(t *testing.T) {
	b, clock := newTimedBench(t)
	i := newImage("x")
	b.pieces("", i)
	h := b.create("manifests/v1.new")
	if _, err := h.WriteAt(t.Context(), i.raw, 0); err != nil {
		t.Fatal(err)
	}
	b.ok(h.Flush(t.Context()))
	if err := h.truncate(t.Context(), 100); err != nil { // open, it is written once more
		t.Fatal(err)
	}
	clock.passes(2 * deferFor)
	b.looks()
	if failed := b.failed(); len(failed) > 0 || b.state("v1.new") != Pushing {
		t.Errorf("told %v; %v", failed, b.area.Records())
	}
	if _, err := h.WriteAt(t.Context(), i.raw[100:], 100); err != nil {
		t.Fatal(err)
	}
	b.ok(h.Flush(t.Context()))
	h.Release()
	clock.passes(2 * deferFor)
	b.awaits("v1.new")
	b.pointsAt("v1.new", i.digest)
}

// A manifest that follows and is refused is told by the next close as well.
func TestAManifestThatFollowsAndFailsIsTold(t *testing.T) {
	b, clock := newTimedBench(t)
	i := newImage("x")
	b.pieces("", i)
	b.s.On("PUT manifest v1.new", registrytest.Refuse(http.StatusForbidden, "DENIED"))
	b.ok(b.write("manifests/v1.new", i.raw))
	clock.passes(2 * deferFor)
	b.awaits("v1.new")
	if failed := b.failed(); len(failed) != 1 || !errors.Is(failed[0], registry.ErrDenied) || !strings.HasPrefix(failed[0].Error(), "manifests/v1.new: ") || b.state("v1.new") != Failed {
		t.Errorf("told %v", failed)
	}
	n, err := b.dirAt("manifests").Lookup(t.Context(), "v1.new")
	b.ok(err)
	h, err := n.(*File).OpenWrite(t.Context(), nil)
	b.ok(err)
	defer h.Release()
	if err := h.Flush(t.Context()); !errors.Is(err, registry.ErrDenied) {
		t.Errorf("the next close says %v", err)
	}
}
