package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// Programs that go through a whole mount and read nothing download nothing: they ask
// for manifests and lists alone.
func TestListingDownloadsNoBlob(t *testing.T) {
	t.Parallel()
	onEvery(t, registries.Options{}, func(t *testing.T, s *registries.Server) {
		ctx := t.Context()
		app, other := repo(t, s, testImage), repo(t, s, "team/other")
		image := must(app.Image(ctx, "v1", content.Sample("v1")))(t)
		must(app.Image(ctx, "v2", content.Sample("v2")))(t)
		must(app.MultiPlatform(ctx, "multi"))(t)
		must(app.Referrer(ctx, image, "application/vnd.example.sbom", "what is in it"))(t)
		must(other.TitledArtifact(ctx, "model"))(t)
		must(other.HelmChart(ctx, "chart", "web", "1.2.3"))(t)
		m := testMount(t, mounting{})
		where := m.at(s, testImage) + " " + m.at(s, "team/other") + " " + m.Dir // not every registry lists its repositories

		costs(t, s, "find that leaves the mount out", counts{}, func() { m.sh("find %s -fstype fuse.ocifs -prune", m.Dir) })
		for what, command := range map[string]string{
			"find -ls": "find %s -ls", // what updatedb and file managers see
			"find":     "find %s -size +0 -mtime -36500 -perm -444",
			"du -a":    "du -a %s",
			"ls -lR":   "ls -lR %s",
		} {
			s.Forget()
			out := m.sh(command+" >$HOME/out && cat $HOME/out", where)
			if want := image.Layers[0].Digest.Encoded(); !strings.Contains(out, want) {
				t.Errorf("%s hasn't seen %s", what, want)
			}
			for _, r := range s.Requests() {
				if r.Kind == registries.Blob {
					t.Errorf("%s: %v", what, r)
				}
			}
		}
	})
}

// What an artifact calls the config of a chart isn't downloaded by a listing where it
// is larger than such a thing can be.
func TestListingDownloadsNoHugeConfig(t *testing.T) {
	t.Parallel()
	s := startOlareg(t, registries.Options{})
	must(repo(t, s, testImage).Artifact(t.Context(), "v1", content.Artifact{
		ConfigType: "application/vnd.cncf.helm.config.v1+json", Config: content.NoiseBytes(1, 9*mib),
		Files: []content.ArtifactFile{content.Titled("chart.tgz", "application/vnd.cncf.helm.chart.content.v1.tar+gzip", []byte("chart"))},
	}))(t)
	m := testMount(t, mounting{})
	costs(t, s, "ls of its files", counts{"GET manifest": 1}, func() { m.lists(m.at(s, testImage, "tags/v1/files"), "chart", "chart.tgz") })
}

// guardedBlob is how large the blobs are that a mount with maxDownload is asked for:
// it lets three of them be downloaded.
const (
	guardedBlob = 300_000
	maxDownload = "1MB"
	allowed     = 3
)

// world pushes an artifact of n blobs, and gives the directory of them.
func world(t *testing.T, s *registries.Server, m *mounted, path string, seed uint64, n int) string {
	t.Helper()
	var a content.Artifact
	for i := range n {
		name := fmt.Sprint("blob", i)
		a.Files = append(a.Files, content.Titled(name, "application/octet-stream", content.NoiseBytes(seed+uint64(i), guardedBlob)))
	}
	must(repo(t, s, path).Artifact(t.Context(), "v1", a))(t)
	return m.at(s, path, "tags/v1/files")
}

// downloaded counts the large blobs that were asked for since the last Forget.
func downloaded(s *registries.Server) (n int) {
	for _, r := range s.Requests() {
		if r.Method == "GET" && r.Kind == registries.Blob && r.Bytes > 1000 {
			n++
		}
	}
	return n
}

// With --max-download a program that reads everything, whatever it starts to do that,
// gets EDQUOT when it has had enough. The next one reads on.
func TestAJobCannotDownloadTheWorld(t *testing.T) {
	t.Parallel()
	s := startOlareg(t, registries.Options{})
	m := testMount(t, mounting{flags: []string{"--max-download", maxDownload}})
	if got := m.sh("jq .max_download $M/.ocifs/config.json"); got != "1000000\n" {
		t.Errorf("config.json says %s", got)
	}
	jobs := []struct{ what, script, process, job string }{
		{"grep -R", "exec grep -R nothing-is-like-this %s", "grep (process ", ": it and what it started had "},
		{"find -exec +", "exec find -L %s -type f -exec cat {} + >/dev/null", "cat (process ", ": the job of find (process "},
		{"find -exec ;", `exec find -L %s -type f -exec cat {} \; >/dev/null`, "cat (process ", ": the job of find (process "},
		{"xargs -P", "find -L %s -type f | xargs -n1 -P8 cat >/dev/null; echo", "cat (process ", ": the job of sh (process "},
		{"a loop", "for f in %s/*; do cat $f >/dev/null; done; echo", "cat (process ", ": the job of sh (process "},
		{"mmap", "for f in %s/*; do " + probeBin + " mmap $f; done >/dev/null; echo", "probe (process ", ": the job of sh (process "},
	}
	for i, j := range jobs {
		dir := world(t, s, m, fmt.Sprint("world/n", i), uint64(100*i+1), 8)
		s.Forget()
		r := m.run(fmt.Sprintf(j.script, dir))
		if !strings.Contains(r.Stderr, "Disk quota exceeded") && j.what != "mmap" { // that has no errno
			t.Errorf("%s: exit code %d, %q", j.what, r.Code, r.Stderr)
		}
		if n := downloaded(s); n != allowed {
			t.Errorf("%s had %d blobs, want %d", j.what, n, allowed)
		}
		f := m.lastFailure("EDQUOT")
		if !strings.HasPrefix(f.Cause, j.process) || !strings.Contains(f.Cause, j.job) || f.Op != "read" || !strings.Contains(f.Hint, "PRUNEFS") {
			t.Errorf("%s: errors.jsonl says %+v", j.what, f)
		}
	}
	if n := strings.Count(m.sh("cat $M/.ocifs/errors.jsonl"), "EDQUOT"); n != len(jobs) {
		t.Errorf("%d lines tell that a job was refused, want one for each of %d:\n%s", n, len(jobs), m.failures())
	}
	if log := m.Output(); !strings.Contains(log, "grep (process ") {
		t.Error("the log doesn't name grep")
	}
}

// What is cached is read by anyone, and a blob larger than the limit by who has read
// nothing else.
func TestWhatAGuardLetsThrough(t *testing.T) {
	t.Parallel()
	s := startOlareg(t, registries.Options{})
	m := testMount(t, mounting{flags: []string{"--max-download", "250kB"}}) // less than a blob
	dir := world(t, s, m, testImage, 1, 3)
	for i := range 2 {
		r := m.run(fmt.Sprintf("cat %[1]s/blob%[2]d | wc -c; cat %[1]s/blob2 | wc -c", dir, i))
		if want := fmt.Sprint(guardedBlob, "\n0\n"); r.Stdout != want {
			t.Errorf("job %d read %q, want %q; %s", i, r.Stdout, want, r.Stderr)
		}
	}
	costs(t, s, "what two jobs had, for a third", counts{}, func() { m.sh("cat %[1]s/blob0 %[1]s/blob1", dir) })
}
