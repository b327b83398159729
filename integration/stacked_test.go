package integration

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/mount"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// Overlayfs over an image directory, as container engines and build sandboxes mount it,
// shows the files, takes changes, and leaves the image as it is; reads pass through to the
// cache all the same.
func TestOverlayOverTheMount(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Log("only root can mount overlayfs, and only root's mounts pass reads through")
		return
	}
	s := startDistribution(t, registries.Options{})
	image := must(repo(t, s, testImage).Image(t.Context(), "v1", content.Sample("v1")))(t)
	m := testMount(t, mounting{})
	if got := m.sh("jq .passthrough $M/.ocifs/stats.json"); got != "true\n" {
		t.Errorf("passthrough is %s", got)
	}
	v1 := m.at(s, testImage, "tags/v1")
	layer := "blobs/sha256/" + image.Layers[0].Digest.Encoded()
	// The mounts are those of a namespace that ends with the script.
	out := m.sh("unshare -m sh -ec %s sh %s %s", quote(`
		mount -t tmpfs none /dev/shm
		mkdir /dev/shm/upper /dev/shm/work /dev/shm/merged
		mount -t overlay none -o "lowerdir=$1,upperdir=/dev/shm/upper,workdir=/dev/shm/work" /dev/shm/merged
		cd /dev/shm/merged
		diff -r --no-dereference . "$1"
		sha256sum "$2" manifest.json
		echo more >> digest
		wc -l < digest
		rm manifest.json
		test ! -e manifest.json`), quote(v1), layer)
	for _, want := range []string{image.Layers[0].Digest.Encoded() + "  " + layer, image.Digest.Encoded() + "  manifest.json", "\n2\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("the overlay shows no %q:\n%s", want, out)
		}
	}
	m.holds(v1+"/manifest.json", image.Bytes)
	m.holds(v1+"/digest", []byte(image.Digest+"\n"))
}

// A cache on overlayfs, as in a container, passes reads through as well.
func TestPassthroughToACacheOnOverlayfs(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Log("only root can mount overlayfs, and only root's mounts pass reads through")
		return
	}
	s := startDistribution(t, registries.Options{})
	image := must(repo(t, s, testImage).Image(t.Context(), "v1", content.Sample("v1")))(t)
	dir := t.TempDir()
	system := func(script string) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
		defer cancel()
		if r := must(mount.Run(ctx, append(mount.Env(dir), "D="+dir), script))(t); r.Code != 0 {
			t.Fatalf("%s: exit code %d, %s", script, r.Code, r.Stderr)
		}
	}
	system(`mount -t tmpfs none $D && mkdir $D/lower $D/upper $D/work $D/merged &&
		mount -t overlay none -o lowerdir=$D/lower,upperdir=$D/upper,workdir=$D/work $D/merged`)
	t.Cleanup(func() { system("umount $D/merged $D") })
	m := testMount(t, mounting{cache: filepath.Join(dir, "merged/cache")})
	if got := m.sh("jq .passthrough $M/.ocifs/stats.json"); got != "true\n" {
		t.Errorf("passthrough is %s", got)
	}
	layer := m.at(s, testImage, "tags/v1/blobs/sha256", image.Layers[0].Digest.Encoded())
	for range 2 { // as it is downloaded, and as the kernel reads it
		m.holds(layer, image.Layers[0].Bytes)
	}
}
