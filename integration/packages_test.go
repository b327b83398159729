package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// packages builds this machine's .deb and .rpm once, and gives their paths.
var packages = sync.OnceValues(func() (built [2]string, err error) {
	if out, err := exec.Command("make", "-s", "-C", root, "packages", "ARGS=native").CombinedOutput(); err != nil {
		return built, fmt.Errorf("make packages: %w\n%s", err, out)
	}
	for i, kind := range []string{"deb", "rpm"} {
		files, err := filepath.Glob(filepath.Join(root, "bin/packages/*."+kind))
		if err != nil || len(files) != 1 {
			return built, fmt.Errorf("bin/packages has %q, want one .%s: %w", files, kind, err)
		}
		built[i] = files[0]
	}
	return built, nil
})

// output runs a program that has to succeed, and gives what it printed.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// install installs this machine's .deb, until the test has ended. A package that somebody has installed
// here stays as it is: the test fails.
func install(t *testing.T) (files []string) {
	t.Helper()
	if out, err := exec.Command("dpkg", "-s", "ocifs").Output(); err == nil {
		t.Fatalf("ocifs is installed here already, and this test would remove it:\n%s", out)
	}
	built := must(packages())(t)
	t.Cleanup(func() {
		if out, err := exec.Command("dpkg", "--purge", "ocifs").CombinedOutput(); err != nil {
			t.Errorf("removing the package: %v\n%s", err, out)
		}
		if _, err := os.Lstat("/usr/sbin/mount.ocifs"); err == nil {
			t.Error("mount.ocifs is left when the package is removed")
		}
	})
	output(t, "dpkg", "-i", built[0])
	return strings.Split(strings.TrimSpace(output(t, "dpkg", "-L", "ocifs")), "\n")
}

// The .rpm installs what the .deb installs, with the same modes and owners, and needs the same. What
// differs are the places that each distribution has for completions of zsh, licences and its own notes. It
// goes again without a trace.
func TestTheRpmIsTheDeb(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("only root can install a package")
	}
	built := must(packages())(t)
	dir := t.TempDir()
	deb, installed, rpm := dir+"/deb", dir+"/installed", dir+"/rpm"
	must(0, os.Mkdir(installed, 0o755))(t)
	output(t, "dpkg-deb", "-x", built[0], deb)
	output(t, "rpm", "--root", installed, "--dbpath", "/.db", "-i", "--nodeps", "--noscripts", built[1]) // a root without a shell and fuse3
	output(t, "sh", "-c", `cd "$0" && rm -r usr/share/lintian usr/share/doc/ocifs/copyright usr/share/doc/ocifs/changelog.Debian.gz &&
		mv usr/share/zsh/vendor-completions usr/share/zsh/site-functions
		cp -a "$1" "$2" && cd "$2" && rm -r usr/share/licenses .db`, deb, installed, rpm)
	list := func(dir string) string {
		return output(t, "sh", "-c", `cd "$0" && find . -printf '%P %M %u %g %l\n' | sort`, dir)
	}
	if d, r := list(deb), list(rpm); d != r {
		t.Errorf("the .deb has\n%s\nand the .rpm\n%s", d, r)
	}
	output(t, "diff", "-r", "--no-dereference", deb, rpm)
	if said := output(t, "chroot", rpm, "/usr/bin/ocifs", "version"); !strings.HasPrefix(said, "ocifs ") {
		t.Errorf("the program says %q", said)
	}
	output(t, "rpm", "--root", installed, "--dbpath", "/.db", "-e", "--noscripts", "ocifs")
	if left := output(t, "find", installed, "-name", "*ocifs*"); left != "" {
		t.Errorf("removing the package leaves %s", left)
	}
	needs := output(t, "rpm", "-qp", "--qf", "[%{REQUIRENAME}\n][%{RECOMMENDNAME}\n]", built[1])
	if want := output(t, "dpkg-deb", "--show", "--showformat", "${Depends}\n${Recommends}\n", built[0]); needs != want {
		t.Errorf("the .rpm needs %q, want %q", needs, want)
	}
}

