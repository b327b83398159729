package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// df tells how full the cache is, wherever in the tree it is asked: the bound, what is in
// it, and what is left.
func TestDiskFreeTellsTheCache(t *testing.T) {
	t.Parallel()
	const bound = 64 * mib
	s := startDistribution(t, registries.Options{})
	image := must(repo(t, s, testImage).Artifact(t.Context(), "v1", content.Artifact{
		Type:  "application/vnd.example.noise",
		Files: []content.ArtifactFile{content.Titled("noise", "application/octet-stream", content.NoiseBytes(3, 8*mib))},
	}))(t)
	for _, flags := range [][]string{{"--cache-size", "64MiB"}, {"--cache-size", "64MiB", "--read-only"}} {
		t.Run(strings.Join(flags, " "), func(t *testing.T) {
			m := testMount(t, mounting{flags: flags})
			app := m.at(s, testImage)
			places := []string{m.Dir, m.Dir + "/.ocifs/version", app, app + "/tags/v1", app + "/tags/v1/blobs/sha256/" + image.Layers[0].Digest.Encoded()}
			m.sh("test -e %s", quote(places[4])) // the manifest comes, and no blob
			for _, path := range places {
				if got := m.df(path); got.size != bound || got.used > mib || got.free != bound-got.used {
					t.Errorf("%s with an empty cache: %+v", path, got)
				}
			}
			m.sh("cat %s >/dev/null", quote(places[4]))
			for _, path := range places {
				if got := m.df(path); got.size != bound || got.used < 8*mib || got.used > 9*mib || got.free != bound-got.used {
					t.Errorf("%s with 8 MiB in the cache: %+v", path, got)
				}
			}
		})
	}
}

// The cache is no larger, and no emptier, than its disk.
func TestDiskFreeOfACacheThatIsLargerThanItsDisk(t *testing.T) {
	t.Parallel()
	cache := filepath.Join(t.TempDir(), "cache")
	m := testMount(t, mounting{cache: cache, flags: []string{"--cache-size", "1000000GiB"}})
	disk, got := diskSpace(t, cache), m.df(m.Dir)
	if got.size != disk.size || got.used > mib || got.free <= 0 || got.free > disk.free+disk.size/10 {
		t.Errorf("%+v, on a disk of %+v", got, disk)
	}
}

// In upload/ df tells of the disk, or of what --upload-size leaves there.
func TestDiskFreeOfUpload(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	must(repo(t, s, testImage).Image(t.Context(), "v1", content.Small("x")))(t)
	cache := filepath.Join(t.TempDir(), "cache")
	whole := testMount(t, mounting{cache: cache, flags: []string{"--cache-size", "64MiB"}})
	disk, got := diskSpace(t, cache), whole.df(whole.at(s, testImage, "upload"))
	if got.size != disk.size || got.free <= 0 || got.free > disk.free+disk.size/10 || got.used < disk.used-disk.size/10 || got.used > disk.used+disk.size/10 {
		t.Errorf("%+v, on a disk of %+v", got, disk)
	}

	const bound = 16 * mib
	m := testMount(t, mounting{flags: []string{"--upload-size", "16MiB"}})
	upload := m.at(s, testImage, "upload")
	if got := m.df(upload); got.size != bound || got.used > mib || got.free > bound-got.used || got.free < bound-mib {
		t.Errorf("with nothing staged: %+v", got)
	}
	m.sh("head -c 5M /dev/zero > %s/part.tmp", quote(upload))
	for _, path := range []string{upload, upload + "/part.tmp", upload + "/blobs"} {
		if got := m.df(path); got.size != bound || got.used < 5*mib || got.used > 6*mib || got.free != bound-got.used {
			t.Errorf("%s with 5 MiB staged: %+v", path, got)
		}
	}
	if r := m.run("head -c 12M /dev/zero > " + quote(upload+"/more.tmp")); r.Code == 0 {
		t.Errorf("more was staged than df says")
	}
	m.sh("rm %s/*.tmp", quote(upload))
	if got := m.df(upload); got.used > mib || got.free < bound-mib {
		t.Errorf("with nothing staged any more: %+v", got)
	}
	if got := m.df(m.at(s, testImage)); got.size == bound {
		t.Errorf("beside upload/: %+v", got)
	}
}

// diskFree is what df says, in bytes.
type diskFree struct{ size, used, free int64 }

// df asks as df does, by another process: this one never enters the mount.
func (m *mounted) df(path string) diskFree {
	m.t.Helper()
	var n [6]int64
	if _, err := fmt.Sscanf(m.probed("statfs", path), "ok %d %d %d %d %d %d", &n[0], &n[1], &n[2], &n[3], &n[4], &n[5]); err != nil {
		m.t.Fatal(err)
	}
	if n[4] <= 0 || n[5] <= 0 {
		m.t.Errorf("%s has %d inodes, %d of them free", path, n[4], n[5])
	}
	return diskFree{size: n[0] * n[1], used: n[0] * (n[1] - n[2]), free: n[0] * n[3]}
}

// diskSpace is what the disk of a directory says.
func diskSpace(t *testing.T, dir string) diskFree {
	t.Helper()
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		t.Fatal(os.NewSyscallError("statfs", err))
	}
	block := int64(st.Bsize)
	return diskFree{size: block * int64(st.Blocks), used: block * int64(st.Blocks-st.Bfree), free: block * int64(st.Bavail)}
}
