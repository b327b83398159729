package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/mount"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

const mib = 1 << 20

// broken is a registry with one artifact of one big blob, and a mount of it that
// has seen the manifest.
type broken struct {
	*mounted
	s     *registries.Server
	image content.Manifest
	layer content.Blob
	file  string // the blob's path
	asked string // the blob's path at the registry
}

func newBroken(t *testing.T, size int64, o mounting) *broken {
	t.Helper()
	s := startDistribution(t, registries.Options{})
	image := must(repo(t, s, testImage).Artifact(t.Context(), "v1", content.Artifact{
		Type:  "application/vnd.example.noise",
		Files: []content.ArtifactFile{content.Titled("noise", "application/octet-stream", content.NoiseBytes(1, size))},
	}))(t)
	m := testMount(t, o)
	layer := image.Layers[0]
	m.holds(m.at(s, testImage, "tags/v1/manifest.json"), image.Bytes)
	s.Forget()
	return &broken{m, s, image, layer, m.at(s, testImage, "tags/v1/files/noise"), "/blobs/" + layer.Digest.String()}
}

// whole is what probe says of the blob where all is well.
func (b *broken) whole() string { return "ok " + b.layer.Digest.Encoded() }

// fails checks that a read fails with an errno and a sentence, and lets no byte
// through.
func (b *broken) fails(errno, path string) failure {
	b.t.Helper()
	b.probe(errno, "read", path)
	r := b.run("cat " + quote(path) + " | wc -c")
	if strings.TrimSpace(r.Stdout) != "0" {
		b.t.Errorf("cat got %s bytes of %s before it failed", strings.TrimSpace(r.Stdout), path)
	}
	f := b.lastFailure(errno)
	if f.Path == "" || f.Op == "" || f.Cause == "" || f.Hint == "" || time.Since(f.Time) > 10*time.Minute {
		b.t.Errorf("errors.jsonl: a field is missing in %+v", f)
	}
	return f
}

// What isn't what its digest says is EBADMSG, never shown and never kept.
func TestDigestMismatch(t *testing.T) {
	t.Parallel()
	b := newBroken(t, 300_000, mounting{})
	b.s.Fault(registries.Fault{Path: b.asked, Corrupt: 200_001})
	f := b.fails("EBADMSG", b.file)
	if !strings.Contains(f.Cause, b.layer.Digest.Encoded()) {
		t.Errorf("the cause doesn't name the digest: %s", f.Cause)
	}
	b.s.Heal()
	b.probe(b.whole(), "read", b.file)

	other := must(repo(t, b.s, testImage).Image(t.Context(), "v2", content.Small("v2")))(t)
	b.s.Fault(registries.Fault{Path: "/manifests/", Corrupt: 10})
	b.probe("EBADMSG", "read", b.at(b.s, testImage, "tags/v2/manifest.json"))
	b.probe("EBADMSG", "read", b.at(b.s, testImage, "manifests/sha256", other.Digest.Encoded(), "manifest.json"))
	b.s.Heal()
}

// A manifest that lies about a size is EBADMSG where its word is taken, and harms
// nobody who was told the truth.
func TestLiesAboutSizes(t *testing.T) {
	t.Parallel()
	b := newBroken(t, 300_000, mounting{})
	b.probe(b.whole(), "read", b.file)
	liar := repo(t, b.s, "team/liar")
	must(liar.Blob(t.Context(), b.layer.MediaType, b.layer.Bytes))(t)
	config := must(liar.Blob(t.Context(), "application/vnd.example.config", []byte("{}")))(t)
	for _, size := range []int64{0, 299_999, 300_001} {
		lie := b.layer.Descriptor
		lie.Size = size
		tag := fmt.Sprint("size-", size)
		raw := must(json.Marshal(ocispec.Manifest{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
			Config: config.Descriptor, Layers: []ocispec.Descriptor{lie},
		}))(t)
		must(liar.Put(t.Context(), tag, ocispec.MediaTypeImageManifest, raw))(t)
		b.fails("EBADMSG", b.at(b.s, "team/liar/tags", tag, "files/noise"))
	}
	costs(t, b.s, "the blob, for who was told the truth", counts{}, func() { b.probe(b.whole(), "read", b.file) })
}

