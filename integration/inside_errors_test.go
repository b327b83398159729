package integration

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/mount"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// zipped packs bytes by gzip. A level of compression takes seconds here, with the race detector.
func zipped(t *testing.T, level int, from io.Reader) []byte {
	t.Helper()
	var b bytes.Buffer
	w := must(gzip.NewWriterLevel(&b, level))(t)
	must(io.Copy(w, from))(t)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// repeated reads the same bytes over and over.
type repeated struct {
	b  []byte
	at int
}

func (r *repeated) Read(p []byte) (n int, _ error) {
	for n < len(p) {
		c := copy(p[n:], r.b[r.at:])
		n, r.at = n+c, (r.at+c)%len(r.b)
	}
	return n, nil
}

// big is a gzip layer of one file that can't be compressed.
func big(t *testing.T, seed uint64) (l content.Layer, sum string) {
	noise := content.NoiseBytes(seed, 8*mib)
	archive := tarOf(t, file("big", string(noise)), file("small", "small"))
	packed := zipped(t, gzip.NoCompression, bytes.NewReader(archive))
	return content.Layer{MediaType: ocispec.MediaTypeImageLayerGzip, Archive: archive, Packed: packed}, digest.FromBytes(noise).Encoded()
}

// What is wrong with a layer has its errno and a sentence, which names the layer and the image.
// Nothing of the layer shows, nothing of it stays in the cache, and the daemon stays small.
func TestInsideLayersThatAreWrong(t *testing.T) {
	t.Parallel()
	s := startOlareg(t, registries.Options{})
	good := tarOf(t, file("f", strings.Repeat("good", 5000)))
	header := tarOf(t, file("f", ""))[:512]
	long := bytes.Replace(tarOf(t, file("f/"+strings.Repeat("n", 300), "").as(tar.FormatGNU))[:1024], []byte("f/nn"), []byte("f/nm"), 1)
	endless := func(b []byte) []byte { return zipped(t, gzip.BestSpeed, io.LimitReader(&repeated{b: b}, 24*mib)) }
	cases := []struct {
		name, errno, cause string
		layer              content.Layer
	}{
		{"wrong-diff-id", "EBADMSG", "isn't what the image's config promises", content.Layer{Archive: good, DiffID: digest.FromString("another")}},
		{"cut-gzip", "EBADMSG", "", content.Layer{Archive: good, Packed: zipped(t, gzip.NoCompression, bytes.NewReader(good))[:60]}},
		{"damaged-gzip", "EBADMSG", "", content.Layer{Archive: good, Packed: flipped(zipped(t, gzip.NoCompression, bytes.NewReader(good)), -6)}},
		{"cut-tar", "EBADMSG", "", content.Layer{MediaType: ocispec.MediaTypeImageLayer, Archive: good[:1500]}},
		{"damaged-header", "EBADMSG", "", content.Layer{Archive: append(append(good[:len(good)-1024:len(good)-1024], flipped(header, 10)...), make([]byte, 1024)...)}},
		{"bomb-gzip", "EFBIG", "", content.Layer{Packed: zipped(t, gzip.BestSpeed, io.LimitReader(&repeated{b: make([]byte, 4096)}, 24*mib))}},
		{"bomb-zstd", "EFBIG", "", content.Layer{Packed: zstdOf(t, make([]byte, 24*mib))}},
		{"endless-headers", "EFBIG", "", content.Layer{Packed: endless(header)}},
		{"endless-long-names", "EFBIG", "", content.Layer{Packed: endless(long)}},
		{"text", "EOPNOTSUPP", "", content.Layer{Packed: []byte(strings.Repeat("this is no archive\n", 100))}},
		{"xz", "EOPNOTSUPP", "", content.Layer{Packed: []byte("\xfd7zXZ\x00\x00\x04" + strings.Repeat("x", 1000))}},
	}
	for i, c := range cases {
		l := c.layer
		if l.MediaType == "" {
			l.MediaType = ocispec.MediaTypeImageLayerGzip
		}
		if l.Archive == nil {
			l.Archive = []byte(c.name)
		}
		fine := content.Layer{MediaType: ocispec.MediaTypeImageLayer, Archive: tarOf(t, file("fine", "fine"), dir(fmt.Sprint(i)))}
		must(repo(t, s, "team/"+c.name).Image(t.Context(), "v1", content.Image{Layers: []content.Layer{l, fine}}))(t)
	}
	m := testMount(t, mounting{plain: true, flags: []string{"--unpacked-size", "16MiB"}})
	for _, c := range cases {
		v1 := m.at(s, "team/"+c.name, "tags/v1")
		m.holds(v1+"/rootfs/fine", []byte("fine"))                    // of the layer above
		errno := strings.Replace(c.errno, "EOPNOTSUPP", "ENOTSUP", 1) // as probe calls it
		m.probe(errno, "read", v1+"/rootfs/f")
		m.probe(errno, "readdir", v1+"/rootfs/")
		f := m.lastFailure(c.errno)
		if !strings.HasPrefix(f.Cause, "layer 1 of 2 of "+s.Host+"/team/"+c.name) || !strings.Contains(f.Cause, c.cause) || f.Hint == "" {
			t.Errorf("%s: errors.jsonl says %+v", c.name, f)
		}
		if c.name != "wrong-diff-id" { // nobody promises anything of a blob alone
			m.probe(errno, "readdir", strings.TrimSpace(m.sh("realpath -s %s/unpacked/00-*", v1))+"/")
		}
	}
	m.leavesNothing()
	if used := diskUsage(t, m.Cache); used > 8*mib {
		t.Errorf("the cache has %d MiB", used/mib)
	}
	if peak := must(mount.PeakMemory(m.PID()))(t); peak > 128*mib {
		t.Errorf("the daemon had %d MiB of memory", peak/mib)
	}
}

// zstdOf packs bytes by zstd, as one frame.
func zstdOf(t *testing.T, b []byte) []byte {
	w := must(zstd.NewWriter(nil))(t)
	return w.EncodeAll(b, nil)
}

// flipped is b with one byte changed: at an offset, from the end if it is negative.
func flipped(b []byte, at int) []byte {
	b = bytes.Clone(b)
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 0xff
	return b
}

// waiting is an image of one large layer that the registry doesn't send to its end, and a mount.
type waiting struct {
	*mounted
	s     *registries.Server
	image content.Manifest
	sum   string // what sha256sum says of rootfs/big
}

func newWaiting(t *testing.T, seed uint64, stall int64, o mounting) *waiting {
	t.Helper()
	s := startOlareg(t, registries.Options{})
	layer, sum := big(t, seed)
	image := must(repo(t, s, testImage).Image(t.Context(), "v1", content.Image{Layers: []content.Layer{layer}}))(t)
	must(repo(t, s, "team/other").Image(t.Context(), "v1", content.Sample("other")))(t)
	m := testMount(t, o)
	t.Cleanup(s.Heal) // before the mount's own clean-up: nothing waits any more
	s.Fault(registries.Fault{Method: "GET", Path: "/blobs/" + image.Layers[0].Digest.String(), Stall: stall})
	return &waiting{m, s, image, sum}
}

func (w *waiting) big() string { return w.at(w.s, testImage, "tags/v1/rootfs/big") }

// transfer is an element of .ocifs/transfers.json.
type transfer struct {
	Kind, Digest string
	Done         int64 `json:"done_bytes"`
	Size         int64 `json:"total_bytes"`
}

// transfers waits until there is a transfer of each kind.
func (m *mounted) transfers(kinds ...string) map[string]transfer {
	m.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		var all []transfer
		out := m.sh("cat $M/.ocifs/transfers.json")
		if err := json.Unmarshal([]byte(out), &all); err != nil {
			m.t.Fatalf("transfers.json: %v in %s", err, out)
		}
		found := map[string]transfer{}
		for _, x := range all {
			found[x.Kind] = x
		}
		missing := false
		for _, k := range kinds {
			missing = missing || found[k].Done == 0
		}
		if !missing {
			return found
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("transfers.json has no %q: %s", kinds, out)
		}
	}
}

