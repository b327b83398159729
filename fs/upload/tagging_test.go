package upload

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// process is a program that ends when the test says so.

type process struct{ ended atomic.Bool }

func (p *process) Ended() bool { return p.ended.Load() }

// patient makes deferred pushes due only when programs end: no directory is ever quiet enough.

func (b *bench) patient() {
	b.area.deferFor = time.Hour
	b.area.attendAfter = time.Hour
}

// writeBy is write for a program.

func (b *bench) writeBy(p Program, path string, content []byte) error {
	b.t.Helper()
	h := b.create(path)
	h.by = p
	defer h.Release()
	if err := h.truncate(b.t.Context(), 0); err != nil {
		return err
	}
	if _, err := h.WriteAt(b.t.Context(), content, 0); err != nil {
		return err
	}
	return h.Flush(b.t.Context())
}

// awaits waits until a deferred push of a tag was done, or wasn't.

func (b *bench) awaits(tag string) {
	b.t.Helper()
	b.ok(b.area.Await(b.t.Context(), b.repo, tag))
}

// arrivesAt waits until the registry has got so many requests of a kind.

func (b *bench) arrivesAt(pattern string, n int) {
	b.t.Helper()
	for deadline := time.Now().Add(time.Minute); b.s.Count(pattern) < n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("%s doesn't come", pattern)
		}
	}
}

// indexManifest is an index of images, as a manifest.

func indexManifest(ds ...v1.Descriptor) (raw []byte, d v1.Descriptor) {
	raw = indexOf(ds...)
	return raw, v1.Descriptor{MediaType: v1.MediaTypeImageIndex, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
}

// referrerOf is an artifact without content that refers to an image.

func referrerOf(i image) (raw []byte, d v1.Descriptor) {
	subject := i.descriptor("")
	raw = mustMarshal(v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, ArtifactType: "application/vnd.example.sbom",
		Config: v1.Descriptor{MediaType: v1.MediaTypeImageConfig, Digest: digest.FromBytes(i.config), Size: int64(len(i.config))},
		Layers: []v1.Descriptor{}, Subject: &subject,
	})
	return raw, v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
}

func named(d v1.Descriptor, annotation, value string) v1.Descriptor {
	d.Annotations = map[string]string{annotation: value}
	return d
}

// A program that lists children on its way to an index moves the tag once, to the

// index, whenever it gives that a name.

func TestATagNeverPointsAtAPiece(t *testing.T) {
	b := newBench(t)
	b.patient()
	amd, arm := newImage("amd"), newImage("arm")
	raw, top := indexManifest(amd.descriptor(""), arm.descriptor(""))
	oras := new(process)
	b.ok(b.writeBy(oras, "v9/index.json", indexOf()))
	b.pieces("v9", amd)
	b.ok(b.writeBy(oras, "v9/index.json", indexOf(amd.descriptor(""))))
	b.pieces("v9", arm)
	b.ok(b.writeBy(oras, "v9/index.json", indexOf(amd.descriptor(""), arm.descriptor(""))))
	b.ok(b.writeBy(oras, at("v9", top.Digest), raw))
	b.ok(b.writeBy(oras, "v9/index.json", indexOf(amd.descriptor(""), arm.descriptor(""), top)))
	b.pointsAt("v9", "")
	b.ok(b.writeBy(oras, "v9/index.json", indexOf(amd.descriptor(""), arm.descriptor(""), named(top, v1.AnnotationRefName, "v9"))))
	b.pointsAt("v9", top.Digest)
	if n := b.s.Count("PUT manifest v9"); n != 1 {
		t.Errorf("v9 was put %d times", n)
	}
	if b.state("v9") != Pushed || len(b.failed()) > 0 {
		t.Errorf("%v; %v", b.area.Records(), b.failed())
	}
}

// An entry without a name goes by digest at once; the tag follows the end of the

// program, and whoever looks it up waits for it.

// A tag follows when nothing came for a while, whatever the program does.

// A tag that is to follow is pushed before the mount ends.

