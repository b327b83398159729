package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/mount"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// record is an element of .ocifs/uploads.json.
type record struct {
	Repository, Target, State, Error string
	Time                             time.Time
}

// recorded gives the record of a target.
func (m *mounted) recorded(target string) record {
	m.t.Helper()
	var all []record
	if err := json.Unmarshal([]byte(m.sh("cat $M/.ocifs/uploads.json")), &all); err != nil {
		m.t.Fatalf("uploads.json: %v", err)
	}
	for _, r := range all {
		if r.Target == target {
			return r
		}
	}
	m.t.Errorf("uploads.json tells nothing of %s: %+v", target, all)
	return record{}
}

// file makes a local file of noise.
func noiseFile(t *testing.T, seed uint64, size int64) (path string, d digest.Digest) {
	t.Helper()
	b := content.NoiseBytes(seed, size)
	path = filepath.Join(t.TempDir(), fmt.Sprintf("noise%d", seed))
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, digest.FromBytes(b)
}

// has checks what the registry has of a blob, by asking it.
func hasBlob(t *testing.T, s *registries.Server, repo string, d digest.Digest, want int) {
	t.Helper()
	resp, err := http.Head("http://" + s.Host + "/v2/" + repo + "/blobs/" + d.String())
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != want {
		t.Errorf("the registry says %d of %s in %s, want %d", resp.StatusCode, d, repo, want)
	}
}

// noTag checks that a tag isn't there.
func noTag(t *testing.T, s *registries.Server, repo, tag string) {
	t.Helper()
	resp, err := http.Head("http://" + s.Host + "/v2/" + repo + "/manifests/" + tag)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("the registry says %d of %s:%s, want that there is none", resp.StatusCode, repo, tag)
	}
}

// What a push costs at the registry, and what it doesn't.
func TestPushRequests(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	app := repo(t, s, testImage)
	image := must(app.Image(t.Context(), "v1", content.Sample("v1")))(t)
	m := testMount(t, mounting{})
	from, to := m.at(s, testImage), m.at(s, "team/copy")
	m.sh("cat %s/tags/v1/manifest.json", from)

	s.Forget()
	m.sh("cp -r %s/tags/v1 %s/upload/v2", from, to)
	if n := s.Sent(registries.Upload); n != 0 {
		t.Errorf("copying between repositories of one host sent %d bytes of blobs\n%v", n, s.Requests())
	}
	m.holds(filepath.Join(to, "tags/v2/digest"), []byte(image.Digest+"\n"))

	costs(t, s, "a re-tag", counts{"PUT manifest": 1}, func() {
		m.sh("cp %s/tags/v1/manifest.json %s/upload/manifests/stable", from, from)
	})
	costs(t, s, "looking at what was re-tagged", counts{}, func() { m.holds(filepath.Join(from, "tags/stable/manifest.json"), image.Bytes) })

	file, d := noiseFile(t, 1, 300_000)
	costs(t, s, "a blob", counts{"HEAD blob": 1, "POST upload": 1, "PUT upload": 1}, func() { m.sh("cp %s %s/upload/blobs/model", file, from) })
	if got := m.sh("readlink %s/upload/blobs/model", from); got != "sha256/"+d.Encoded()+"\n" {
		t.Errorf("the blob's name leads to %q", got)
	}
	costs(t, s, "reading it", counts{}, func() {
		m.sh("cmp %s %s/upload/blobs/model && cmp %s %s/blobs/sha256/%s", file, from, file, from, d.Encoded())
	})
	costs(t, s, "the blob again, by another name", counts{}, func() { m.sh("cp %s %s/upload/blobs/again", file, from) })

	other := testMount(t, mounting{}) // that knows nothing
	costs(t, s, "pushing what is there", counts{"HEAD blob": 1}, func() { other.sh("cp %s %s/upload/blobs/", file, other.at(s, testImage)) })
	missing := digest.FromString("nobody has this")
	costs(t, s, "looking up digests in upload/", counts{"HEAD blob": 2}, func() {
		other.probe("ENOENT", "stat", other.at(s, testImage, "upload/blobs/sha256", missing.Encoded()))
		if got := other.sh("stat -c %%s %s", other.at(s, testImage, "upload/blobs/sha256", image.Layers[0].Digest.Encoded())); got != fmt.Sprintln(image.Layers[0].Size) {
			t.Errorf("a blob of the registry has %s bytes in upload/", got)
		}
	})
	costs(t, s, "temporary names", counts{}, func() {
		m.sh("cd %s/upload && cp %s blobs/x.1a2b3c4d.partial && cp %s blobs/.hidden && mkdir ingest .umoci-1 && cp %s ingest/abc && echo '{}' > index.json.123.tmp && rm -r ingest", from, file, file, file)
	})
}

