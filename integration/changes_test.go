package integration

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/mount"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// changes are what can be tried at a path; each is given a file, a directory, and a
// name that isn't there.
var changes = []string{
	"touch $D/New", "mkdir $D/New", "rm $F", "rmdir $D", "mv $F $D/New", "ln $F $D/New", "ln -s x $D/New",
	"chmod 600 $F", "chmod 700 $D", "truncate -s 0 $F", "touch $F", "dd if=/dev/null of=$F", "cp /dev/null $F",
}

// Outside upload/ nothing can be changed, by nobody, and each says so.
func TestReadOnlyOutsideUpload(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	image := must(repo(t, s, testImage).Image(t.Context(), "v1", content.Sample("v1")))(t)
	m := testMount(t, mounting{flags: []string{"--allow-other"}})
	app := m.at(s, testImage)
	if err := os.Chmod(filepath.Dir(m.Dir), 0o755); err != nil { // for others to get there
		t.Fatal(err)
	}
	as := map[string]string{"who mounted": "%s"}
	if os.Geteuid() == 0 {
		as["another user"] = "setpriv --reuid 65534 --regid 65534 --clear-groups sh -c %s"
	}
	layer := image.Layers[0].Digest.Encoded()
	for who, run := range as {
		for _, at := range []struct{ dir, file string }{
			{app + "/tags/v1", app + "/tags/v1/manifest.json"},
			{app + "/tags", app + "/tags/v1/digest"},
			{app + "/blobs/sha256", app + "/blobs/sha256/" + layer},
			{app + "/manifests/sha256", app + "/tags/v1/blobs/sha256/" + layer},
			{m.Dir, m.Dir + "/.ocifs/version"},
			{app, app + "/tags/v1/index.json"},
		} {
			for _, change := range changes {
				if at.dir == m.Dir && change == "rmdir $D" {
					continue // a mountpoint is busy
				}
				if who == "another user" && strings.HasPrefix(change, "ln ") && !strings.HasPrefix(change, "ln -s") {
					continue // the kernel's protected_hardlinks answers before the file system
				}
				script := strings.NewReplacer("$D", at.dir, "$F", at.file).Replace(change)
				r := m.run(fmt.Sprintf(run, quote(script)))
				if who == "who mounted" {
					r = m.run(script)
				}
				if r.Code == 0 || !strings.Contains(r.Stderr, "Read-only file system") {
					t.Errorf("%s: %s: exit code %d, %s", who, change, r.Code, r.Stderr)
				}
			}
		}
	}
	if os.Geteuid() == 0 {
		r := m.run(fmt.Sprintf(as["another user"], quote("touch "+app+"/upload/x")))
		if r.Code == 0 || !strings.Contains(r.Stderr, "Permission denied") {
			t.Errorf("another user may write into upload/: %d, %s", r.Code, r.Stderr)
		}
	}
	m.holds(app+"/tags/v1/manifest.json", image.Bytes)
}

// --read-only is a read-only mount, without upload/.
func TestReadOnlyMount(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	must(repo(t, s, testImage).Image(t.Context(), "v1", content.Small("hello")))(t)
	m := testMount(t, mounting{flags: []string{"--read-only"}})
	m.probe("ENOENT", "stat", m.at(s, testImage, "upload"))
	m.lists(m.at(s, testImage), "archives", "blobs", "manifests", "referrers", "rootfs", "tags", "unpacked")
	if r := m.run("touch " + m.at(s, testImage, "x")); !strings.Contains(r.Stderr, "Read-only file system") {
		t.Errorf("touch says %s", r.Stderr)
	}
	// Who may read the mount may read all of it, whatever the modes of an image's files are.
	if _, options, _ := mount.Find(m.Dir); !strings.HasPrefix(options, "ro,") || strings.Contains(options, "default_permissions") {
		t.Errorf("it is mounted %s", options)
	}
	if got := m.sh("cat $M/.ocifs/uploads.json"); got != "[]\n" {
		t.Errorf("uploads.json is %q", got)
	}
}