// A tag that follows and is refused is told: in uploads.json, among the errors, and by

// the next close of the index.json.

// A directory that is renamed before its tag followed never had the first name.

// Two images in one directory are an error that names both, and no tag moves: the

// call's where names tell, else told behind it.

func TestTwoImagesInOneDirectory(t *testing.T) {
	b := newBench(t)
	b.patient()
	one, two := newImage("one"), newImage("two")
	for _, names := range [][2]string{{"a", "b"}, {"", ""}} {
		dir := "v-" + names[0]
		b.pieces(dir, one)
		b.pieces(dir, two)
		p := new(process)
		err := b.writeBy(p, dir+"/index.json", indexOf(one.descriptor(names[0]), two.descriptor(names[1])))
		if names[0] == "" {
			b.ok(err)
			p.ended.Store(true)
			b.awaits(dir)
			if failed := b.failed(); len(failed) == 1 {
				err = failed[0]
			}
		}
		if !errors.Is(err, ErrAmbiguous) || !strings.Contains(err.Error(), one.digest.String()) || !strings.Contains(err.Error(), two.digest.String()) {
			t.Errorf("%q: %v", names, err)
		}
		b.pointsAt(dir, "")
		for _, i := range []image{one, two} {
			b.pointsAt(i.digest.String(), i.digest)
		}
		if b.state(dir) != Failed {
			t.Errorf("uploads.json says %q of %s", b.state(dir), dir)
		}
	}
}

// An entry that can't be pushed fails alone.

func TestAnEntryFailsAlone(t *testing.T) {
	b := newBench(t)
	one, two, three := newImage("one"), newImage("two"), newImage("three")
	for _, i := range []image{one, two, three} {
		b.pieces("", i)
	}
	same := func(i image, full string) v1.Descriptor {
		d := i.descriptor("twice")
		d.Annotations[AnnotationImageName] = full
		return d
	}
	bad := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: "sha256:short", Size: 1}
	err := b.write("index.json", indexOf(one.descriptor("no tag"), two.descriptor("v2"), bad, same(one, "org/one:twice"), same(two, "org/two:twice"), three.descriptor("v3")))
	if !errors.Is(err, ErrAmbiguous) || !errors.Is(err, ErrNoManifest) || !strings.Contains(err.Error(), "no tag") {
		t.Errorf("close says %v", err)
	}
	b.pointsAt("v2", two.digest)
	b.pointsAt("v3", three.digest)
	b.pointsAt("twice", "")
	if b.state("no tag") != Failed || b.state("twice") != Failed || b.state("v2") != Pushed {
		t.Errorf("%v", b.area.Records())
	}
}

// Signatures that cosign saved go under cosign's own tags, the image under its own.

func TestCosignSave(t *testing.T) {
	b := newBench(t)
	b.patient()
	img, sig, att := newImage("image"), newImage("signature"), newImage("attestation")
	list := indexOf(named(img.descriptor(""), annotationKind, cosignImage),
		named(sig.descriptor(""), annotationKind, "dev.cosignproject.cosign/sigs"),
		named(att.descriptor(""), annotationKind, "dev.cosignproject.cosign/atts"))
	for _, i := range []image{img, sig, att} {
		b.pieces("v1", i)
	}
	cosign := new(process)
	b.ok(b.writeBy(cosign, "v1/index.json", list))
	cosign.ended.Store(true)
	b.awaits("v1")
	b.pointsAt("v1", img.digest)
	b.pointsAt(ref.DigestName(img.digest)+".sig", sig.digest)
	b.pointsAt(ref.DigestName(img.digest)+".att", att.digest)
}

// A fallback tag of the referrers tag schema is what refers to an image: the registry

// that has the API lists it, and gets no such tag.

