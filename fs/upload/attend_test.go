package upload

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// Waiting is told once nothing has come for a while, and once.
func TestWaitingIsToldWhenNothingMoreComes(t *testing.T) {
	b, clock := newTimedBench(t)
	i := newImage("x")
	b.ok(b.write("index.json", indexOf(i.descriptor("v1"))))
	clock.passes(attendAfter - 1)
	b.looks()
	if failed := b.failed(); len(failed) != 0 {
		t.Errorf("told too early: %v", failed)
	}
	clock.passes(1)
	for range 1000 {
		if len(b.failed()) > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.ok(b.area.Close(t.Context()))
	if failed := b.failed(); len(failed) != 1 || !errors.Is(failed[0], ErrIncomplete) || b.state("v1") != Waiting {
		t.Errorf("told %v", failed)
	}
}

// All that waits in upload/ is told, in uploads.json and as an error that names the missing
// piece: here as the mount ends.
func TestWaitingIsTold(t *testing.T) {
	img := newImage("image")
	arm := newImage("arm")
	one := img.descriptor("")
	one.Platform = &v1.Platform{OS: "linux", Architecture: "amd64"}
	two := arm.descriptor("")
	two.Platform = &v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}
	raw, top := indexManifest(one, two)
	layer := digest.FromBytes(img.layer)
	whole := func(b *bench, dir string) {
		for _, piece := range [][]byte{img.layer, img.config, img.raw} {
			b.ok(b.write(at(dir, digest.FromBytes(piece)), piece))
		}
	}
	for name, c := range map[string]struct {
		write  func(b *bench)
		target string
		says   []string
		is     error
	}{
		"platforms that weren't saved": {func(b *bench) {
			whole(b, "v1")
			b.ok(b.write(at("v1", top.Digest), raw))
			b.ok(b.write("v1/index.json", indexOf(named(top, v1.AnnotationRefName, "v1"))))
		}, "v1", []string{"linux/arm64/v8", arm.digest.String()}, ErrIncomplete},
		"the same without a name": {func(b *bench) {
			whole(b, "v1")
			b.ok(b.write(at("v1", top.Digest), raw))
			b.ok(b.write("v1/index.json", indexOf(top)))
		}, "v1", []string{"linux/arm64/v8"}, ErrIncomplete},
		"a layer": {func(b *bench) {
			b.ok(b.write(at("v1", digest.FromBytes(img.config)), img.config))
			b.ok(b.write(at("v1", img.digest), img.raw))
			b.ok(b.write("v1/index.json", indexOf(img.descriptor("v1"))))
		}, "v1", []string{"layer " + layer.String()}, ErrIncomplete},
		"a manifest that tells which entry is the image": {func(b *bench) {
			whole(b, "v1")
			b.ok(b.write("v1/index.json", indexOf(img.descriptor(""), arm.descriptor(""))))
		}, "v1", []string{arm.digest.String()}, ErrIncomplete},
		"in upload/ itself": {func(b *bench) { b.ok(b.write("index.json", indexOf(img.descriptor("v7")))) },
			"v7", []string{img.digest.String()}, ErrIncomplete},
		"the image of a fallback tag": {func(b *bench) {
			list, fallback := indexManifest()
			b.ok(b.write(at("v1", fallback.Digest), list))
			b.ok(b.write("v1/index.json", indexOf(named(fallback, v1.AnnotationRefName, ref.DigestName(img.digest)))))
		}, "v1", []string{"none of the entries"}, ErrIncomplete},
		"an image in another directory": {func(b *bench) {
			whole(b, "v0")
			b.ok(b.write("v0/index.json", indexOf(img.descriptor("v0"))))
			b.ok(b.write("v0/saved/oci-layout", startLayout))
			b.ok(b.write("v0/saved/index.json", indexOf(img.descriptor("v1"))))
		}, "v0/saved", []string{"copy it to upload/<tag>"}, ErrIncomplete},
		"an image in upload/blobs": {func(b *bench) { b.ok(b.write("blobs/saved/index.json", indexOf())) },
			"blobs/saved", []string{"copy it to upload/<tag>"}, ErrIncomplete},
		"an index.json that lists nothing": {func(b *bench) {
			b.ok(b.write("v1/oci-layout", startLayout))
			b.ok(b.write("v1/index.json", indexOf()))
		}, "v1", []string{"lists no image"}, ErrIncomplete},
		"a blob whose program was killed": {func(b *bench) {
			b.cutOff(b.create("blobs/cut"), []byte("half"))
		}, "blobs/cut", []string{"write it once more"}, ErrIncomplete},
		"a blob by its digest whose program was killed": {func(b *bench) {
			b.cutOff(b.create(at("", layer)), img.layer[:100])
		}, layer.String(), []string{"write it once more"}, ErrIncomplete},
		"the index.json of upload/ whose program was killed": {func(b *bench) {
			n, err := b.top.Lookup(b.t.Context(), "index.json")
			b.ok(err)
			h, err := n.(*File).OpenEmpty(t.Context(), nil)
			b.ok(err)
			b.cutOff(h, []byte("{"))
		}, "index.json", []string{"write it once more"}, ErrIncomplete},
		"an image in the blobs of another": {func(b *bench) {
			whole(b, "v0")
			b.ok(b.write("v0/index.json", indexOf(img.descriptor("v0"))))
			b.ok(b.write("v0/blobs/saved/oci-layout", startLayout))
		}, "v0/blobs/saved", []string{"copy it to upload/<tag>"}, ErrIncomplete},
		"an index.json whose program was killed": {func(b *bench) {
			b.cutOff(b.create("v1/index.json"), []byte("{"))
		}, "v1/index.json", []string{"write it once more"}, ErrIncomplete},
		"a file where none is pushed": {func(b *bench) { b.ok(b.write("app.tar", []byte("tar"))) },
			"app.tar", []string{"upload/blobs/"}, ErrIncomplete},
		"an entry that is no manifest": {func(b *bench) {
			whole(b, "v1")
			d := img.descriptor("v1")
			d.MediaType = "application/octet-stream"
			b.ok(b.write("v1/index.json", indexOf(d)))
		}, "v1", []string{"none of the entries"}, ErrIncomplete},
		"a byte order mark": {func(b *bench) {
			whole(b, "v1")
			b.ok(b.write("v1/index.json", append([]byte("\xef\xbb\xbf"), indexOf(img.descriptor("v1"))...)))
		}, "v1", []string{"byte order mark"}, ErrUnreadable},
		"UTF-16": {func(b *bench) { b.ok(b.write("v1/index.json", []byte("\xff\xfe{\x00}\x00"))) },
			"v1", []string{"UTF-16"}, ErrUnreadable},
		"half an index": {func(b *bench) { b.ok(b.write("index.json", []byte(`{"manifests":[{"digest`))) },
			"index.json", []string{"JSON"}, ErrUnreadable},
		"an empty index": {func(b *bench) { b.ok(b.write("v1/index.json", nil)) }, "v1", []string{"empty"}, ErrUnreadable},
		"no index":       {func(b *bench) { b.ok(b.write("v1/manifest.json", []byte("[]"))) }, "v1", []string{"no index.json"}, ErrIncomplete},
		"other bytes than the name says": {func(b *bench) { b.ok(b.write(at("", layer), img.layer[:100])) },
			layer.String(), []string{digest.FromBytes(img.layer[:100]).String()}, ErrIncomplete},
		"a manifest that no index names": {func(b *bench) { b.ok(b.write(at("", img.digest), img.raw)) },
			img.digest.String(), []string{"no index.json names it"}, ErrIncomplete},
		"a directory with a name of what isn't whole": {func(b *bench) {
			whole(b, "v1.tmp")
			b.ok(b.write("v1.tmp/index.json", indexOf(img.descriptor("v1"))))
		}, "v1.tmp", []string{"rename it"}, ErrIncomplete},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.patient()
			c.write(b)
			if failed := b.failed(); len(failed) > 0 {
				t.Errorf("told too early: %v", failed)
			}
			b.ok(b.area.Close(t.Context()))
			said := b.failed()
			if len(said) != 1 {
				t.Fatalf("told %v", said)
			}
			for _, words := range append(c.says, c.target) {
				if !strings.Contains(said[0].Error(), words) {
					t.Errorf("%q isn't said in %v", words, said)
				}
			}
			if !errors.Is(said[0], c.is) {
				t.Errorf("told %v", said)
			}
			if b.state(c.target) != Waiting {
				t.Errorf("uploads.json says %v", b.area.Records())
			}
			b.pointsAt("v1", "")
		})
	}
}