// The .deb installs on this machine with all that it promises, 'mount -t ocifs' mounts, and
// it goes again without a trace.
func TestThePackageInstallsAndMounts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("only root can install a package")
	}
	files := install(t)
	for _, want := range []string{
		"/usr/bin/ocifs", "/usr/sbin/mount.ocifs", "/usr/sbin/mount.fuse.ocifs",
		"/usr/lib/systemd/user/ocifs.service", "/usr/lib/systemd/system/ocifs@.service",
		"/usr/share/bash-completion/completions/ocifs", "/usr/share/zsh/vendor-completions/_ocifs", "/usr/share/fish/vendor_completions.d/ocifs.fish",
		"/usr/share/man/man1/ocifs.1.gz", "/usr/share/man/man1/ocifs-mount.1.gz", "/usr/share/man/man7/ocifs-tree.7.gz", "/usr/share/man/man8/mount.ocifs.8.gz", "/usr/share/man/man8/mount.fuse.ocifs.8.gz",
		"/usr/share/doc/ocifs/copyright", "/usr/share/doc/ocifs/third-party-licences",
	} {
		if !slices.Contains(files, want) {
			t.Errorf("the package doesn't have %s", want)
		}
		// dpkg may be told to leave documentation out, as in containers.
		if st, err := os.Stat(want); err != nil && !strings.HasPrefix(want, "/usr/share/") {
			t.Error(err)
		} else if err == nil && st.Size() == 0 {
			t.Errorf("%s is empty", want)
		}
	}
	if st, err := os.Stat("/var/cache/ocifs"); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("/var/cache/ocifs: %v, %v", st, err)
	}

	s := startOlareg(t, registries.Options{})
	image := must(repo(t, s, "team/app").Image(t.Context(), "v1", content.Sample("v1")))(t)
	c := newCommand(t)
	spec := "oci://" + s.Host + "/team/app"
	t.Cleanup(func() { exec.Command("umount", "-l", filepath.Join(c.home, "mnt")).Run() }) // where the script failed
	r := c.run(`set -e
[ ! -e /usr/share/man/man1/ocifs.1.gz ] || man -w ocifs mount.ocifs ocifs-tree
/usr/bin/ocifs version
ldd /usr/bin/ocifs 2>&1 || true
mkdir -p $HOME/mnt
mount -t ocifs ` + spec + ` $HOME/mnt -o ro,cache_dir=$HOME/cache
findmnt -n -o SOURCE -S ` + spec + `
cat $HOME/mnt/tags/v1/digest
umount ` + spec + `
`)
	for _, want := range []string{"ocifs ", "not a dynamic executable", spec, image.Digest.String()} {
		if !strings.Contains(r.Stdout, want) {
			t.Errorf("%q isn't in %s", want, r.Stdout)
		}
	}
	if r.Code != 0 {
		t.Errorf("exit code %d: %s", r.Code, r.Stderr)
	}
}

// Every man page is rendered without a warning of groff's, in the locale C too.
func TestManPagesAreWellFormed(t *testing.T) {
	t.Parallel()
	if out, err := exec.CommandContext(t.Context(), "make", "-s", "-C", root, "man").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	pages := must(filepath.Glob(filepath.Join(root, "bin/man/*")))(t)
	if len(pages) < 20 {
		t.Errorf("only %q", pages)
	}
	for _, page := range pages {
		for encoding, locale := range map[string]string{"UTF-8": "C.UTF-8", "ascii": "C"} {
			cmd := exec.CommandContext(t.Context(), "man", "--warnings=w", "-E", encoding, "-l", page)
			cmd.Env = append(os.Environ(), "LC_ALL="+locale, "MANWIDTH=80", "MANPAGER=cat")
			var warnings strings.Builder
			cmd.Stderr = &warnings
			text, err := cmd.Output()
			if err != nil || warnings.Len() > 0 || !strings.Contains(string(text), "NAME") {
				t.Errorf("%s in %s: %v: %s", page, encoding, err, warnings.String())
			}
		}
	}
}
