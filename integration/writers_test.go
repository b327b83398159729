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
// source's reference without its tag, $IN its directory in the mount, $LAYOUT a
// layout on the disk with the tag $TAG, and $OUT the repository that it is pushed to.
// What it pushes is $TAG there.
type writer struct{ name, script string }

// writers are those that write OCI layouts, and those that copy files.
var writers = []writer{
	{"skopeo", `skopeo --insecure-policy copy --all --preserve-digests --src-tls-verify=false docker://$SRC:$TAG oci:$OUT/upload:$TAG`},
	{"crane", `crane pull --insecure --format=oci $SRC:$TAG $OUT/upload/$TAG`},
	{"oras", `oras cp --from-plain-http $SRC:$TAG --to-oci-layout $OUT/upload:$TAG`},
	{"regctl", `regctl --host reg=${SRC%%/*},tls=disabled image copy $SRC:$TAG ocidir://$OUT/upload:$TAG`},
	{"cp from the mount", `cp -r $IN/tags/$TAG $OUT/upload/`},
	{"cp from a disk", `cp -r $LAYOUT $OUT/upload/$TAG`},
	{"cp -a", `cp -a $LAYOUT $OUT/upload/$TAG`},
	{"cp into upload itself", `cp -r $LAYOUT/. $OUT/upload/`},
	{"rsync", `rsync -a $LAYOUT/ $OUT/upload/$TAG`},
	{"rsync from the mount", `rsync -a $IN/tags/$TAG/ $OUT/upload/$TAG`},
	{"tar", `mkdir $OUT/upload/$TAG && tar c -C $LAYOUT . | tar x -C $OUT/upload/$TAG`},
	{"mv", `cp -r $LAYOUT $LAYOUT.moved && mv $LAYOUT.moved $OUT/upload/$TAG`},
	{"a directory renamed", `cp -r $LAYOUT $OUT/upload/$TAG.tmp && mv $OUT/upload/$TAG.tmp $OUT/upload/$TAG`},
	{"partial files renamed", `mkdir -p $OUT/upload/$TAG/blobs/sha256 && cd $LAYOUT && for f in index.json oci-layout blobs/sha256/*; do
		cp $f $OUT/upload/$TAG/$f.1a2b3c4d.partial && mv $OUT/upload/$TAG/$f.1a2b3c4d.partial $OUT/upload/$TAG/$f || exit 1; done`},
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
						m.sh("export SRC=%s/%s IN=%s LAYOUT=%s/%s TAG=%s OUT=%s; %s", s.Host, testImage, m.at(s, testImage), work, tag, tag, out, w.script)
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