// A program that waits for a layer is told of, ends at a signal, and keeps no other waiting. The
// next one gets the right bytes.
func TestInsideWaiting(t *testing.T) {
	t.Parallel()
	w := newWaiting(t, 71, 5*mib, mounting{})
	cat := w.start("exec cat " + w.big())
	found := w.transfers("download", "unpack")
	layer := w.image.Layers[0]
	if d := found["download"]; d.Digest != string(layer.Digest) || d.Size != layer.Size || d.Done > 5*mib {
		t.Errorf("transfers.json tells the download as %+v", d)
	}
	if u := found["unpack"]; u.Digest != string(layer.Digest) || u.Done > 6*mib {
		t.Errorf("transfers.json tells the unpacking as %+v", u)
	}
	w.answersAtOnce(
		"ls "+w.at(w.s, testImage, "tags/v1")+" "+w.at(w.s, testImage, "rootfs"),
		"cat "+w.at(w.s, "team/other/tags/v1/rootfs/etc/version"),
		"cat $M/.ocifs/stats.json $M/.ocifs/transfers.json",
	)
	second := w.start("exec ls " + filepath.Dir(w.big()) + "/")
	time.Sleep(500 * time.Millisecond) // it has begun by then
	cat.waits()
	second.waits()
	cat.isEnded(syscall.SIGINT)
	second.waits()
	second.isEnded(syscall.SIGTERM)
	w.s.Heal()
	if got := w.sh("sha256sum <%s", w.big()); !strings.HasPrefix(got, w.sum) {
		t.Errorf("the file has digest %s, want %s", got, w.sum)
	}
	w.leavesNothing()
}

