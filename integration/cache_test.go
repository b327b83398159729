package integration

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/mount"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// What was read once is there after a remount, with the registry gone, and byte
// for byte.
func TestCacheOutlivesMountAndRegistry(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	image := must(repo(t, s, testImage).Image(t.Context(), "v1", content.Sample("v1")))(t)
	cache := filepath.Join(t.TempDir(), "cache")
	first := testMount(t, mounting{cache: cache})
	first.isLayout(first.at(s, testImage, "tags/v1"), "v1", image)
	first.unmount()
	if err := s.Gone(); err != nil {
		t.Fatal(err)
	}
	again := testMount(t, mounting{cache: cache})
	again.isLayout(again.at(s, testImage, "tags/v1"), "v1", image)
}

// Two mounts share one cache: what both want at once comes once, what one has the
// other needs not ask for.
func TestCacheIsShared(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	big := must(repo(t, s, testImage).Artifact(t.Context(), "v1", content.Artifact{
		Type:  "application/vnd.example.noise",
		Files: []content.ArtifactFile{content.Titled("noise", "application/octet-stream", content.NoiseBytes(2, 8*mib))},
	}))(t)
	cache := filepath.Join(t.TempDir(), "cache")
	one, two := testMount(t, mounting{cache: cache}), testMount(t, mounting{cache: cache})
	file := func(m *mounted) string { return quote(m.at(s, testImage, "tags/v1/files/noise")) }
	s.Fault(registries.Fault{Path: "/blobs/", Stall: mib, Times: 1})
	time.AfterFunc(2*time.Second, s.Heal)
	want := "ok " + big.Layers[0].Digest.Encoded() + "\n"
	if got := one.sh("%s read %s & %s read %s; wait", probeBin, file(one), probeBin, file(two)); got != want+want {
		t.Errorf("the two read %q", got)
	}
	if got := s.Counts()["GET blob"]; got != 1 {
		t.Errorf("the blob was fetched %d times by two mounts: %v", got, s.Requests())
	}
	one.leavesNothing()
	two.leavesNothing()
}

// leavesNothing checks that no download is under way or left over, and that the
// daemon holds no file of the cache open.
func (m *mounted) leavesNothing() {
	m.t.Helper()
	if left := must(m.Unfinished(nil))(m.t); len(left) > 0 {
		m.t.Errorf("partial files or open files stay: %q", left)
	}
}

// A daemon that is killed leaves a mountpoint that the next mount takes over, and a
// partial download that it continues.
//
// Behaviour: blob.restart
func TestKilledDaemon(t *testing.T) {
	t.Parallel()
	cache, dir := filepath.Join(t.TempDir(), "cache"), t.TempDir()
	b := newBroken(t, 8*mib, mounting{cache: cache, dir: dir})
	b.killed = true
	b.s.Fault(registries.Fault{Path: b.asked, Stall: 5 * mib, Times: 1})
	person := b.shell()
	person("stat $M >/dev/null") // the kernel keeps the attributes, and they outlive the daemon
	person(fmt.Sprintf("cat %s >/dev/null 2>&1 &", quote(b.file)))
	for range 100 {
		if info, err := os.Stat(firstOr(must(mount.Partials(cache))(t), cache+"/none")); err == nil && info.Size() > 4*mib {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err := b.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Wait(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	person("wait")
	if got := b.probed("read", dir+"/.ocifs/version"); got != "ENOTCONN" {
		t.Errorf("the mountpoint of a killed daemon: %s", got)
	}
	b.s.Heal()
	b.s.Forget()
	again := testMount(t, mounting{cache: cache, dir: dir})
	again.probe(b.whole(), "read", again.at(b.s, testImage, "tags/v1/files/noise"))
	for _, r := range b.s.Requests() {
		if r.Method == "GET" && r.Kind == registries.Blob {
			from, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(r.Range, "bytes="), "-"))
			if err != nil || from < mib {
				t.Errorf("the download wasn't continued: %v", r)
			}
		}
	}
	again.leavesNothing()
	b.Mount = again.Mount // nothing of the first is left to clean up
	b.ended = true
}

func firstOr(list []string, or string) string {
	if len(list) > 0 {
		return list[0]
	}
	return or
}

// The cache stays within its bound, and a blob bigger than all of it is read all
// the same.
func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	var files []content.ArtifactFile
	for i := range 12 {
		files = append(files, content.Titled(fmt.Sprintf("f%02d", i), "application/octet-stream", content.NoiseBytes(uint64(100+i), mib)))
	}
	files = append(files, content.Titled("big", "application/octet-stream", content.NoiseBytes(99, 6*mib)))
	a := must(repo(t, s, testImage).Artifact(t.Context(), "v1", content.Artifact{Type: "application/vnd.example.noise", Files: files}))(t)
	m := testMount(t, mounting{flags: []string{"--cache-size", "4MiB"}})
	for i, f := range files {
		m.probe("ok "+a.Layers[i].Digest.Encoded(), "read", m.at(s, testImage, "tags/v1/files", f.Annotations["org.opencontainers.image.title"]))
	}
	m.leavesNothing()
	if used := diskUsage(t, m.Cache); used > 5*mib {
		t.Errorf("the cache of at most 4 MiB takes %d KiB", used>>10)
	}
}

