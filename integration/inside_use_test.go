package integration

import (
	"os"
	"strings"
	"testing"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// An image runs in a chroot, read-only, without being pulled.
func TestInsideAChroot(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Log("only root can change the root directory")
		return
	}
	s := startOlareg(t, registries.Options{})
	must(repo(t, s, testImage).Image(t.Context(), "v1", must(content.Runnable())(t)))(t)
	m := testMount(t, mounting{})
	out := m.sh("chroot %s /bin/sh -c %s", m.at(s, testImage, "tags/v1/rootfs"), quote(`
		cat /etc/motd; ls / && cd /etc && /bin/busybox pwd
		echo x 2>/dev/null >/tmp/new || echo read-only
		/bin/sh -c 'exit 7' || echo $?`))
	if want := "from inside the image\nbin\netc\ntmp\n/etc\nread-only\n7\n"; out != want {
		t.Errorf("the image prints %q, want %q", out, want)
	}
}

// Overlayfs over an image's tree shows it, takes changes, and runs it.
func TestInsideBelowOverlayfs(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Log("only root can mount overlayfs")
		return
	}
	s := startOlareg(t, registries.Options{})
	must(repo(t, s, testImage).Image(t.Context(), "v1", must(content.Runnable())(t)))(t)
	m := testMount(t, mounting{})
	// The mounts are those of a namespace that ends with the script.
	out := m.sh("unshare -m sh -ec %s sh %s", quote(`
		mount -t tmpfs none /dev/shm
		mkdir /dev/shm/upper /dev/shm/work /dev/shm/merged
		mount -t overlay none -o "lowerdir=$1,upperdir=/dev/shm/upper,workdir=/dev/shm/work" /dev/shm/merged
		cd /dev/shm/merged
		diff -r --no-dereference . "$1/"
		echo more >>etc/motd
		rm bin/ls
		mv etc/motd tmp/moved
		chown 5:6 tmp
		chroot . /bin/sh -c "cat /tmp/moved; test ! -e /bin/ls; test ! -e /etc/motd"
		stat -c %u:%g tmp`), m.at(s, testImage, "tags/v1/rootfs"))
	if want := "from inside the image\nmore\n5:6\n"; out != want {
		t.Errorf("the overlay shows %q, want %q", out, want)
	}
	if got := m.sh("cat %[1]s/etc/motd; ls %[1]s/bin; stat -c %%u:%%g %[1]s/tmp", m.at(s, testImage, "tags/v1/rootfs")); !strings.HasPrefix(got, "from inside the image\nbusybox\ncat\nls\nsh\n0:0") {
		t.Errorf("the image changed below the overlay: %q", got)
	}
}
