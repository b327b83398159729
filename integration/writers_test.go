package integration

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// writer is a program that writes an image into upload/, as a script: $SRC is the
// source's reference without its tag, $IN its directory in the mount, $OTHER that of
// its copy at another registry, $LAYOUT a layout on the disk with the tag $TAG, and
// $OUT the repository that it is pushed to. What it pushes is $TAG there.
type writer struct{ name, script string }

// writers are those that write OCI layouts, and those that copy files.
var writers = []writer{
	{"skopeo", `skopeo --insecure-policy copy --all --preserve-digests --src-tls-verify=false docker://$SRC:$TAG oci:$OUT/upload:$TAG`},
	{"crane", `crane pull --insecure --format=oci $SRC:$TAG $OUT/upload/$TAG`},
	{"oras", `oras cp --from-plain-http $SRC:$TAG --to-oci-layout $OUT/upload:$TAG`},
	{"regctl", `regctl --host reg=${SRC%%/*},tls=disabled image copy $SRC:$TAG ocidir://$OUT/upload:$TAG`},
	{"cp from the mount", `cp -r $IN/tags/$TAG $OUT/upload/`},
	{"cp from another registry", `cp -r $OTHER/tags/$TAG $OUT/upload/$TAG`},
	{"cp from a disk", `cp -r $LAYOUT $OUT/upload/$TAG`},
	{"cp -a", `cp -a $LAYOUT $OUT/upload/$TAG`},
	{"cp into upload itself", `cp -r $LAYOUT/. $OUT/upload/`},
	{"rsync", `rsync -a $LAYOUT/ $OUT/upload/$TAG`},
	{"rsync from the mount", `rsync -a $IN/tags/$TAG/ $OUT/upload/$TAG`},
	{"rclone", `rclone -q copy $LAYOUT $OUT/upload/$TAG`},
	{"tar", `mkdir $OUT/upload/$TAG && tar c -C $LAYOUT . | tar x -C $OUT/upload/$TAG`},
	{"mv", `cp -r $LAYOUT $LAYOUT.moved && mv $LAYOUT.moved $OUT/upload/$TAG`},
	{"a directory renamed", `cp -r $LAYOUT $OUT/upload/$TAG.tmp && mv $OUT/upload/$TAG.tmp $OUT/upload/$TAG`},
	// As buildctl does with type=oci,tar=false, which isn't a package to be had:
	// blobs by ingest/, and an index that is written over the old one, then cut.
	{"an index cut to size", `cd $OUT/upload && for b in $LAYOUT/blobs/sha256/*; do
			mkdir -p ingest/${b##*/} && cp $b ingest/${b##*/}/data && sync ingest/${b##*/}/data && mv ingest/${b##*/}/data blobs/sha256/${b##*/} && rm -r ingest/${b##*/} || exit 1
		done && : > index.json.lock && size=$(stat -c %s $LAYOUT/index.json) &&
		{ printf '%4000s' ''; } > index.json && { cat $LAYOUT/index.json; printf '%100s' ''; } | dd of=index.json conv=notrunc status=none && truncate -s $size index.json && rm index.json.lock`},
}