func diskUsage(t *testing.T, dir string) (total int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			info, err := d.Info()
			if err != nil {
				return nil // evicted meanwhile
			}
			total += info.Size()
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return total
}

// A cache file that lost its end is noticed, and fetched again.
func TestDamagedCacheFile(t *testing.T) {
	t.Parallel()
	cache := filepath.Join(t.TempDir(), "cache")
	b := newBroken(t, mib, mounting{cache: cache})
	b.probe(b.whole(), "read", b.file)
	b.unmount()
	var damaged int
	filepath.WalkDir(cache, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && d.Name() == b.layer.Digest.Encoded() {
			damaged++
			os.Chmod(path, 0o600)
			return os.Truncate(path, mib-1)
		}
		return err
	})
	if damaged != 1 {
		t.Fatalf("the cache has the blob in %d files", damaged)
	}
	again := testMount(t, mounting{cache: cache})
	again.probe(b.whole(), "read", again.at(b.s, testImage, "tags/v1/files/noise"))
}

// A cache directory that vanishes under the daemon is no end.
func TestCacheDirectoryVanishes(t *testing.T) {
	t.Parallel()
	b := newBroken(t, mib, mounting{})
	b.probe(b.whole(), "read", b.file)
	if err := os.RemoveAll(b.Cache); err != nil {
		t.Fatal(err)
	}
	b.probe("ok", "stat", b.file)
	b.probe("ok "+b.image.Config.Digest.Encoded(), "read", b.at(b.s, testImage, "tags/v1/config.json"))
	b.probe(b.whole(), "read", b.at(b.s, testImage, "blobs/sha256", b.layer.Digest.Encoded()))
}

// Memory doesn't grow with what is read: four times its bound, cold and warm.
func TestMemoryOfBigBlob(t *testing.T) {
	t.Parallel()
	const size = 512 * mib
	s := startDistribution(t, registries.Options{})
	r := repo(t, s, testImage)
	blob := must(r.Stream(t.Context(), "application/octet-stream", size, func() io.Reader { return content.Noise(5, size) }))(t)
	// Where it comes slowly, as on a busy machine, it would come in parts.
	m := testMount(t, mounting{plain: true, flags: []string{"--connections", "1"}})
	file := m.at(s, testImage, "blobs/sha256", blob.Digest.Encoded())
	want := "ok " + blob.Digest.Encoded()
	costs(t, s, "the blob", counts{"HEAD blob": 1, "GET blob": 1}, func() { m.probe(want, "read", file) })
	m.probe(want, "read", file)
	m.isSmall()
	m.leavesNothing()
}

// Nor with how many manifests are read, however large.
func TestMemoryOfBigManifests(t *testing.T) {
	t.Parallel()
	s := startDebian(t, registries.Options{}) // in this process the race detector slows who parses them
	m := testMount(t, mounting{plain: true})
	m.sh(`for i in $(seq 150); do
		{ printf '{"schemaVersion":2,"mediaType":"%[1]s","manifests":[],"annotations":{"n":"%%d","noise":"' $i; head -c 1000000 /dev/zero | tr '\0' 0; printf '"}}'; } |
			curl -sf -T- -H 'Content-Type: %[1]s' http://%[2]s/v2/%[3]s/manifests/t$i || exit 1
	done`, ocispec.MediaTypeImageIndex, s.Host, testImage)
	if got := strings.Fields(m.sh("cat %s/*/digest | sort -u | wc -l; cat %[1]s/*/manifest.json | wc -c", m.at(s, testImage, "tags"))); got[0] != "150" || len(got[1]) != 9 {
		t.Errorf("read %q", got)
	}
	m.isSmall()
}