func TestFallbackTagsAreReferrers(t *testing.T) {
	for _, dir := range []string{"", "v1"} {
		b := newBenchAt(t, registrytest.Traits{Referrers: true})
		b.patient()
		img := newImage("image")
		sbom, referrer := referrerOf(img)
		list, fallback := indexManifest(referrer)
		tag := ref.DigestName(img.digest)
		b.ok(b.write(at(dir, digest.FromBytes(img.config)), img.config))
		b.ok(b.write(at(dir, referrer.Digest), sbom))
		b.ok(b.write(at(dir, fallback.Digest), list))
		prefix := ""
		if dir != "" {
			prefix = dir + "/"
		}
		b.ok(b.write(prefix+"index.json", indexOf(named(fallback, v1.AnnotationRefName, tag))))
		b.pointsAt("v1", "")
		b.pieces(dir, img)
		b.ok(b.write(prefix+"index.json", indexOf(named(fallback, v1.AnnotationRefName, tag), img.descriptor("v1"))))
		b.pointsAt("v1", img.digest)
		b.pointsAt(tag, "")
		b.pointsAt(referrer.Digest.String(), referrer.Digest)
		if n := b.s.Count("PUT manifest v1"); n != 1 {
			t.Errorf("%q: v1 was put %d times", dir, n)
		}
		b.ok(b.area.Close(t.Context()))
		b.open(Options{})
		if left := b.area.Records(); len(left) > 0 {
			t.Errorf("%q: left: %v", dir, left)
		}
	}
}

// A tag that was moved since is pushed again by whoever writes the index.json once more.

func TestAnImageThatIsPushedAgainGetsItsTagBack(t *testing.T) {
	for _, dir := range []string{"", "v1/"} {
		b := newBench(t)
		b.patient()
		one, other := newImage("one"), newImage("other")
		layout := strings.TrimSuffix(dir, "/")
		b.pieces(layout, one)
		b.pieces("", other)
		b.ok(b.write(dir+"index.json", indexOf(one.descriptor("v1"))))
		b.ok(b.write("manifests/v1", other.raw))
		b.pointsAt("v1", other.digest)
		b.ok(b.write(dir+"index.json", indexOf(one.descriptor("v1"))))
		b.pointsAt("v1", one.digest)
		b.asked()
		b.ok(b.write(dir+"index.json", indexOf(one.descriptor("v1"))))
		if asked := b.asked(); len(asked) > 0 {
			t.Errorf("what is there costs %q", asked)
		}
	}
}

// A descriptor that was wrong and is mended is pushed.

func TestAMendedDescriptorIsPushed(t *testing.T) {
	for _, dir := range []string{"", "v1/"} {
		b := newBench(t)
		i := newImage("x")
		b.pieces(strings.TrimSuffix(dir, "/"), i)
		wrong := i.descriptor("v1")
		wrong.Size++
		if err := b.write(dir+"index.json", indexOf(wrong)); !errors.Is(err, ErrNoManifest) {
			t.Errorf("%q: a wrong size: %v", dir, err)
		}
		b.ok(b.write(dir+"index.json", indexOf(i.descriptor("v1"))))
		b.pointsAt("v1", i.digest)
	}
}

// A program that adds an image to an index.json moves no tag of the others back.

func TestAnImageThatIsAddedMovesNoOtherTag(t *testing.T) {
	b := newBench(t)
	one, two, newer := newImage("one"), newImage("two"), newImage("newer")
	for _, i := range []image{one, two, newer} {
		b.pieces("", i)
	}
	b.ok(b.write("index.json", indexOf(one.descriptor("v1"))))
	b.ok(b.write("manifests/v1", newer.raw))
	b.ok(b.write("index.json", indexOf(one.descriptor("v1"), two.descriptor("v2"))))
	b.pointsAt("v1", newer.digest)
	b.pointsAt("v2", two.digest)
}

// A child of an index that oras lists on its way isn't tagged while oras waits for its

// source, however long that takes.

// A lookup of a tag whose program goes on and on sees what there is, in the end.

// Tags of cosign's that stand in a layout under their own names are pushed as they are.

