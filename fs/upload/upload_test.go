package upload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// A layout is pushed by the closing of its index: in upload/ by ref.name, in
// upload/<tag>/ by the directory's name.
func TestLayoutIsPushed(t *testing.T) {
	b := newBench(t)
	one, two := newImage("one"), newImage("two")
	b.pieces("", one)
	b.pointsAt("v1", "")
	b.ok(b.write("index.json", indexOf(one.descriptor("v1"))))
	b.pointsAt("v1", one.digest)
	b.pieces("v2", two)
	b.ok(b.write("v2/index.json", indexOf(two.descriptor("other"))))
	b.pointsAt("v2", two.digest)
	b.pointsAt("other", "")
	if b.tags["v2"] != two.digest || b.state("v2") != Pushed || b.state("v1") != Pushed {
		t.Errorf("told %v; %v", b.tags, b.area.Records())
	}
	b.asked()
	b.ok(b.write("index.json", indexOf(one.descriptor("v1"), two.descriptor("ghcr.io/x/y:v3"))))
	if asked := b.asked(); len(asked) != 1 || asked[0] != "PUT manifest v3" {
		t.Errorf("one more tag of what is there cost %q", asked)
	}
	b.pointsAt("v3", two.digest)
	b.ok(b.write("index.json", indexOf(one.descriptor("v1"), two.descriptor("ghcr.io/x/y:v3"))))
	if asked := b.asked(); len(asked) != 0 {
		t.Errorf("an index that says nothing new cost %q", asked)
	}
}

// An index that comes before its pieces waits for them: the last one pushes.
func TestIndexFirst(t *testing.T) {
	b := newBench(t)
	i := newImage("x")
	b.ok(b.write("v1/index.json", indexOf(i.descriptor("v1"))))
	if b.state("v1") != Waiting {
		t.Errorf("uploads.json says %v", b.area.Records())
	}
	b.ok(b.write(at("v1", digest.FromBytes(i.layer)), i.layer))
	b.ok(b.write(at("v1", i.digest), i.raw))
	b.pointsAt("v1", "")
	denied := b.s.On("PUT manifest v1", registrytest.Refuse(http.StatusForbidden, "DENIED"))
	config := at("v1", digest.FromBytes(i.config))
	if err := b.write(config, i.config); !errors.Is(err, registry.ErrDenied) {
		t.Errorf("the last piece says %v, want that the tag was refused", err)
	}
	b.pointsAt("v1", "")
	if b.state("v1") != Failed {
		t.Errorf("uploads.json says %v", b.area.Records())
	}
	denied.End()
	b.ok(b.write("v1/index.json", indexOf(i.descriptor("v1"))))
	b.pointsAt("v1", i.digest)
}

// What is named by a digest must have it when it is renamed, and is waited for when
// it is closed.
func TestDigestNames(t *testing.T) {
	b := newBench(t)
	d := digest.FromString("right")
	b.ok(b.write(at("", d), []byte("rig")))
	b.ok(b.write("oci-put-blob1", []byte("wrong")))
	if err := b.rename("oci-put-blob1", at("", d)); !errors.Is(err, ErrMismatch) {
		t.Errorf("renaming other bytes says %v", err)
	}
	if _, err := b.top.Lookup(t.Context(), "oci-put-blob1"); err != nil {
		t.Errorf("after that the file is gone: %v", err)
	}
	if asked := b.asked(); len(asked) != 0 {
		t.Errorf("nothing complete cost %q", asked)
	}
	b.ok(b.write("tmp1", []byte("right")))
	b.ok(b.rename("tmp1", at("", d)))
	if b.s.ReadBlob(b.repo.Path, d) == nil {
		t.Error("the blob isn't at the registry")
	}
}

