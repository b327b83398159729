package rootfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The judge is the kernel itself: openat2 with RESOLVE_IN_ROOT resolves in a tree with the
// archive's targets as a chroot does, and a plain open resolves in a tree with the targets that
// are shown. Both lead to the same place, or fail alike.
func TestConfinedTargetsLeadTheKernelWhereAChrootDoes(t *testing.T) {
	count := map[error]int{}
	for seed := range byte(30) {
		f := feed(noise(seed, 600))
		layer := []item{"a/b/c/", "b/d/", "c/c/", "d=x"}
		for i := range 42 {
			name := []string{"", "a/", "a/b/", "b/", "c/", "c/c/"}[i%6]
			layer = append(layer, item(fmt.Sprintf("%sl%d->%s", name, i/6, f.target())))
		}
		m := newImage(t, layer)
		where := t.TempDir()
		// Names of the tree stand above it as well, for those that come out.
		for _, name := range []string{"a", "b", "c", "d"} {
			if err := os.Mkdir(filepath.Join(where, name), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		verbatim, shown := filepath.Join(where, "verbatim"), filepath.Join(where, "shown")
		links := writeTree(t, NewTree(m, TreeOptions{Verbatim: true}).Root(), verbatim)
		writeTree(t, NewTree(m, TreeOptions{}).Root(), shown)
		for _, path := range links {
			want, wantErr := resolveAt(t, verbatim, path, unix.RESOLVE_IN_ROOT)
			got, gotErr := resolveAt(t, shown, path, 0)
			count[wantErr]++
			if got != want || !errors.Is(gotErr, wantErr) {
				v, _ := os.Readlink(filepath.Join(verbatim, path))
				s, _ := os.Readlink(filepath.Join(shown, path))
				t.Errorf("tree %d: %s, which is %q, shown as %q: leads to %s, %v; want %s, %v", seed, path, v, s, got, gotErr, want, wantErr)
			}
		}
	}
	for _, want := range []error{nil, unix.ENOENT, unix.ENOTDIR, unix.ELOOP} {
		if count[want] < 20 {
			t.Errorf("only %d symlinks lead to %v", count[want], want)
		}
	}
}

// resolveAt gives where a path below root leads, as a path below root.
func resolveAt(t *testing.T, root, path string, resolve uint64) (string, error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dir)
	var fd int
	for {
		// EAGAIN: something was renamed or mounted anywhere, and a ".." can't be vouched for.
		fd, err = unix.Openat2(dir, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: resolve})
		if !errors.Is(err, unix.EAGAIN) {
			break
		}
	}
	if errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.EPERM) {
		t.Fatalf("openat2, which Linux has since 5.6: %v", err)
	}
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	to, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		t.Fatal(err)
	}
	to, ok := strings.CutPrefix(to, root)
	if !ok {
		t.Errorf("%s leads out to %s", path, to)
	}
	return to, nil
}

// writeTree makes a directory of a Dir, and gives the paths of all symlinks in it.
func writeTree(t *testing.T, d *Dir, path string) (links []string) {
	t.Helper()
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	found, err := d.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		to := filepath.Join(path, f.Name)
		switch {
		case f.Dir != nil:
			links = append(links, writeTree(t, f.Dir, to)...)
		case isSymlink(f.Attr.Mode):
			target, err := d.Target(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(target, to); err != nil {
				t.Fatal(err)
			}
			links = append(links, d.join(f.Name))
		default:
			if err := os.WriteFile(to, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return links
}