// A blob may be written in pieces, by any way of writing, under any name.
func TestWaysOfWriting(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	m := testMount(t, mounting{})
	up := m.at(s, "team/raw", "upload")
	file, d := noiseFile(t, 2, 1_000_000)
	m.sh("cp %s %s/blobs/first", file, up) // for ln
	for name, script := range map[string]string{
		"pieces":  "{ head -c 300000 $F; tail -c +300001 $F; } > $U/blobs/pieces",
		"dd":      "dd if=$F of=$U/blobs/dd bs=4k conv=fsync status=none",
		"append":  "head -c 10 $F > $U/blobs/append; tail -c +11 $F >> $U/blobs/append",
		"install": "install -m 644 $F $U/blobs/install",
		"cp -p":   "cp -p $F $U/blobs/'cp -p'",
		"rsync":   "rsync -a $F $U/blobs/rsync",
		"mv":      "cp $F $F.2 && mv $F.2 $U/blobs/mv",
		"ln":      "ln $U/../blobs/sha256/$D $U/blobs/ln",
		"tee":     "tee $U/blobs/tee < $F > /dev/null",
		"over":    "echo something else > $U/blobs/over && cp $F $U/blobs/over",
	} {
		m.sh("F=%s U=%s D=%s; %s", file, up, d.Encoded(), script)
		if got := m.sh("readlink %s", quote(filepath.Join(up, "blobs", name))); got != "sha256/"+d.Encoded()+"\n" {
			t.Errorf("%s: the name leads to %q", name, got)
		}
	}
	hasBlob(t, s, "team/raw", d, http.StatusOK)
	empty := digest.FromString("")
	m.sh("cp /dev/null %s/blobs/empty && test \"$(readlink %s/blobs/empty)\" = sha256/%s", up, up, empty.Encoded())
	hasBlob(t, s, "team/raw", empty, http.StatusOK)
	sum := strings.Fields(m.sh("sha512sum %s", file))[0]
	m.sh("mkdir %s/blobs/sha512 && cp %s %s/blobs/sha512/%s", up, file, up, sum)
	hasBlob(t, s, "team/raw", digest.Digest("sha512:"+sum), http.StatusOK)
	m.sh("cd %s && touch -d 2020-01-01 oci-layout && chmod 600 oci-layout && chown 0:0 oci-layout && flock . true && test \"$(stat -c %%a:%%Y oci-layout)\" = 600:1577836800", up)
}

// What isn't what its name says is refused or waited for, and nothing is tagged.
func TestNamesThatDontMatch(t *testing.T) {
	t.Parallel()
	s := startOlareg(t, registries.Options{})
	image := must(repo(t, s, testImage).Image(t.Context(), "v1", content.Small("hello")))(t)
	m := testMount(t, mounting{})
	up := m.at(s, "team/other", "upload")
	right := filepath.Join(up, "blobs/sha256", image.Layers[0].Digest.Encoded())
	m.sh("echo wrong > %s/tmp && echo wrong > %s && ! mv %s/tmp %s", up, right, up, right)
	m.sh("test -e %s/tmp", up)
	if f := m.lastFailure("EBADMSG"); f.Op != "rename" || !strings.Contains(f.Cause, image.Layers[0].Digest.Encoded()) {
		t.Errorf("errors.jsonl says %+v", f)
	}
	hasBlob(t, s, "team/other", image.Layers[0].Digest, http.StatusNotFound)
	r := m.run(fmt.Sprintf("echo no manifest > %s/no && cp %s/no %s/manifests/v1", m.Home, m.Home, up))
	if r.Code == 0 || !strings.Contains(r.Stderr, "Bad message") {
		t.Errorf("cp of what is no manifest: %d, %s", r.Code, r.Stderr)
	}
	if got := m.recorded("v1"); got.State != "failed" || got.Error == "" || got.Repository != s.Host+"/team/other" || time.Since(got.Time) > time.Minute {
		t.Errorf("uploads.json says %+v", got)
	}
	noTag(t, s, "team/other", "v1")
}