// A blob under any name becomes a symlink to its digest, pieces and overwriting
// included.
func TestNamedBlob(t *testing.T) {
	b := newBench(t)
	h := b.create("blobs/model")
	target := func(want string) {
		t.Helper()
		n, err := b.dirAt("blobs").Lookup(t.Context(), "model")
		if s, ok := n.(*Symlink); err != nil || !ok || s.Target() != "sha256/"+digest.FromString(want).Encoded() {
			t.Fatalf("blobs/model is %v, %v; want a symlink to the digest of %q", n, err, want)
		}
	}
	for i, piece := range []string{"one", "two"} {
		if _, err := h.WriteAt(t.Context(), []byte(piece), int64(3*i)); err != nil {
			t.Fatal(err)
		}
		b.ok(h.Flush(t.Context()))
		target("onetwo"[:3*i+3])
	}
	h.Release()
	n, err := b.dirAt("blobs/sha256").Lookup(t.Context(), digest.FromString("onetwo").Encoded())
	if err != nil {
		t.Fatal(err)
	}
	over, err := n.(*File).OpenEmpty(t.Context(), nil) // as cp does through the symlink
	if err != nil {
		t.Fatal(err)
	}
	if _, err := over.WriteAt(t.Context(), []byte("three"), 0); err != nil {
		t.Fatal(err)
	}
	b.ok(over.Flush(t.Context()))
	over.Release()
	target("three")
	b.ok(b.write("blobs/same", []byte("three")))
	n, err = b.dirAt("blobs/sha256").Lookup(t.Context(), digest.FromString("three").Encoded())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.(*File).OpenEmpty(t.Context(), nil); !errors.Is(err, ErrTwoNames) {
		t.Errorf("writing what two names lead to: %v", err)
	}
	for _, want := range []string{"onetwo", "three"} {
		if b.s.ReadBlob(b.repo.Path, digest.FromString(want)) == nil {
			t.Errorf("%q isn't at the registry", want)
		}
	}
	b.ok(b.area.Close(t.Context()))
	if left, _ := os.ReadDir(b.dir); len(left) != 0 {
		t.Errorf("a clean end leaves %v", left)
	}
}

// A file begins without a byte, and a shell says so by a flush: that is pushed only
// when nobody has it open any more.
func TestEmptyBlob(t *testing.T) {
	b := newBench(t)
	h := b.create("blobs/empty")
	b.ok(h.Flush(t.Context()))
	if asked := b.asked(); len(asked) != 0 {
		t.Errorf("the first flush cost %q", asked)
	}
	h.Release()
	n, err := b.dirAt("blobs").Lookup(t.Context(), "empty")
	if s, ok := n.(*Symlink); err != nil || !ok || s.Target() != "sha256/"+digest.FromString("").Encoded() {
		t.Errorf("blobs/empty is %v, %v", n, err)
	}
	if b.s.ReadBlob(b.repo.Path, digest.FromString("")) == nil {
		t.Error("it isn't at the registry")
	}
	b.ok(b.write(at("v1", digest.FromString("")), nil)) // by its digest it is what its name says at once
}

// Temporary names push nothing, and nobody is asked.
func TestTemporaryNames(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"blobs/.x.AbC", "blobs/x.1234abcd.partial", "blobs/sha256/123.tmp", "manifests/.v1.xyz", "manifests/v1.partial", "ingest/abc", "ingest/index.json", ".umoci-1/index-1", "index.json.lock", "notes"} {
		b.ok(b.write(name, []byte(`{"manifests":[]}`)))
	}
	if asked := b.asked(); len(asked) != 0 {
		t.Errorf("temporary names cost %q", asked)
	}
	d, name := b.dirAt("manifests"), "not a tag"
	if _, _, err := d.Create(t.Context(), name, 0o644, Openly, nil); !errors.Is(err, ref.ErrInvalid) {
		t.Errorf("manifests/%s: %v", name, err)
	}
}

// What the registry has is there without being staged; removed here, its name can be
// made anew, as tar and mv do.
func TestRegistryAnswers(t *testing.T) {
	b := newBench(t)
	d := digest.FromString("there")
	b.s.Blob(b.repo.Path, []byte("there"))
	blobs := b.dirAt("blobs/sha256")
	n, err := blobs.Lookup(t.Context(), d.Encoded())
	if err != nil || n.Attr().Size != 5 {
		t.Fatalf("%v, %v", n, err)
	}
	if len(blobs.List()) != 0 {
		t.Errorf("it is listed: %v", blobs.List())
	}
	if _, _, err := blobs.Create(t.Context(), d.Encoded(), 0o644, Openly, nil); err != nil { // what O_EXCL asks first is up to the kernel
		t.Fatal(err)
	}
	for range 2 {
		b.ok(blobs.Unlink(t.Context(), d.Encoded()))
		if n, err := blobs.Lookup(t.Context(), d.Encoded()); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("after unlink: %v, %v", n, err)
		}
		b.ok(b.write(at("", d), []byte("there")))
	}
	if b.s.ReadBlob(b.repo.Path, d) == nil || b.received() != 0 {
		t.Error("the registry was asked to do something")
	}
}