// A record of something that waited goes when it came.
func TestWhatCameWaitsNoMore(t *testing.T) {
	b := newBench(t)
	b.patient()
	b.cutOff(b.create("blobs/model"), []byte("half"))
	b.top.root.reportWaiting(t.Context(), b.top)
	if b.state("blobs/model") != Waiting {
		t.Errorf("%v", b.area.Records())
	}
	b.ok(b.write("blobs/model", []byte("whole")))
	b.top.root.reportWaiting(t.Context(), b.top)
	if state := b.state("blobs/model"); state != "" {
		t.Errorf("it is %s", state)
	}
}

// A record of something that waited goes when that is removed, alone or with its directory.
func TestWhatIsRemovedWaitsNoMore(t *testing.T) {
	b := newBench(t)
	b.patient()
	i := newImage("x")
	b.ok(b.write("app.tar", []byte("tar")))
	b.pieces("v1", i)
	b.ok(b.write("v1/index.json", indexOf(i.descriptor("v1"))))
	b.ok(b.write("v1/saved/index.json", indexOf()))
	b.top.root.reportWaiting(t.Context(), b.top)
	b.top.root.reportWaiting(t.Context(), b.dirAt("v1"))
	if b.state("app.tar") != Waiting || b.state("v1/saved") != Waiting {
		t.Errorf("%v", b.area.Records())
	}
	b.ok(b.top.Unlink(t.Context(), "app.tar"))
	b.ok(b.dirAt("v1/saved").Unlink(t.Context(), "index.json"))
	b.ok(b.dirAt("v1").Rmdir(t.Context(), "saved"))
	b.ok(b.area.Close(t.Context())) // which looks once more where something happened
	for _, target := range []string{"app.tar", "v1/saved"} {
		if state := b.state(target); state != "" {
			t.Errorf("%s is %s", target, state)
		}
	}
}