// An index that comes before its blobs waits: the last piece pushes it.
func TestIndexBeforeBlobs(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	must(repo(t, s, testImage).Image(t.Context(), "v1", content.Sample("v1")))(t)
	m := testMount(t, mounting{})
	out := m.at(s, "team/late")
	m.sh("mkdir -p %s/upload/v9/blobs/sha256 && cp %s/index.json %s/upload/v9/", out, m.at(s, testImage, "tags/v1"), out)
	for i, blob := range m.list(m.at(s, testImage, "tags/v1/blobs/sha256")) {
		noTag(t, s, "team/late", "v9")
		if got := m.recorded("v9"); got.State != "waiting" {
			t.Errorf("before blob %d uploads.json says %+v", i, got)
		}
		m.sh("cp %s/%s %s/upload/v9/blobs/sha256/", m.at(s, testImage, "tags/v1/blobs/sha256"), blob, out)
	}
	m.sh("cmp %s/tags/v9/manifest.json %s/tags/v1/manifest.json", out, m.at(s, testImage))
}

// A push that fails says so to the program, in uploads.json and in errors.jsonl, and
// leaves nothing half done; one that the registry only disturbs succeeds.
func TestPushFailures(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	must(repo(t, s, testImage).Image(t.Context(), "v1", content.Sample("v1")))(t)
	must(repo(t, s, testImage).Image(t.Context(), "v2", content.Sample("v2")))(t)
	m := testMount(t, mounting{})
	m.sh("cp -r %s/tags/v1 %s/kept", m.at(s, testImage), m.Home)
	for i, c := range []struct {
		what  string
		fault registries.Fault
		errno string // "": it succeeds
		says  string
	}{
		{"no permission", registries.Fault{Method: "POST", Path: "/uploads/", Status: 403}, "EACCES", "Permission denied"},
		{"a registry that fails", registries.Fault{Path: "/uploads/", Status: 500, Drain: true}, "EREMOTEIO", "Remote I/O error"},
		{"a registry that is full", registries.Fault{Method: "PUT", Path: "/uploads/", Status: 507, Drain: true}, "EREMOTEIO", "Remote I/O error"},
		{"a rate limit", registries.Fault{Method: "POST", Path: "/uploads/", Status: 429, Header: http.Header{"Retry-After": {"3600"}}}, "EBUSY", "Device or resource busy"},
		{"a connection that is cut", registries.Fault{Method: "PUT", Path: "/uploads/", CutBody: 400_000, Times: 2}, "", ""},
		{"an answer that is lost", registries.Fault{Method: "PUT", Path: "/uploads/", Lose: true, Times: 1}, "", ""},
		{"chunks alone", registries.Fault{Method: "PUT", Path: "/uploads/", Status: 405, Drain: true, Times: 1}, "", ""},
		{"a failure that passes", registries.Fault{Method: "PUT", Path: "/uploads/", Status: 503, Drain: true, Times: 2}, "", ""},
	} {
		file, d := noiseFile(t, uint64(10+i), 1_000_000)
		to := fmt.Sprint("failures/", i)
		m.sh("ls %s/upload", m.at(s, to))
		s.Fault(c.fault)
		r := m.run(fmt.Sprintf("cp %s %s/upload/blobs/x", file, m.at(s, to)))
		s.Heal()
		if c.errno == "" {
			if r.Code != 0 {
				t.Errorf("%s: %s", c.what, r.Stderr)
			}
			hasBlob(t, s, to, d, http.StatusOK)
			continue
		}
		if r.Code == 0 || !strings.Contains(r.Stderr, c.says) {
			t.Errorf("%s: cp says %d, %q; want %s", c.what, r.Code, r.Stderr, c.says)
		}
		if f := m.lastFailure(c.errno); f.Op != "close" || !strings.HasSuffix(f.Path, to+"/upload/blobs/x") || f.Hint == "" {
			t.Errorf("%s: errors.jsonl says %+v", c.what, f)
		}
		if got := m.recorded(d.String()); got.State != "failed" || got.Error == "" {
			t.Errorf("%s: uploads.json says %+v", c.what, got)
		}
		hasBlob(t, s, to, d, http.StatusNotFound)
		if c.errno == "EBUSY" {
			time.Sleep(2100 * time.Millisecond) // so long that wait is believed
		}
		m.sh("cp %s %s/upload/blobs/x", file, m.at(s, to)) // what went wrong is over
		hasBlob(t, s, to, d, http.StatusOK)
	}

	// A tag that can't be moved, and a manifest that can't be put.
	app := m.at(s, testImage)
	s.Fault(registries.Fault{Method: "PUT", Path: "/manifests/v1", Status: 409})
	if r := m.run(fmt.Sprintf("cp %s/tags/v2/manifest.json %s/upload/manifests/v1", app, app)); r.Code == 0 || !strings.Contains(r.Stderr, "File exists") {
		t.Errorf("an immutable tag: %d, %s", r.Code, r.Stderr)
	}
	m.sh("cp %s/tags/v1/manifest.json %s/upload/manifests/v1", app, app) // where it points already
	s.Heal()
	if r := m.run(fmt.Sprintf("cp %s/tags/v1/manifest.json %s/upload/manifests/v1", app, m.at(s, "team/empty"))); r.Code == 0 || !strings.Contains(r.Stderr, "No such file") {
		t.Errorf("a manifest whose blobs are missing: %d, %s", r.Code, r.Stderr)
	}
	noTag(t, s, "team/empty", "v1")
	s.Fault(registries.Fault{Method: "PUT", Path: "/manifests/", Status: 500})
	if r := m.run(fmt.Sprintf("cp -r %s/kept %s/upload/v5", m.Home, m.at(s, "team/half"))); r.Code == 0 || !strings.Contains(r.Stderr, "Remote I/O error") {
		t.Errorf("a manifest that is refused: %d, %s", r.Code, r.Stderr)
	}
	s.Heal()
	noTag(t, s, "team/half", "v5")
}

