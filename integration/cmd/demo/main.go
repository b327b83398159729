// Command demo shows what ocifs does, with nothing else at hand: it starts a
// registry on loopback, puts real images into it, mounts it, and runs a short
// tour of commands, each printed with what it answered. Then it stays until
// Ctrl-C, for the one who wants to look around; with --once it ends. It ends
// with an error if any command of the tour did.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/mount"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

func main() {
	binary := flag.String("ocifs", "", "the program to show")
	once := flag.Bool("once", false, "end after the tour")
	picture := flag.Bool("picture", false, "print the session that README.md shows as a picture, and end")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *binary, *once, *picture); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, binary string, once, picture bool) (err error) {
	binary, err = filepath.Abs(binary)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "ocifs-demo-")
	if err != nil {
		return err
	}
	// The mount is gone by then, or this leaves it alone: RemoveAll can't
	// remove a mountpoint.
	defer os.RemoveAll(dir)
	o := mount.Options{Binary: binary, Dir: filepath.Join(dir, "home", "oci"), Cache: filepath.Join(dir, "cache"), Home: filepath.Join(dir, "home")}
	for _, d := range []string{o.Home, o.Dir, o.Cache} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}

	if !picture {
		say("Starting a registry on loopback and pushing images to it.")
	}
	registry, err := registries.Olareg(registries.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, registry.Close()) }()
	if err := content.Demo(ctx, registry.Host); err != nil {
		return err
	}

	// The mount lives through a Ctrl-C of this process, to be unmounted in order.
	m, err := mount.Start(context.WithoutCancel(ctx), o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Unmount()) }()
	if picture {
		return session(ctx, o, registry.Host)
	}
	say(bold("$ ocifs mount " + o.Dir))
	if err := tour(ctx, o, registry.Host); err != nil {
		return err
	}
	if !once {
		say("The mount stays until Ctrl-C. Look around:\n  cd " + filepath.Join(o.Dir, treeName(registry.Host), content.DemoRepository))
		<-ctx.Done()
		say("Unmounting.")
	}
	return nil
}

// chrooted stands for the exit code 0 of a step that is left out where content.CanChroot is false.
const chrooted = -1

// steps is the tour: what is shown, the commands that show it, and the exit code
// that is right (diff's is 1 where there are differences). They run in the
// repository's directory.
var steps = []struct {
	title, command string
	code           int
}{
	{"A registry is a directory tree", "ls . tags", 0},
	{"A tag is a directory", "ls tags/v1", 0},
	{"Manifest and config are files", "jq -c '.layers[] | {mediaType, size}' tags/v1/manifest.json", 0},
	{"", "jq -r .architecture tags/v1/config.json", 0},
	{"Layers are archives, in order", "ls -1 tags/v1/layers", 0},
	{"", "tar tf tags/v1/layers/00-*", 0},
	{"Two tags are two directories", "diff tags/v1/digest tags/v2/digest", 1},
	{"", "diff -r tags/v1/layers tags/v2/layers", 1},
	{"", "for v in v1 v2; do tar xOf tags/$v/layers/02-* srv/index.html; done", 0},
	{"The files inside an image, which was never pulled", "cat tags/v1/rootfs/etc/os-release", 0},
	{"", "grep -rc fox tags/v1/rootfs/usr", 0},
	{"What changed between two tags", "diff -r tags/v1/rootfs tags/v2/rootfs | cut -c 1-60 | head -4", 0},
	{"Which layers brought a file", "ls -d tags/v2/unpacked/*/etc/version", 0},
	{"An image runs, read-only and without a pull", "chroot tags/busybox/rootfs /bin/sh -c 'cat /etc/motd && ls /'", chrooted},
	{"An index has its platforms", "ls tags/multi/platforms", 0},
	{"Artifacts have their files, and a packed directory is one", "ls tags/model/files && cat tags/model/files/dataset/dataset/one", 0},
	{"Signatures and SBOMs are found from what they are about", "jq -r '.manifests[].artifactType' tags/v1/referrers/index.json", 0},
	{"An image directory is an OCI layout: any tool copies it, without a pull", "cp -r tags/v1 \"$OUT\"/copy && ls \"$OUT\"/copy/blobs/sha256 | wc -l", 0},
	{"What is copied into upload/ is pushed: an image to another repository, which the registry takes from this one", "cp -r tags/v1 ../copy/upload/release && cat ../copy/tags/release/digest", 0},
	{"A manifest under another name is a re-tag", "cp tags/v2/manifest.json upload/manifests/stable && ls tags", 0},
	{"A blob becomes a symlink to its digest", "cp /etc/os-release upload/blobs/ && readlink upload/blobs/os-release", 0},
	{"What became of it is told", "jq -r '.[] | \"\\(.state) \\(.repository) \\(.target)\"' \"$MOUNT\"/.ocifs/uploads.json", 0},
	{"What went wrong is told", "cat tags/v3/digest", 1},
	{"", "jq -r .cause \"$MOUNT\"/.ocifs/errors.jsonl", 0},
}

func tour(ctx context.Context, o mount.Options, host string) error {
	root := filepath.Join(o.Dir, treeName(host), content.DemoRepository)
	out := filepath.Dir(o.Dir)
	say(bold("$ cd " + root))
	for _, s := range steps {
		if s.code == chrooted {
			if !content.CanChroot() {
				continue
			}
			s.code = 0
		}
		if s.title != "" {
			say(bold("# " + s.title))
		}
		fmt.Println(bold("$ " + s.command))
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		r, err := mount.Run(ctx, append(mount.Env(o.Home), "MOUNT="+o.Dir, "OUT="+out), "cd "+root+" && "+s.command)
		cancel()
		fmt.Print(r.Stdout, r.Stderr)
		if err != nil {
			return fmt.Errorf("%s: %w", s.command, err)
		}
		if r.Code != s.code || strings.TrimSpace(r.Stdout+r.Stderr) == "" {
			return fmt.Errorf("%s: exit code %d, and it printed %d bytes", s.command, r.Code, len(r.Stdout))
		}
	}
	return nil
}

// treeName is how a host is written in the tree.
func treeName(host string) string { return strings.ReplaceAll(host, ":", "_") }

func say(s string) { fmt.Println("\n" + s) }

// bold makes a line stand out from the output around it, on a terminal.
func bold(s string) string {
	if st, err := os.Stdout.Stat(); err != nil || st.Mode()&os.ModeCharDevice == 0 || os.Getenv("NO_COLOR") != "" {
		return s
	}
	return "\x1b[1m" + s + "\x1b[0m"
}