// A daemon that is killed while it unpacks leaves nothing that the next one shows, and nothing that
// stays. Two daemons on one cache unpack a layer once.
func TestInsideKilledAndShared(t *testing.T) {
	t.Parallel()
	cache, dir := filepath.Join(t.TempDir(), "cache"), t.TempDir()
	w := newWaiting(t, 72, 5*mib, mounting{cache: cache, dir: dir})
	w.killed = true
	cat := w.start("exec cat " + w.big() + " >/dev/null")
	w.transfers("unpack")
	if err := w.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	must(w.Wait(10 * time.Second))(t)
	if r := <-cat.came; r.Code == 0 {
		t.Error("cat succeeded when the daemon was killed")
	}
	w.s.Heal()
	w.s.Forget()
	one := testMount(t, mounting{cache: cache, dir: dir})
	two := testMount(t, mounting{cache: cache})
	path := func(m *mounted) string { return m.at(w.s, testImage, "tags/v1/rootfs/big") }
	out := one.sh("sha256sum <%s & sha256sum <%s; wait", path(one), path(two))
	if strings.Count(out, w.sum) != 2 {
		t.Errorf("two daemons show %q, want %s", out, w.sum)
	}
	if n := w.s.Counts()["GET blob"]; n > 2 { // the rest of the layer, and the config
		t.Errorf("the layer came more than once: %v", w.s.Requests())
	}
	one.leavesNothing()
	two.leavesNothing()
	if left := must(filepath.Glob(filepath.Join(cache, "*/*.tmp")))(t); len(left) > 0 {
		t.Errorf("files stay: %q", left)
	}
	if used := diskUsage(t, cache); used > 18*mib {
		t.Errorf("the cache has %d KiB for a layer of 8 MiB, packed and unpacked", used>>10)
	}
	w.Mount = one.Mount // nothing of the first is left to clean up
	w.ended = true
}

// A disk that is full while a layer is unpacked is ENOSPC. Nothing is left behind, and what fits is
// read.
func TestInsideDiskIsFull(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Log("only root can mount a small disk")
		return
	}
	small := t.TempDir()
	system := func(script string) {
		t.Helper()
		if r, err := mount.Run(t.Context(), mount.Env(small), script); err != nil || r.Code != 0 {
			t.Fatalf("%s: %v, %s", script, err, r.Stderr)
		}
	}
	system("mount -t tmpfs -o size=12M none " + small)
	t.Cleanup(func() {
		_, _ = mount.Run(context.WithoutCancel(t.Context()), mount.Env(small), "umount -l "+small)
	})
	s := startOlareg(t, registries.Options{})
	zeros := tarOf(t, file("zeros", string(make([]byte, 20*mib))))
	layer := content.Layer{MediaType: ocispec.MediaTypeImageLayerGzip, Archive: zeros, Packed: zipped(t, gzip.BestSpeed, bytes.NewReader(zeros))}
	must(repo(t, s, testImage).Image(t.Context(), "v1", content.Image{Layers: []content.Layer{layer}}))(t)
	must(repo(t, s, "team/other").Image(t.Context(), "v1", content.Sample("other")))(t)
	m := testMount(t, mounting{cache: filepath.Join(small, "cache")})
	m.probe("ENOSPC", "read", m.at(s, testImage, "tags/v1/rootfs/zeros"))
	if f := m.lastFailure("ENOSPC"); !strings.Contains(f.Cause, "layer 1 of 1 of "+s.Host+"/"+testImage) || f.Hint == "" {
		t.Errorf("errors.jsonl says %+v", f)
	}
	m.leavesNothing()
	if used := diskUsage(t, small); used > mib {
		t.Errorf("%d KiB stay on the disk", used>>10)
	}
	m.holds(m.at(s, "team/other/tags/v1/rootfs/etc/version"), []byte("other\n"))
}

// With --max-download the layers that a job needs count as what it reads.
func TestInsideMaxDownload(t *testing.T) {
	t.Parallel()
	s := startOlareg(t, registries.Options{})
	var archives [][]byte
	for i := range 4 {
		archives = append(archives, tarOf(t, file(fmt.Sprint("f", i), string(content.NoiseBytes(uint64(80+i), 400_000)))))
	}
	must(repo(t, s, testImage).Image(t.Context(), "v1", content.Image{Layers: layersOf(archives...)}))(t)
	m := testMount(t, mounting{flags: []string{"--max-download", "1MB"}})
	rootfs := m.at(s, testImage, "tags/v1/rootfs/")
	s.Forget()
	r := m.run("exec ls " + rootfs)
	if !strings.Contains(r.Stderr, "Disk quota exceeded") {
		t.Errorf("ls: exit code %d, %q, %q", r.Code, r.Stdout, r.Stderr)
	}
	var sent int64
	for _, q := range s.Requests() {
		if q.Kind == registries.Blob {
			sent += q.Bytes
		}
	}
	if sent > 1_000_000 {
		t.Errorf("a job downloaded %d bytes", sent)
	}
	if f := m.lastFailure("EDQUOT"); !strings.Contains(f.Cause, "ls (process ") || !strings.Contains(f.Cause, "layer ") {
		t.Errorf("errors.jsonl says %+v", f)
	}
	m.sh("test $(ls %s | wc -l) = 4", rootfs) // another job reads on
}