// Two programs that push one tag at once: one of the two wins, whole.
func TestTwoPushesOfOneTag(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	one := must(repo(t, s, testImage).Image(t.Context(), "one", content.Sample("one")))(t)
	two := must(repo(t, s, testImage).Image(t.Context(), "two", content.Sample("two")))(t)
	m, n := testMount(t, mounting{}), testMount(t, mounting{})
	m.sh("cp -r %s %s/one && cp -r %s %s/two", m.at(s, testImage, "tags/one"), m.Home, m.at(s, testImage, "tags/two"), m.Home)
	m.sh("cp -r %s/one %s/upload/v1 & cp -r %s/two %s/upload/v1; a=$?; wait $! && test $a = 0", m.Home, m.at(s, "team/race"), m.Home, n.at(s, "team/race"))
	got := strings.TrimSpace(m.sh("crane digest --insecure %s/team/race:v1", s.Host))
	if got != one.Digest.String() && got != two.Digest.String() {
		t.Errorf("the tag points at %s", got)
	}
	m.sh("crane validate --fast --insecure --remote %s/team/race:v1", s.Host)
}

// A token that expires while a blob is pushed is renewed, and the blob sent again.
func TestTokenExpiresInPush(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{Users: map[string]string{"alice": "secret", "reader": "secret"}})
	login := func(user string) func(string) {
		return func(home string) {
			dir := filepath.Join(home, ".docker")
			config := fmt.Sprintf(`{"auths":{%q:{"username":%q,"password":"secret"}}}`, s.Host, user)
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	m := testMount(t, mounting{setup: login("alice")})
	file, _ := noiseFile(t, 30, 500_000)
	s.Fault(registries.Fault{Method: "PUT", Path: "/uploads/", Status: 401, Drain: true, Times: 1, Header: s.Tokens.Expired("team/app")})
	m.sh("cp %s %s/upload/blobs/x && cmp %s %s/upload/blobs/x", file, m.at(s, testImage), file, m.at(s, testImage))
	s.Heal()

	reader := testMount(t, mounting{setup: login("reader")})
	if r := reader.run(fmt.Sprintf("cp %s %s/upload/blobs/y", file, reader.at(s, "team/new"))); r.Code == 0 || !strings.Contains(r.Stderr, "Permission denied") {
		t.Errorf("who may only pull: %d, %s", r.Code, r.Stderr)
	}
	if f := reader.lastFailure("EACCES"); !strings.Contains(f.Cause, "config.json") || strings.Contains(f.Cause, "secret") {
		t.Errorf("errors.jsonl doesn't name the credential: %+v", f)
	}
}

// Whatever ends a mount in the middle of a push, no tag is left; what wasn't pushed
// is kept and told, and copying it pushes it.
func TestMountEndsInPush(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	must(repo(t, s, testImage).Image(t.Context(), "v1", content.Sample("v1")))(t)
	cache := filepath.Join(t.TempDir(), "cache")
	m := testMount(t, mounting{cache: cache})
	m.sh("cp -r %s %s/kept", m.at(s, testImage, "tags/v1"), m.Home)
	s.Forget()
	s.Fault(registries.Fault{Method: "PUT", Path: "/manifests/", Hold: true})
	pushing := make(chan mount.Result, 1)
	go func() {
		r, _ := mount.Run(limit(t, time.Minute), m.env(), fmt.Sprintf("cp -r %s/kept %s/upload/v7", m.Home, m.at(s, "team/killed")))
		pushing <- r
	}()
	for deadline := time.Now().Add(30 * time.Second); s.Counts()["PUT manifest"] == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the manifest isn't put")
		}
	}
	m.killed = true
	m.Kill()
	if r := <-pushing; r.Code == 0 {
		t.Error("cp succeeded")
	}
	s.Heal()
	m.unmount()
	noTag(t, s, "team/killed", "v7")

	s.Forget()
	next := testMount(t, mounting{cache: cache})
	left := next.recorded("v7")
	if left.State != "left" || left.Repository != s.Host+"/team/killed" {
		t.Errorf("uploads.json says %+v", left)
	}
	if c := s.Counts(); len(c) != 0 {
		t.Errorf("the next mount asked for %v", c)
	}
	path, _, _ := strings.Cut(strings.TrimPrefix(left.Error, "kept in "), ": ")
	next.sh("cp -r %s %s/upload/v7 && cmp %s/tags/v7/manifest.json %s/kept/manifest.json && rm -r %s", path, next.at(s, "team/killed"), next.at(s, "team/killed"), m.Home, path)
	if got := next.sh("jq length $M/.ocifs/uploads.json"); got == "0\n" {
		t.Error("uploads.json forgot what was pushed")
	}
}

// The staging area has a bound of its own, and gives back what is removed.
func TestStagingIsBounded(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	m := testMount(t, mounting{flags: []string{"--upload-size", "2MB"}})
	file, _ := noiseFile(t, 40, 3_000_000)
	up := m.at(s, testImage, "upload")
	if r := m.run(fmt.Sprintf("cp %s %s/big.tmp", file, up)); r.Code == 0 || !strings.Contains(r.Stderr, "No space left") {
		t.Errorf("beyond the bound: %d, %s", r.Code, r.Stderr)
	}
	m.sh("rm %s/big.tmp && head -c 1900000 %s > %s/blobs/x && test -L %s/blobs/x", up, file, up, up)
	m.sh("head -c 1900000 %s | tac > %s/blobs/y", file, up) // what was pushed takes no room
}