// A body that ends early is never a shorter file.
func TestTruncatedBody(t *testing.T) {
	t.Parallel()
	b := newBroken(t, 300_000, mounting{})
	b.s.Fault(registries.Fault{Path: b.asked, Short: 100_000})
	b.fails("EBADMSG", b.file)
	b.s.Heal()
	b.probe(b.whole(), "read", b.file)
}

// A dropped connection goes on from where it stopped.
func TestDroppedConnection(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]registries.Fault{
		"with ranges":    {Path: "nothing like that"},
		"without ranges": {NoRange: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBroken(t, 300_000, mounting{})
			next.Path = b.asked
			b.s.Fault(next)
			b.s.Fault(registries.Fault{Path: b.asked, Cut: 100_000, Times: 1})
			b.probe(b.whole(), "read", b.file)
			got := b.s.Requests()
			if len(got) != 2 || got[0].Range != "" && got[0].Range != "bytes=0-" || !strings.HasPrefix(got[1].Range, "bytes=") || got[1].Range == "bytes=0-" {
				t.Errorf("the registry was asked %v, want a GET and one that goes on by Range", got)
			}
		})
	}
}

// A registry that is gone: what is known is served, the rest is EHOSTUNREACH and
// never ENOENT, and all is well when it is back.
func TestRegistryGone(t *testing.T) {
	t.Parallel()
	b := newBroken(t, 300_000, mounting{flags: []string{"--tag-ttl", "100ms"}})
	if err := b.s.Gone(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond) // past the tag's time
	b.holds(b.at(b.s, testImage, "tags/v1/manifest.json"), b.image.Bytes)
	f := b.fails("EHOSTUNREACH", b.file)
	if !strings.Contains(f.Cause, "refused") {
		t.Errorf("the cause says nothing of the refused connection: %s", f.Cause)
	}
	b.probe("EHOSTUNREACH", "stat", b.at(b.s, testImage, "tags/never-seen"))
	b.probe("EHOSTUNREACH", "readdir", b.at(b.s, testImage, "tags"))
	if err := b.s.Back(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // one that refused isn't asked for the next 20 ms
	b.probe(b.whole(), "read", b.file)
	b.probe("ENOENT", "stat", b.at(b.s, testImage, "tags/never-seen-either"))
}

// A registry that goes while a blob is read.
func TestRegistryGoneMidRead(t *testing.T) {
	t.Parallel()
	t.Run("for good", func(t *testing.T) {
		t.Parallel()
		b := newBroken(t, mib, mounting{})
		b.s.Fault(registries.Fault{Path: b.asked, Stall: 300_000})
		time.AfterFunc(time.Second, func() { b.s.Gone() })
		b.fails("EHOSTUNREACH", b.file)
	})
	t.Run("and comes back", func(t *testing.T) {
		t.Parallel()
		b := newBroken(t, mib, mounting{})
		b.s.Fault(registries.Fault{Path: b.asked, Stall: 300_000, Times: 1})
		time.AfterFunc(time.Second, func() {
			b.s.Gone()
			time.Sleep(300 * time.Millisecond)
			if err := b.s.Back(); err != nil {
				t.Error(err)
			}
		})
		b.probe(b.whole(), "read", b.file)
	})
}

// Whoever is interrupted gets out at once; who else waits goes on waiting, for the
// same download.
func TestInterruptedReader(t *testing.T) {
	t.Parallel()
	b := newBroken(t, mib, mounting{})
	b.s.Fault(registries.Fault{Path: b.asked, Stall: 300_000})
	person := b.shell()
	person(fmt.Sprintf("%s read %s >%s/patient 2>&1 &", probeBin, quote(b.file), b.Home))
	for _, signal := range []string{"INT", "TERM", "KILL"} {
		r := b.run(fmt.Sprintf("timeout -s %s 1 cat %s", signal, quote(b.file)))
		if r.Code == 0 || r.Took > 10*time.Second {
			t.Errorf("SIG%s: cat ended with %d after %s", signal, r.Code, r.Took)
		}
	}
	b.s.Heal()
	person("wait")
	if got := strings.TrimSpace(b.sh("cat %s/patient", b.Home)); got != b.whole() {
		t.Errorf("the reader who waited got %s", got)
	}
	if got := b.s.Counts(); got["GET blob"] != 1 {
		t.Errorf("%v, want one download", got)
	}

	b.s.Fault(registries.Fault{Path: "/manifests/", Hold: true})
	for _, signal := range []string{"INT", "KILL"} {
		r := b.run(fmt.Sprintf("timeout -s %s 1 cat %s", signal, b.at(b.s, testImage, "tags/held"+strings.ToLower(signal), "digest")))
		if r.Code == 0 || r.Took > 10*time.Second {
			t.Errorf("SIG%s at a lookup: cat ended with %d after %s", signal, r.Code, r.Took)
		}
	}
	b.s.Heal()
}

// A stalled body goes on by Range within a minute.
func TestStalledBody(t *testing.T) {
	t.Parallel()
	b := newBroken(t, mib, mounting{})
	b.s.Fault(registries.Fault{Path: b.asked, Stall: 300_000, Times: 1})
	begin := time.Now()
	b.probe(b.whole(), "read", b.file)
	if took := time.Since(begin); took > time.Minute {
		t.Errorf("it took %s", took)
	}
	if got := b.s.Requests(); len(got) != 2 || got[1].Range == "" {
		t.Errorf("the registry was asked %v", got)
	}
}

// What a status means to a reader; a registry that recovers goes unnoticed.
func TestStatus(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		fault registries.Fault
		errno string // empty: it succeeds
	}{
		{"500 for ever", registries.Fault{Status: 500}, "EREMOTEIO"},
		{"503 for ever", registries.Fault{Status: 503}, "EREMOTEIO"},
		{"502 twice", registries.Fault{Status: 502, Times: 2}, ""},
		{"429 for an hour", registries.Fault{Status: 429, Header: http.Header{"Retry-After": {"3600"}}}, "EBUSY"},
		{"429 for ever", registries.Fault{Status: 429}, "EBUSY"},
		{"429 for a second", registries.Fault{Status: 429, Header: http.Header{"Retry-After": {"1"}}, Times: 1}, ""},
		{"403", registries.Fault{Status: 403}, "EACCES"},
		{"401", registries.Fault{Status: 401}, "EACCES"},
		{"404", registries.Fault{Status: 404}, "ENOENT"},
		{"redirect loop", registries.Fault{Status: 307, Header: http.Header{"Location": {"?again"}}}, "EREMOTEIO"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBroken(t, 100_000, mounting{})
			c.fault.Path = b.asked
			b.s.Fault(c.fault)
			begin := time.Now()
			if c.errno == "" {
				b.probe(b.whole(), "read", b.file)
			} else {
				b.probe(c.errno, "read", b.file)
				if f := b.lastFailure(c.errno); f.Cause == "" || f.Hint == "" {
					t.Errorf("no sentence: %+v", f)
				}
			}
			if took := time.Since(begin); took > time.Minute {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// A thousand readers of one cold blob are one download, in little memory.
func TestThousandReaders(t *testing.T) {
	t.Parallel()
	b := newBroken(t, 4*mib, mounting{plain: true})
	// The registry waits until the readers are there.
	b.s.Fault(registries.Fault{Path: b.asked, Stall: mib})
	time.AfterFunc(3*time.Second, b.s.Heal)
	if got := b.probed("readers", "1000", b.file); got != "ok 1000 "+b.layer.Digest.Encoded() {
		t.Errorf("the readers got %s", got)
	}
	if got := b.s.Counts(); got["GET blob"] != 1 || len(got) != 1 {
		t.Errorf("the registry was asked %v, want one GET", got)
	}
	b.isSmall()
}

// isSmall checks that the daemon never took more memory than is promised.
func (m *mounted) isSmall() {
	m.t.Helper()
	peak := must(mount.PeakMemory(m.PID()))(m.t)
	m.t.Logf("the daemon's memory peaked at %d MiB", peak>>20)
	if peak > 128*mib {
		m.t.Errorf("the daemon's memory peaked at %d MiB, want 128 at most", peak>>20)
	}
}