// Every program that writes image layouts, or copies them, pushes what it writes:
// another client gets the same bytes from the registry, and the mount shows them at
// once.
func TestWriters(t *testing.T) {
	t.Parallel()
	for kind, start := range map[string]func(*testing.T, registries.Options) *registries.Server{"distribution": startDistribution, "olareg": startOlareg} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := start(t, registries.Options{})
			app := repo(t, s, testImage)
			image := must(app.Image(t.Context(), "v1", content.Sample("v1")))(t)
			index := must(app.MultiPlatform(t.Context(), "multi"))(t)
			artifact := must(app.TitledArtifact(t.Context(), "model"))(t)
			other := startDebian(t, registries.Options{}) // with the same images
			copied := repo(t, other, testImage)
			must(copied.Image(t.Context(), "v1", content.Sample("v1")))(t)
			must(copied.MultiPlatform(t.Context(), "multi"))(t)
			must(copied.TitledArtifact(t.Context(), "model"))(t)
			m := testMount(t, mounting{})
			work := t.TempDir()
			want := map[string]string{"v1": image.Digest.String(), "multi": index.Digest.String(), "model": artifact.Digest.String()}
			for tag := range want {
				m.sh("skopeo --insecure-policy copy --all --preserve-digests --src-tls-verify=false docker://%s/%s:%s oci:%s/%s:%s", s.Host, testImage, tag, work, tag, tag)
				m.sh("skopeo --insecure-policy copy --all --preserve-digests --src-tls-verify=false docker://%s/%s:%s dir:%s/%s.want", s.Host, testImage, tag, work, tag)
			}
			for i, w := range writers {
				for tag, digest := range want {
					if tag == "multi" && w.name == "crane" {
						continue // it pulls one platform of an index, whatever is asked for
					}
					t.Run(w.name+" "+tag, func(t *testing.T) {
						m := m.forTest(t)
						to := fmt.Sprintf("to%d/%s", i, tag)
						out := m.at(s, to)
						m.run(fmt.Sprintf("cat %s/tags/%s/digest", out, tag)) // the kernel believes that it isn't there
						m.sh("export SRC=%s/%s IN=%s OTHER=%s LAYOUT=%s/%s TAG=%s OUT=%s; %s",
							s.Host, testImage, m.at(s, testImage), m.at(other, testImage), work, tag, tag, out, w.script)
						m.holds(filepath.Join(out, "tags", tag, "digest"), []byte(digest+"\n"))
						m.lists(filepath.Join(out, "tags"), tag)
						got := filepath.Join(t.TempDir(), "got")
						m.sh("skopeo --insecure-policy copy --all --preserve-digests --src-tls-verify=false docker://%s/%s:%s dir:%s && diff -r %s/%s.want %s", s.Host, to, tag, got, work, tag, got)
						if left := m.sh(`jq -r '.[] | select(.state != "pushed")' $M/.ocifs/uploads.json`); left != "" {
							t.Errorf("uploads.json has %s", left)
						}
					})
				}
			}
			m.unmount()
			if left := m.sh("find %s/v1/staging -type f 2>/dev/null || true", m.Cache); left != "" {
				t.Errorf("a clean end leaves\n%s", left)
			}
		})
	}
}

// buildah pushes what it has built, in layers of its own making.
func TestBuildahWrites(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	must(repo(t, s, testImage).Image(t.Context(), "v1", content.Small("hello")))(t)
	m := testMount(t, mounting{})
	storage := t.TempDir()
	b := fmt.Sprintf("buildah --storage-driver vfs --root %s/root --runroot %s/run", storage, storage)
	m.sh("%s pull -q --tls-verify=false docker://%s/%s:v1 && %s push -q %s/%s:v1 oci:%s:v1", b, s.Host, testImage, b, s.Host, testImage, m.at(s, "team/built/upload"))
	if got := m.sh("crane export --insecure %s/team/built:v1 - | tar xO text", s.Host); got != "hello" {
		t.Errorf("the image has %q", got)
	}
	m.sh("%s rmi -af", b)
}

// umoci makes images in upload/ as in any layout, old and new.
func TestUmociWrites(t *testing.T) {
	t.Parallel()
	for kind, start := range map[string]func(*testing.T, registries.Options) *registries.Server{"distribution": startDistribution, "olareg": startOlareg} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := start(t, registries.Options{})
			m := testMount(t, mounting{})
			file := filepath.Join(t.TempDir(), "file")
			m.sh("echo hello > %s", file)
			for _, umoci := range []string{"umoci", "/usr/bin/umoci"} {
				to := "team/" + strings.ReplaceAll(strings.TrimPrefix(umoci, "/"), "/", "-")
				image := m.at(s, to, "upload") + ":v1"
				m.sh("%s new --image %s && %s insert --rootless --image %s %s /greeting && %s tag --image %s v2", umoci, image, umoci, image, file, umoci, image)
				m.lists(m.at(s, to, "tags"), "v1", "v2")
				m.sh("cmp %s/v1/digest %s/v2/digest", m.at(s, to, "tags"), m.at(s, to, "tags"))
				if got := m.sh("crane export --insecure %s/%s:v2 - | tar xO greeting", s.Host, to); got != "hello\n" {
					t.Errorf("%s: the image has %q", umoci, got)
				}
			}
		})
	}
}