func TestDigestTagsOfCosign(t *testing.T) {
	b := newBench(t)
	img, sig := newImage("image"), newImage("signature")
	b.pieces("v1", img)
	b.pieces("v1", sig)
	tag := ref.DigestName(img.digest) + ".sig"
	b.ok(b.write("v1/index.json", indexOf(img.descriptor("v1"), sig.descriptor(tag))))
	b.pointsAt("v1", img.digest)
	b.pointsAt(tag, sig.digest)
}

// A directory that is called by the digest of its image gives it no tag.

func TestADirectoryOfADigestIsNoTag(t *testing.T) {
	b := newBench(t)
	i := newImage("x")
	dir := ref.DigestName(i.digest)
	b.pieces(dir, i)
	b.ok(b.write(dir+"/index.json", indexOf(i.descriptor("latest"))))
	b.pointsAt(i.digest.String(), i.digest)
	b.pointsAt(dir, "")
	b.pointsAt("latest", "")
}

// A digest of SHA-512 makes a longer name than any tag, and is one of an image all the same.

func TestADirectoryOfALongDigest(t *testing.T) {
	b := newBench(t)
	i := newImage("x")
	d := digest.SHA512.FromBytes(i.raw)
	desc := i.descriptor("latest")
	desc.Digest = d
	dir := ref.DigestName(d)
	for _, piece := range [][]byte{i.layer, i.config} {
		b.ok(b.write(at(dir, digest.FromBytes(piece)), piece))
	}
	b.ok(b.write(at(dir, d), i.raw))
	b.ok(b.write(dir+"/index.json", indexOf(desc)))
	if b.s.ReadManifest(b.repo.Path, d.String()) == nil || b.state(d.String()) != Pushed {
		t.Errorf("%v", b.area.Records())
	}
}

// Nodes that upload/ starts with have the same numbers at each mount, in whatever order

// repositories are looked up.

func TestWhatUploadStartsWithHasTheSameNumbers(t *testing.T) {
	b := newBench(t)
	other := b.area.Root(ref.Repository{Host: b.s.Host, Path: "team/other"})
	for _, name := range []string{"blobs", "manifests", "index.json", "oci-layout"} {
		one, err := b.top.Lookup(t.Context(), name)
		b.ok(err)
		two, err := other.Lookup(t.Context(), name)
		b.ok(err)
		if one.ID() != two.ID() {
			t.Errorf("%s is %d in one repository and %d in the next", name, one.ID(), two.ID())
		}
	}
}

// A child of an index that is no manifest goes as a blob, however large it is.

func TestBuildCachesArePushed(t *testing.T) {
	b := newBench(t)
	layer := make([]byte, registry.MaxManifest+1)
	config := []byte(`{"layers":[{"blob":"x"}],"records":[]}`)
	raw, top := indexManifest(
		v1.Descriptor{MediaType: v1.MediaTypeImageLayerGzip, Digest: digest.FromBytes(layer), Size: int64(len(layer))},
		v1.Descriptor{MediaType: "application/vnd.buildkit.cacheconfig.v0", Digest: digest.FromBytes(config), Size: int64(len(config))})
	for _, piece := range [][]byte{config, raw} {
		b.ok(b.write(at("cache", digest.FromBytes(piece)), piece))
	}
	b.ok(b.write("cache/index.json", indexOf(named(top, v1.AnnotationRefName, "cache"))))
	b.pointsAt("cache", "")
	b.ok(b.writeBy(nil, at("cache", digest.FromBytes(layer)), layer))
	b.pointsAt("cache", top.Digest)
	if b.s.ReadBlob(b.repo.Path, digest.FromBytes(layer)) == nil || b.s.ReadBlob(b.repo.Path, digest.FromBytes(config)) == nil {
		t.Error("a blob isn't at the registry")
	}
}

// A tag doesn't follow while something of its directory is being pushed: the program waits

// for that, and lists more when it is through.

// A tag that was to follow and is given up has no record: nothing waits for it.

// A renamed directory whose image isn't known waits under its new name alone.

// A tag that points where it was to follow to is pushed, and isn't pushed again.

// A tag doesn't follow while a program asks in its directory what the registry has already:

// it lists more when it knows.