// A manifest that the registry has needs no index.
func TestAManifestThatTheRegistryHasIsNotMissed(t *testing.T) {
	b := newBench(t)
	i := newImage("x")
	b.pieces("", i)
	b.ok(b.write("index.json", indexOf(i.descriptor("v1"))))
	b.ok(b.area.Close(t.Context()))
	b.open(Options{})
	b.ok(b.write(at("", i.digest), i.raw))
	b.ok(b.area.Close(t.Context())) // which tells what waits
	if failed := b.failed(); len(failed) > 0 || b.state(i.digest.String()) == Waiting {
		t.Errorf("told %v", failed)
	}
}

// A symlink at a digest counts as the file that it leads to in its layout, whichever
// came first; one that leads out is refused at once.
func TestLayoutsOfSymlinks(t *testing.T) {
	i := newImage("linked")
	pieces := map[string][]byte{"layer.tar": i.layer, "config": i.config, "manifest": i.raw}
	link := func(b *bench, dir, file string) error {
		to := at(dir, digest.FromBytes(pieces[file]))
		_, err := b.dirAt(filepath.Dir(to)).Symlink(t.Context(), filepath.Base(to), "../../"+file)
		return err
	}
	for _, first := range []string{"links", "files"} {
		t.Run(first+" first", func(t *testing.T) {
			b := newBench(t)
			for range 2 {
				for file, content := range pieces {
					switch {
					case first == "links" && b.childOf("v1/blobs/sha256", digest.FromBytes(content).Encoded()) == nil:
						b.ok(link(b, "v1", file))
					case b.childOf("v1", file) == nil:
						b.ok(b.write("v1/"+file, content))
					case first == "files":
						b.ok(link(b, "v1", file))
					}
				}
			}
			b.ok(b.write("v1/index.json", indexOf(i.descriptor("v1"))))
			b.pointsAt("v1", i.digest)
		})
	}
	t.Run("index.json", func(t *testing.T) {
		b := newBench(t)
		b.pieces("v1", i)
		_, err := b.dirAt("v1").Symlink(t.Context(), "index.json", "index-1.json")
		b.ok(err)
		b.ok(b.write("v1/index-1.json", indexOf(i.descriptor("v1"))))
		b.pointsAt("v1", i.digest)
	})
	t.Run("leading out", func(t *testing.T) {
		b := newBench(t)
		name := i.digest.Encoded()
		for dir, target := range map[string]string{
			"v1/blobs/sha256": "/store/blob", "v6": "realblobs", "v2/blobs/sha256": "../../../v1/blob", "blobs/sha256": "../../../blob",
			"v3": "../index.json", "v4": "/blobs", "v5/blobs": "../../blobs/sha256", "manifests": "../manifest", "blobs": "/model",
		} {
			entry := map[string]string{"v3": "index.json", "v4": "blobs", "v6": "blobs", "v5/blobs": "sha256", "manifests": "v1", "blobs": "model"}[dir]
			if entry == "" {
				entry = name
			}
			if _, err := b.dirAt(dir).Symlink(t.Context(), entry, target); !errors.Is(err, ErrLink) {
				t.Errorf("%s/%s -> %s: %v", dir, entry, target, err)
			}
			if b.childOf(dir, entry) != nil {
				t.Errorf("%s/%s is there", dir, entry)
			}
			if _, err := b.dirAt(dir).Symlink(t.Context(), "link.tmp", target); err != nil {
				t.Errorf("%s: a temporary name: %v", dir, err)
			} else if err := b.dirAt(dir).Rename(t.Context(), "link.tmp", b.dirAt(dir), entry, true, nil); !errors.Is(err, ErrLink) {
				t.Errorf("%s: renamed: %v", dir, err)
			}
		}
		if _, err := b.dirAt("v1/layers").Symlink(t.Context(), "00", "../../../other"); err != nil {
			t.Errorf("a symlink that nothing looks for: %v", err)
		}
	})
	t.Run("by way of another", func(t *testing.T) {
		b := newBench(t)
		for file, content := range pieces {
			b.ok(b.write("v1/store/"+file, content))
			to := at("v1", digest.FromBytes(content))
			_, err := b.dirAt(filepath.Dir(to)).Symlink(t.Context(), filepath.Base(to), "../../by/"+file)
			b.ok(err)
		}
		b.ok(b.write("v1/index.json", indexOf(i.descriptor("v1"))))
		b.pointsAt("v1", "")
		_, err := b.dirAt("v1").Symlink(t.Context(), "by", "store")
		b.ok(err)
		b.pointsAt("v1", i.digest)
	})
	t.Run("in a circle", func(t *testing.T) {
		b := newBench(t)
		_, err := b.dirAt("v1").Symlink(t.Context(), "a", "b")
		b.ok(err)
		_, err = b.dirAt("v1").Symlink(t.Context(), "b", "a")
		b.ok(err)
		if _, err := b.dirAt("v1/blobs/sha256").Symlink(t.Context(), i.digest.Encoded(), "../../a"); err != nil && !errors.Is(err, ErrLink) {
			t.Error(err)
		}
		b.ok(b.write("v1/c", nil))
	})
}