// A program that makes a new file finds nothing that isn't staged, whoever made the
// directory; one that looks finds what the registry has.
func TestANewFileMeetsNothingOfTheRegistry(t *testing.T) {
	b := newBench(t)
	d := digest.FromString("there")
	b.s.Blob(b.repo.Path, []byte("there"))
	for _, dir := range []string{"blobs/sha256", "v1/blobs/sha256"} {
		if n, err := b.dirAt(dir).Staged(t.Context(), d.Encoded()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: a maker finds %v, %v", dir, n, err)
		}
		if _, err := b.dirAt(dir).Lookup(t.Context(), d.Encoded()); err != nil {
			t.Errorf("%s: others find nothing: %v", dir, err)
		}
		b.ok(b.write(at(strings.TrimSuffix(dir, "blobs/sha256"), d), []byte("there")))
	}
}

// A copy of a blob of the same host is mounted, that of another is sent.
func TestCopiesOfBlobs(t *testing.T) {
	b := newBench(t)
	content := []byte(strings.Repeat("blob", 1000))
	d := digest.FromBytes(content)
	b.s.Blob("other/app", content)
	from := Blob{ref.Repository{Host: b.s.Host, Path: "other/app"}, d, int64(len(content))}
	h := b.create(at("", d))
	for off := int64(0); off < from.Size; {
		n, err := h.CopyFrom(t.Context(), from, off, off, 1500)
		if err != nil || n == 0 {
			t.Fatalf("copied %d, %v", n, err)
		}
		off += n
	}
	b.ok(h.Flush(t.Context()))
	h.Release()
	if b.s.ReadBlob(b.repo.Path, d) == nil || b.received() != 0 {
		t.Errorf("it is sent, not mounted: %d bytes", b.received())
	}
	elsewhere := registrytest.Start(t, registrytest.Options{})
	t.Cleanup(b.client.Close) // before that one stops
	foreign := []byte("from elsewhere")
	elsewhere.Blob("x", foreign)
	_, err := b.dirAt("blobs").Link(t.Context(), "copy", Blob{ref.Repository{Host: elsewhere.Host, Path: "x"}, digest.FromBytes(foreign), int64(len(foreign))}, nil)
	b.ok(err)
	if got := b.s.ReadBlob(b.repo.Path, digest.FromBytes(foreign)); !bytes.Equal(got, foreign) {
		t.Errorf("the registry has %q", got)
	}
	// A part of a blob is a copy of its bytes.
	h = b.create("part")
	if n, err := h.CopyFrom(t.Context(), from, 2, 0, 6); n != 6 || err != nil {
		t.Fatal(n, err)
	}
	h.Release()
	n, _ := b.top.Lookup(t.Context(), "part")
	if got, err := n.(*File).readAll(t.Context(), 100); string(got) != "obblob" {
		t.Errorf("the part is %q, %v", got, err)
	}
}

// A push that fails says so again while nothing changes, and is tried anew when
// something does.
func TestResultsStay(t *testing.T) {
	b := newBench(t)
	denied := b.s.On("* *", registrytest.Refuse(http.StatusForbidden, "DENIED"))
	h := b.create("blobs/x")
	defer h.Release()
	if _, err := h.WriteAt(t.Context(), []byte("abc"), 0); err != nil {
		t.Fatal(err)
	}
	if err := h.Flush(t.Context()); !errors.Is(err, registry.ErrDenied) {
		t.Fatalf("close says %v", err)
	}
	b.asked()
	if err := h.Sync(t.Context()); !errors.Is(err, registry.ErrDenied) || len(b.asked()) != 0 {
		t.Errorf("fsync says %v", err)
	}
	denied.End()
	if _, err := h.WriteAt(t.Context(), []byte("d"), 3); err != nil {
		t.Fatal(err)
	}
	b.ok(h.Flush(t.Context()))
}

// A manifest is pushed under its name; what is none is refused.
func TestManifests(t *testing.T) {
	b := newBench(t)
	i := newImage("m")
	if err := b.write("manifests/v1", i.raw); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("a manifest whose pieces are missing: %v", err)
	}
	b.pieces("", i)
	b.ok(b.write("manifests/v1", i.raw))
	b.pointsAt("v1", i.digest)
	b.ok(b.write("manifests/sha256-"+i.digest.Encoded(), i.raw))
	for _, bad := range []string{"hello", `{"schemaVersion":2}`, `{"architecture":"amd64","config":{}}`} {
		if err := b.write("manifests/v2", []byte(bad)); !errors.Is(err, ErrNoManifest) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if err := b.write("manifests/sha256-"+newImage("else").digest.Encoded(), i.raw); !errors.Is(err, ErrNoManifest) {
		t.Errorf("a manifest under another digest: %v", err)
	}
	b.pointsAt("v2", "")
}