// A security label can be set nowhere, and the answer is the one that programs pass over
// which relabel what they are given: this file system has none. Outside upload/ any other
// attribute can't be changed, as nothing can; a read-only mount says that of all.
func TestSecurityLabelsAreNotSupported(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	must(repo(t, s, testImage).Image(t.Context(), "v1", content.Sample("v1")))(t)
	for _, flags := range [][]string{nil, {"--xattr"}, {"--read-only"}, {"--allow-delete", "--xattr"}} {
		t.Run(strings.Join(flags, " "), func(t *testing.T) {
			m := testMount(t, mounting{flags: flags})
			app := m.at(s, testImage)
			label, other := "ENOTSUP", "EROFS"
			if slices.Contains(flags, "--read-only") { // the kernel answers
				label = "EROFS"
			}
			for _, path := range []string{
				m.Dir, m.Dir + "/.ocifs/version", app, app + "/tags", app + "/tags/v1", app + "/tags/v1/manifest.json", app + "/tags/v1/config.json",
			} {
				for _, op := range []string{"setxattr", "removexattr"} {
					m.probe(label, op, "security.selinux", path)
					m.probe(label, op, "security.apparmor", path)
					if os.Geteuid() == 0 {
						m.probe(other, op, "trusted.overlay.opaque", path)
					}
					if !strings.HasSuffix(path, "config.json") { // the kernel allows no user.* at symlinks
						m.probe(other, op, path)
					}
				}
			}
			if slices.Contains(flags, "--read-only") {
				return
			}
			m.sh("cd %s/upload && mkdir dir && ln -s x link && echo x > file.tmp", quote(app))
			for _, name := range []string{"", "dir", "link", "file.tmp"} {
				for _, op := range []string{"setxattr", "removexattr"} {
					m.probe("ENOTSUP", op, "security.selinux", app+"/upload/"+name)
				}
			}
		})
	}
}

// With --allow-delete what is removed is deleted at the registry, where that offers
// it; without it, nothing is.
func TestDelete(t *testing.T) {
	t.Parallel()
	onEvery(t, registries.Options{}, func(t *testing.T, s *registries.Server) {
		app := repo(t, s, testImage)
		one := must(app.Image(t.Context(), "one", content.Sample("one")))(t)
		two := must(app.Image(t.Context(), "two", content.Sample("two")))(t)
		if err := app.Tag(t.Context(), two, "too"); err != nil {
			t.Fatal(err)
		}
		dir := func(m *mounted, path string) string { return m.at(s, testImage, path) }
		plain := testMount(t, mounting{})
		if r := plain.run("rmdir " + dir(plain, "tags/one")); !strings.Contains(r.Stderr, "Read-only file system") {
			t.Errorf("without --allow-delete: %d, %s", r.Code, r.Stderr)
		}
		m := testMount(t, mounting{flags: []string{"--allow-delete"}})
		m.sh("ls %s", dir(m, "tags"))
		r := m.run("rmdir " + dir(m, "tags/two"))
		if strings.HasSuffix(t.Name(), "/docker-registry") {
			if !strings.Contains(r.Stderr, "Operation not supported") {
				t.Errorf("a registry that deletes no tags: %d, %s", r.Code, r.Stderr)
			}
			m.sh("test -e %s && test -e %s", dir(m, "tags/two"), dir(m, "tags/too"))
		} else {
			if r.Code != 0 {
				t.Errorf("rmdir of a tag: %s", r.Stderr)
			}
			m.lists(dir(m, "tags"), "one", "too")
			m.probe("ENOENT", "stat", dir(m, "tags/two"))
			m.holds(dir(m, "tags/too/manifest.json"), two.Bytes)
			noTag(t, s, testImage, "two")
		}
		m.sh("rmdir %s", dir(m, "manifests/sha256/"+one.Digest.Encoded()))
		noTag(t, s, testImage, one.Digest.String())
		m.probe("ENOENT", "stat", dir(m, "manifests/sha256/"+one.Digest.Encoded()))
		layer := one.Layers[2] // that no other image has
		m.sh("stat %s && rm %s", dir(m, "blobs/sha256/"+layer.Digest.Encoded()), dir(m, "blobs/sha256/"+layer.Digest.Encoded()))
		hasBlob(t, s, testImage, layer.Digest, http.StatusNotFound)
		m.probe("ENOENT", "stat", dir(m, "blobs/sha256/"+layer.Digest.Encoded()))
		for _, other := range []string{"rm " + dir(m, "tags/too/digest"), "rmdir " + dir(m, "tags"), "rmdir " + m.at(s, testImage)} {
			if r := m.run(other); !strings.Contains(r.Stderr, "Read-only file system") {
				t.Errorf("%s: %d, %s", other, r.Code, r.Stderr)
			}
		}
		// What was deleted is pushed again by staging it again.
		file := filepath.Join(m.Home, "layer")
		if err := os.WriteFile(file, layer.Bytes, 0o600); err != nil {
			t.Fatal(err)
		}
		m.sh("cp %s %s", file, dir(m, "upload/blobs/layer"))
		hasBlob(t, s, testImage, layer.Digest, http.StatusOK)
	})
}

