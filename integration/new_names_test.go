package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// Editors and scripts that write a manifest under a name of their own, and rename it,
// leave no tag of that name behind.
func TestTemporaryNamesAreNoTags(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	must(repo(t, s, testImage).Image(t.Context(), "v1", content.Small("v1")))(t)
	m := testMount(t, mounting{})
	app := m.at(s, testImage)
	script := filepath.Join(t.TempDir(), "replace.py")
	must(0, os.WriteFile(script, []byte(`import os, sys, tempfile
directory, source, name, prefix = sys.argv[1:]
f, path = tempfile.mkstemp(dir=directory, prefix=prefix)
os.write(f, open(source, "rb").read())
os.close(f)
os.replace(path, os.path.join(directory, name))
`), 0o600))(t)
	m.sh("cd %s/upload/manifests && cp %s/tags/v1/manifest.json edit && sed -i s/nothing/x/ edit && sed -i s/nothing/x/ edit", app, app)
	m.sh("python3 %s %s/upload/manifests %s/tags/v1/manifest.json py tmp", script, app, app)
	m.sh("python3 %s %s/upload/manifests %s/tags/v1/manifest.json own release-", script, app, app)
	m.sh("cd %s/upload/manifests && f=$(mktemp v7.XXXXXX) && cat %s/tags/v1/manifest.json >$f && mv $f v7", app, app)
	m.sh("cd %s/upload/manifests && cp %s/tags/v1/manifest.json v8.new && mv v8.new v8", app, app)
	m.sh("install %s/tags/v1/manifest.json %s/upload/manifests/production && crane manifest --insecure %s/%s:production >/dev/null", app, app, s.Host, testImage)
	m.sh("cp %s/tags/v1/manifest.json %s/upload/manifests/tmpwasmeant && cat %s/tags/tmpwasmeant/digest", app, app, app)
	m.unmount()
	n := testMount(t, mounting{})
	n.tagsAre(s, testImage, "edit", "own", "production", "py", "tmpwasmeant", "v1", "v7", "v8")
}

// An image directory that lands in upload/manifests/, because its tag is called so, fails
// and leaves no tag.
func TestAnImageCalledManifests(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	must(repo(t, s, testImage).Image(t.Context(), "manifests", content.Small("v1")))(t)
	m := testMount(t, mounting{})
	m.sh("cp -r %s/tags/manifests/blobs/sha256/* %s", m.at(s, testImage), m.at(s, "team/misled/upload/blobs/sha256/"))
	if r := m.run(fmt.Sprintf("cp -r %s/tags/manifests %s/", m.at(s, testImage), m.at(s, "team/misled/upload"))); r.Code == 0 || !strings.Contains(r.Stderr, "manifests/index.json': Invalid argument") {
		t.Errorf("cp ends with %d: %s", r.Code, r.Stderr)
	}
	if got := m.run(fmt.Sprintf("crane ls --insecure %s/team/misled", s.Host)).Stdout; got != "" {
		t.Errorf("tags: %q", got)
	}
	if f := m.lastFailure("EINVAL"); !strings.Contains(f.Hint, "upload/<tag>") {
		t.Errorf("errors.jsonl says %+v", f)
	}
}

// A program that makes a blob's file anew may, in whichever thread or process it made
// the directory, and whether the registry has the blob or not; who only looks finds
// what the registry has.
func TestNewFilesOfBlobsThatTheRegistryHas(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	must(repo(t, s, testImage).Image(t.Context(), "v1", content.Sample("v1")))(t)
	m := testMount(t, mounting{})
	app := m.at(s, testImage)
	script := filepath.Join(t.TempDir(), "copy.py")
	must(0, os.WriteFile(script, []byte(`import os, sys
from concurrent.futures import ThreadPoolExecutor
source, target = sys.argv[1:]
def put(name):
    f = os.open(os.path.join(target, name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    os.write(f, open(os.path.join(source, name), "rb").read())
    os.close(f)
os.makedirs(os.path.join(target, "blobs/sha256"), exist_ok=True)
with ThreadPoolExecutor(4) as pool:
    list(pool.map(put, ["blobs/sha256/" + name for name in os.listdir(os.path.join(source, "blobs/sha256"))]))
for name in sys.stdin.read().split():
    put(name)
`), 0o600))(t)
	openat2 := filepath.Join(t.TempDir(), "openat2.py")
	must(0, os.WriteFile(openat2, []byte(`import ctypes, os, struct, sys
how = struct.pack("QQQ", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, 0)
f = ctypes.CDLL(None, use_errno=True).syscall(437, -100, sys.argv[1].encode(), how, len(how))
if f < 0:
    sys.exit(os.strerror(ctypes.get_errno()))
os.write(f, open(sys.argv[2], "rb").read())
os.close(f)
`), 0o600))(t)
	m.sh("cp -r %s/tags/v1 $HOME/v1", app)
	for _, dir := range []string{"upload/again", "upload"} { // one is made, the other was there
		if dir == "upload" {
			m.sh("python3 %s $HOME/v1 %s/%s </dev/null", script, app, dir)
		} else {
			m.sh("echo oci-layout index.json | python3 %s $HOME/v1 %s/%s", script, app, dir)
		}
	}
	m.sh("cmp %s/tags/v1/manifest.json %s/tags/again/manifest.json", app, app)
	m.sh("for f in $HOME/v1/blobs/sha256/*; do test -f %s/upload/other/blobs/sha256/${f##*/} && exit 1; done; mkdir -p %s/upload/other/blobs/sha256; for f in $HOME/v1/blobs/sha256/*; do test -f %s/upload/other/blobs/sha256/${f##*/} || exit 2; done", app, app, app)
	m.sh("for f in $HOME/v1/blobs/sha256/*; do dd conv=excl if=$f of=%s/upload/other/blobs/sha256/${f##*/} || exit 1; done", app)
	m.sh("mkdir -p %[1]s/upload/by2/blobs/sha256 && for f in $HOME/v1/blobs/sha256/*; do python3 %[2]s %[1]s/upload/by2/blobs/sha256/${f##*/} $f || exit 1; done", app, openat2)
	blob := strings.TrimSpace(m.sh("ls $HOME/v1/blobs/sha256 | head -n1"))
	m.sh("mkdir -p %[1]s/upload/third/blobs/sha256 && ln %[1]s/blobs/sha256/%[2]s %[1]s/upload/third/blobs/sha256/%[2]s", app, blob)
}