// The staging area has a bound, and gives back what is removed.
func TestBound(t *testing.T) {
	b := newBench(t)
	b.ok(b.area.Close(t.Context()))
	b.open(Options{MaxBytes: 2000})
	if err := b.write("big", make([]byte, 3000)); !errors.Is(err, ErrNoSpace) || !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), ": 100 more bytes, to 1918 that are staged, are over the 2000 allowed") {
		t.Fatalf("writing beyond the bound says %v", err)
	}
	b.ok(b.top.Unlink(t.Context(), "big"))
	h := b.create("blobs/cut")
	for _, err := h.WriteAt(t.Context(), make([]byte, 1500), 0); err == nil; {
		_, err = h.WriteAt(t.Context(), make([]byte, 1500), 1500)
	}
	if err := h.Flush(t.Context()); !errors.Is(err, ErrNoSpace) || len(b.asked()) != 0 {
		t.Errorf("closing half a file says %v", err)
	}
	h.Release()
	b.ok(b.dirAt("blobs").Unlink(t.Context(), "cut"))
	b.ok(b.write("small", make([]byte, 1500)))
}

// What a mount leaves unpushed is kept, told to the next, pushed by nobody, and can
// be pushed by copying it.
func TestLeftOver(t *testing.T) {
	b := newBench(t)
	done, undone := newImage("done"), newImage("undone")
	b.pieces("v1", done)
	b.ok(b.write("v1/index.json", indexOf(done.descriptor("v1"))))
	denied := []*registrytest.Rule{
		b.s.On("POST *", registrytest.Refuse(http.StatusForbidden, "DENIED")),
		b.s.On("PUT *", registrytest.Refuse(http.StatusForbidden, "DENIED")),
	}
	for _, piece := range [][]byte{undone.layer, undone.config, undone.raw} {
		_ = b.write(at("v2", digest.FromBytes(piece)), piece) // refused
	}
	if err := b.write("v2/index.json", indexOf(undone.descriptor("v2"))); err == nil {
		t.Fatal("pushed")
	}
	b.ok(b.area.Close(t.Context()))
	for _, r := range denied {
		r.End()
	}
	b.asked()
	b.open(Options{})
	left := b.area.Records()
	if len(left) != 1 || left[0].Target != "v2" || left[0].State != Left || left[0].Repository != b.repo.String() {
		t.Fatalf("left: %+v", left)
	}
	path, _, _ := strings.Cut(strings.TrimPrefix(left[0].Error, "kept in "), ": copy")
	if asked := b.asked(); len(asked) != 0 {
		t.Errorf("finding it cost %q", asked)
	}
	err := filepath.WalkDir(path, func(p string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		rel, _ := filepath.Rel(path, p)
		raw, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		return b.write(filepath.Join("v2", rel), raw)
	})
	b.ok(err)
	b.pointsAt("v2", undone.digest)
}

// What a program has written of its next image when the mount ends, and no index names
// yet, is kept and told as well, although all that the index names is pushed.
func TestLeftOverOfNoIndex(t *testing.T) {
	b := newBench(t)
	done, begun := newImage("done"), newImage("begun")
	b.pieces("", done)
	b.ok(b.write("index.json", indexOf(done.descriptor("v1"))))
	b.pieces("", begun)
	b.ok(b.area.Close(t.Context()))
	b.open(Options{})
	left := b.area.Records()
	if len(left) != 1 || left[0].Target != begun.digest.String() || left[0].State != Left {
		t.Fatalf("left: %+v", left)
	}
	path, _, _ := strings.Cut(strings.TrimPrefix(left[0].Error, "kept in "), ": copy")
	if raw, err := os.ReadFile(path); err != nil || !bytes.Equal(raw, begun.raw) {
		t.Errorf("kept are %d bytes, %v", len(raw), err)
	}
}

// Interrupting a push ends it, and leaves it to be tried again.
func TestInterrupt(t *testing.T) {
	b := newBench(t)
	silent := b.s.On("PUT *", registrytest.Swallow())
	h := b.create("blobs/x")
	defer h.Release()
	if _, err := h.WriteAt(t.Context(), []byte("abc"), 0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := h.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("interrupted: %v", err)
	}
	silent.End()
	b.ok(h.Flush(t.Context()))
	b.client.Close() // waits for what is cancelled behind
	if asked := fmt.Sprint(b.asked()); !strings.Contains(asked, "DELETE upload") {
		t.Errorf("the session wasn't cancelled: %s", asked)
	}
}