// An artifact that refers to an image is listed with it at once, with the registry's
// own list or by the tag that stands for it.
func TestPushedReferrers(t *testing.T) {
	t.Parallel()
	onEvery(t, registries.Options{}, func(t *testing.T, s *registries.Server) {
		app := repo(t, s, testImage)
		image := must(app.Image(t.Context(), "v1", content.Small("subject")))(t)
		must(app.Referrer(t.Context(), image, "application/vnd.example.first", "first"))(t)
		other := repo(t, s, "team/elsewhere")
		moved := must(other.Referrer(t.Context(), image, "application/vnd.example.second", "second"))(t)
		m := testMount(t, mounting{})
		index := m.at(s, testImage, "tags/v1/referrers/index.json")
		m.sh("cat %s", index) // what is known now
		m.sh("cp -r %s %s", m.at(s, "team/elsewhere/manifests/sha256", moved.Digest.Encoded()), m.at(s, testImage, "upload/second"))
		if got := m.sh("jq -r '.manifests[].digest' %s", index); !strings.Contains(got, moved.Digest.String()) {
			t.Errorf("the referrers are\n%s", got)
		}
		m.sh("test -e %s/application_vnd.example.second/sha256-%s/manifest.json", filepath.Dir(index), moved.Digest.Encoded())
		if got := m.sh("regctl --host reg=%s,tls=disabled artifact list %s/%s:v1 --format '{{range .Descriptors}}{{.Digest}} {{end}}'", s.Host, s.Host, testImage); !strings.Contains(got, moved.Digest.String()) {
			t.Errorf("regctl lists %s", got)
		}
	})
}

// A push that is interrupted ends at once, cancels its session, and can be done again.
func TestInterruptedPush(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	m := testMount(t, mounting{})
	file, d := noiseFile(t, 60, 30_000_000) // more than sockets hold: the registry doesn't get all of it
	s.Fault(registries.Fault{Method: "PUT", Path: "/uploads/", StallBody: 1000})
	r := m.run(fmt.Sprintf("timeout -s INT 2 cp %s %s/upload/blobs/x", file, m.at(s, testImage)))
	if r.Code == 0 || r.Took > 4*time.Second {
		t.Errorf("Ctrl-C after 2 s: exit code %d after %s, %s", r.Code, r.Took, r.Stderr)
	}
	s.Heal()
	for deadline := time.Now().Add(10 * time.Second); s.Counts()["DELETE upload"] == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the session isn't cancelled: %v", s.Requests())
		}
	}
	hasBlob(t, s, testImage, d, http.StatusNotFound)
	m.sh("cp %s %s/upload/blobs/x", file, m.at(s, testImage))
	hasBlob(t, s, testImage, d, http.StatusOK)

	// A writer that is killed leaves half a file, which nobody pushes.
	m.run(fmt.Sprintf("(head -c 1000 %s; sleep 30) > %s/upload/blobs/half & sleep 1; pkill -KILL -P $! ; kill -9 $!; wait", file, m.at(s, testImage)))
	if got := s.Counts()["PUT upload"]; got > 3 {
		t.Errorf("half a file was pushed: %v", s.Requests())
	}
}

// SIGTERM in the middle of a push lets it finish.
func TestTerminatedPush(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	m := testMount(t, mounting{})
	file, d := noiseFile(t, 61, 1_000_000)
	s.Fault(registries.Fault{Method: "PUT", Path: "/uploads/", StallBody: 1000})
	pushing := make(chan mount.Result, 1)
	go func() {
		r, _ := mount.Run(limit(t, time.Minute), m.env(), fmt.Sprintf("cp %s %s/upload/blobs/x", file, m.at(s, testImage)))
		pushing <- r
	}()
	for s.Counts()["PUT upload"] == 0 {
		time.Sleep(20 * time.Millisecond)
	}
	m.run(fmt.Sprintf("kill -TERM %d", m.PID()))
	m.killed = true // by now there is nothing to unmount
	time.Sleep(500 * time.Millisecond)
	s.Heal()
	if r := <-pushing; r.Code != 0 {
		t.Errorf("cp: %s", r.Stderr)
	}
	hasBlob(t, s, testImage, d, http.StatusOK)
}

// A blob of four times the bound of the memory is pushed without the memory growing, and arrives whole.
func TestPushLargeBlob(t *testing.T) {
	t.Parallel()
	const size = 512 * mib
	s := startDebian(t, registries.Options{}) // a program of its own: in this process the race detector slows the registry
	m := testMount(t, mounting{plain: true})
	up := m.at(s, "team/large", "upload")
	blob := fmt.Sprintf("head -c %d /dev/zero | tr '\\0' x", size)
	sum := m.sh("%s | sha256sum", blob)
	m.sh("%s | dd bs=1M iflag=fullblock status=none of=%s/blobs/large", blob, up) // as cp writes
	d := digest.Digest("sha256:" + strings.Fields(sum)[0])
	if got := m.sh("readlink %s/blobs/large", up); got != "sha256/"+d.Encoded()+"\n" {
		t.Errorf("it is pushed as %q, want %s", got, d)
	}
	if got := m.sh("curl -sf http://%s/v2/team/large/blobs/%s | sha256sum", s.Host, d); got != sum {
		t.Errorf("the registry has %s, want %s", got, sum)
	}
	if peak := must(mount.PeakMemory(m.PID()))(t); peak > 128*mib {
		t.Errorf("the daemon had %d MiB", peak>>20)
	}
}