// childOf gives what has a name in a directory, or nil.
func (b *bench) childOf(dir, name string) Node {
	for _, e := range b.dirAt(dir).List() {
		if e.Name == name {
			return e.Node
		}
	}
	return nil
}

// Files of an image directory that would become tags by where they land are refused.
func TestAnImageDirectoryInTheWrongPlace(t *testing.T) {
	b := newBench(t)
	i := newImage("x")
	b.pieces("", i)
	for _, name := range []string{"index.json", "manifest.json"} {
		if _, _, err := b.dirAt("manifests").Create(t.Context(), name, 0o644, Openly, nil); !errors.Is(err, ErrPlace) {
			t.Errorf("manifests/%s: %v", name, err)
		}
	}
	for dir, name := range map[string]string{"manifests": "blobs", "blobs": "layers"} {
		if _, err := b.dirAt(dir).Mkdir(t.Context(), name, 0o755); !errors.Is(err, ErrPlace) {
			t.Errorf("%s/%s/: %v", dir, name, err)
		}
	}
	if err := b.write("manifests/digest", []byte(i.digest+"\n")); !errors.Is(err, ErrNoManifest) {
		t.Errorf("manifests/digest: %v", err)
	}
	b.ok(b.write("manifests/v1.tmp", i.raw))
	if err := b.rename("manifests/v1.tmp", "manifests/index.json"); !errors.Is(err, ErrPlace) {
		t.Errorf("renamed to manifests/index.json: %v", err)
	}
	if tags, _, _ := b.s.Held(b.repo.Path); len(tags) > 0 {
		t.Errorf("tags: %v", tags)
	}
}

// A pushed file takes no room from what is staged, be it that the cache still takes it
// over, and gives its room back once.
func TestAPushedFileTakesNoRoom(t *testing.T) {
	b := newBench(t)
	tree := &slowly{bench: b, adopts: make(chan struct{})}
	b.area.o.Tree = tree
	b.ok(b.write("warm.tmp", nil))
	before := b.area.Staged()
	b.ok(b.write("blobs/x", make([]byte, 1500)))
	if n := b.area.Staged(); n != before {
		t.Errorf("%d bytes are staged while the cache takes it over, want %d", n, before)
	}
	b.ok(b.dirAt("blobs").Unlink(t.Context(), "x"))
	close(tree.adopts)
	b.ok(b.area.Close(t.Context()))
	if n := b.area.Staged(); n != before {
		t.Errorf("%d bytes are staged in the end, want %d", n, before)
	}
}

// Bytes that are written while a digest is computed are not those that are pushed, and
// the file is pushed by its next close.
func TestAWriteDuringACloseIsNotMarkedAsPushed(t *testing.T) {
	b := newBench(t)
	tree := &meanwhile{bench: b}
	b.area.o.Tree = tree
	b.ok(b.write("blobs/before", []byte("same")))
	h := b.create("blobs/x")
	defer h.Release()
	write := func(text string, off int64) {
		if _, err := h.WriteAt(t.Context(), []byte(text), off); err != nil {
			t.Error(err)
		}
	}
	write("same", 0)
	tree.then = func() { write("!", 4) }
	b.ok(h.Flush(t.Context()))
	if n, err := b.dirAt("blobs").Lookup(t.Context(), "x"); err != nil {
		t.Error(err)
	} else if s, ok := n.(*Symlink); ok && s.Target() != "sha256/"+digest.FromString("same!").Encoded() {
		t.Errorf("blobs/x is %q, and has other bytes", s.Target())
	}
	b.ok(h.Flush(t.Context()))
	if b.s.ReadBlob(b.repo.Path, digest.FromString("same!")) == nil {
		t.Error("what was written meanwhile isn't at the registry")
	}
	n, err := b.dirAt("blobs").Lookup(t.Context(), "x")
	if s, ok := n.(*Symlink); err != nil || !ok || s.Target() != "sha256/"+digest.FromString("same!").Encoded() {
		t.Errorf("blobs/x is %v, %v", n, err)
	}
}

// A directory is told to wait only after the calls that push something of it, however long
// they take.
func TestNothingIsToldDuringAPush(t *testing.T) {
	b, clock := newTimedBench(t)
	i := newImage("x")
	release := make(chan struct{})
	b.s.On("PUT upload", registrytest.Hold(release))
	h := b.create(at("v1", digest.FromBytes(i.layer)))
	if _, err := h.WriteAt(t.Context(), i.layer, 0); err != nil {
		t.Fatal(err)
	}
	b.ok(b.write("v1/index.json", indexOf(i.descriptor("v1"))))
	closed := make(chan error)
	go func() { closed <- h.Flush(t.Context()) }()
	b.arrivesAt("PUT upload", 1)
	clock.passes(time.Hour)
	b.looks()
	if failed := b.failed(); len(failed) > 0 {
		t.Errorf("told %v", failed)
	}
	close(release)
	b.ok(<-closed)
	h.Release()
}

// A directory remembers what it told as long as that waits, and no longer.
func TestWhatWasToldIsForgottenWithItsCause(t *testing.T) {
	b := newBench(t)
	b.patient()
	tell := func() { b.top.root.reportWaiting(t.Context(), b.top) }
	for n := range 10 {
		i := newImage(string(rune('a' + n)))
		b.ok(b.write(at("", i.digest), i.raw))
		tell()
		tell()
		b.ok(b.dirAt("blobs/sha256").Unlink(t.Context(), i.digest.Encoded()))
	}
	tell()
	if n := len(b.failed()); n != 10 {
		t.Errorf("told %d times, want 10", n)
	}
	if n := len(b.top.layout.reported); n != 0 {
		t.Errorf("%d things are remembered that don't wait any more", n)
	}
}

// A panic while a directory is looked at ends that alone.
func TestAPanicInALookEndsThatAlone(t *testing.T) {
	b := newBench(t)
	b.area.attendAfter = 10 * time.Millisecond
	b.area.o.Tree = panicking{b}
	i := newImage("x")
	b.ok(b.write(at("", i.digest), i.raw))
	b.ok(b.area.Close(t.Context()))
}

// panicking is a bench that fails by a panic.
type panicking struct{ *bench }

func (panicking) Manifest(context.Context, ref.Repository, digest.Digest) (*registry.Manifest, error) {
	panic("a fault")
}
