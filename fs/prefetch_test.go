package fs

import (
	"encoding/json"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/fs/internal/caller"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/fs/prefetch"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// session opens .ocifs/prefetch.
func (w *walked) session() *session {
	w.t.Helper()
	c, err := w.root.Lookup(w.t.Context(), controlName)
	if err == nil {
		c, err = c.Entry.(node.Directory).Lookup(w.t.Context(), prefetch.Name)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	opened, err := c.Entry.(node.File).Open(w.t.Context(), caller.Caller{})
	if err != nil {
		w.t.Fatal(err)
	}
	return opened.(*session)
}

// read reads the state, as a program does.
func (s *session) read(t *testing.T) (st prefetch.State) {
	t.Helper()
	b := make([]byte, 1<<20)
	n, err := s.ReadAt(t.Context(), caller.Caller{}, b, 0)
	if err == nil {
		err = json.Unmarshal(b[:n], &st)
	}
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// ended waits until all asks have ended.
func (s *session) ended(t *testing.T) prefetch.State {
	t.Helper()
	for late := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if st := s.read(t); st.Asked == st.Ended {
			return st
		}
		if time.Now().After(late) {
			t.Fatalf("it doesn't end: %+v", s.read(t))
		}
	}
}

// prefetch asks for paths below the host, and waits for the end.
func (w *walked) prefetch(a prefetch.Ask, paths ...string) prefetch.State {
	w.t.Helper()
	s := w.session()
	defer s.Close()
	for _, p := range paths {
		a.Path = w.host + "/" + p
		if errno := s.take(a, caller.Caller{}); errno != 0 {
			w.t.Fatalf("ask for %s: %v", p, errno)
		}
	}
	return s.ended(w.t)
}

// missing checks what a check finds missing: the kinds of the items, sorted as they are found.
func (w *walked) missing(want string, paths ...string) {
	w.t.Helper()
	st := w.prefetch(prefetch.Ask{Check: true}, paths...)
	var kinds []string
	for _, i := range st.Missing {
		kinds = append(kinds, i.Kind)
	}
	if got := strings.Join(kinds, " "); got != want || st.Failed > 0 {
		w.t.Errorf("of %q is missing %q, want %q: %+v", paths, got, want, st)
	}
}

// A check tells what a path needs, and downloads no blob. After it was brought, everything can be read
// without a registry, in this mount and in the next one.
func TestWhatWasBroughtIsReadWithoutARegistry(t *testing.T) {
	type step struct{ name, path, missing, then, shows string }
	for _, x := range []step{
		{"an image", "r/tags/v1", "blob blob blob", "r/tags/v1/rootfs/etc/version", "1"},
		{"its layers", "r/tags/v1/layers", "blob blob", "r/tags/v1/layers", ""},
		{"its tree", "r/tags/v1/rootfs", "layer", "r/tags/v1/rootfs/etc/version", "1"},
		{"a file in the top layer", "r/tags/v1/rootfs/etc/name", "layer", "r/tags/v1/rootfs/etc/name", "app"},
		{"a symlink in the tree", "r/tags/v1/rootfs/etc/alias", "layer", "r/tags/v1/rootfs/etc/alias", "name"},
		{"a directory in the tree", "r/tags/v1/rootfs/etc/", "layer", "r/tags/v1/rootfs/etc/version", "1"},
		{"one layer", "r/tags/v1/unpacked", "layer layer", "r/tags/v1/unpacked", ""},
		{"all tags", "r/tags", "blob blob blob", "r/tags/v1/rootfs/etc/version", "1"},
		{"its archive", "r/tags/v1/image.tar", "blob blob blob", "r/tags/v1/rootfs/etc/version", "1"},
	} {
		t.Run(x.name, func(t *testing.T) {
			s := registrytest.Start(t, registrytest.Options{})
			pushImage(t, s, "v1", nil, archiveOf(t, "etc/", "etc/version=1"), archiveOf(t, "etc/", "etc/name=app", "etc/alias->name"))
			dir := t.TempDir()
			w := walkAt(t, s, dir)
			s.Forget()
			w.missing(x.missing, x.path)
			if s.Count("GET blob") > 0 {
				t.Errorf("a check sent %q", s.Asked())
			}
			if st := w.prefetch(prefetch.Ask{}, x.path); st.Failed != 0 || st.Found == 0 || st.Here != st.Found || st.DoneBytes != st.TotalBytes {
				t.Fatalf("bringing it: %+v", st)
			}
			w.missing("", x.path)
			s.Gone()
			w.passed.Add(int64(time.Hour))
			if x.shows != "" {
				if got, err := w.readThrough(x.then); got != x.shows || err != nil {
					t.Errorf("without the registry %s shows %q, %v; want %q", x.then, got, err, x.shows)
				}
			}
			w.missing("", x.path)
			s.Back()
		})
	}
}

// readThrough reads a file, and follows symlinks on the way to it.
func (w *walked) readThrough(path string) (string, error) {
	follow := &walker{tree: w.Tree, within: func(*treeDir) {}}
	dir, name := filepath.Split(path)
	_, e, err := follow.follow(w.t.Context(), ways{w.root}, w.host+"/"+dir)
	if err != nil {
		return "", err
	}
	c, err := e.(node.Directory).Lookup(w.t.Context(), name)
	if err != nil {
		return "", err
	}
	if l, ok := c.Entry.(node.Symlink); ok {
		return l.Target(), nil
	}
	opened, err := c.Entry.(node.File).Open(w.t.Context(), caller.Caller{})
	if err != nil {
		return "", err
	}
	defer opened.Close()
	b := make([]byte, c.Attr().Size)
	n, err := opened.ReadAt(w.t.Context(), caller.Caller{}, b, 0)
	return string(b[:n]), err
}

// An ask for an index brings the child for the mount's platform, or for the platform that the ask
// names, or all children.
func TestTheImageOfOnePlatformIsBrought(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	index := v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex}
	for _, arch := range []string{"amd64", "arm64"} {
		p := pushImage(t, s, arch, nil, archiveOf(t, "arch="+arch))
		index.Manifests = append(index.Manifests, v1.Descriptor{
			MediaType: v1.MediaTypeImageManifest, Digest: p.digest, Size: int64(len(s.ReadManifest("r", arch))),
			Platform: &v1.Platform{OS: "linux", Architecture: arch},
		})
	}
	raw, err := json.Marshal(index)
	if err != nil {
		t.Fatal(err)
	}
	s.Manifest("r", "v1", index.MediaType, raw)
	w := walk(t, s, t.TempDir(), Options{Platform: v1.Platform{OS: "linux", Architecture: "arm64"}})
	for _, x := range []struct {
		platform string
		found    int
		then     string
	}{
		{"", 4, "arm64"}, // index, manifest, config, layer
		{"linux/amd64", 4, "amd64"},
		{"all", 7, ""},
	} {
		if st := w.prefetch(prefetch.Ask{Platform: x.platform}, "r/tags/v1"); st.Found != x.found || st.Failed != 0 || st.Here != st.Found {
			t.Errorf("for the platform %q: %+v, want %d items", x.platform, st, x.found)
		}
	}
	st := w.prefetch(prefetch.Ask{Platform: "linux/s390x"}, "r/tags/v1")
	if st.Failed != 1 || st.Failures[0].Errno != "ENOENT" || !strings.Contains(st.Failures[0].Cause, "no image for linux/s390x") {
		t.Errorf("for a platform that it lacks: %+v", st)
	}
	s.Gone()
	if got, err := w.readThrough("r/tags/v1/platforms/linux-amd64/rootfs/arch"); got != "amd64" || err != nil {
		t.Errorf("without the registry: %q, %v", got, err)
	}
	s.Back()
}

// What can't be brought is told to the program, with its errno and hint, and in errors.jsonl. The rest
// is brought.
func TestWhatCannotBeBroughtIsTold(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	p := pushImage(t, s, "v1", nil, archiveOf(t, "a=1"), archiveOf(t, "b=2"))
	s.On("GET blob "+p.layers[0].String(), registrytest.Refuse(http.StatusForbidden, "DENIED"))
	w := walkAt(t, s, t.TempDir())
	for path, errno := range map[string]string{
		"r/tags/none": "ENOENT", "r": "EINVAL", "": "EINVAL", "r/upload": "EINVAL", "r/blobs/sha256": "EINVAL",
		"r/tags/v1/manifest.json/x": "ENOTDIR", "../../x": "ENOENT",
	} {
		st := w.prefetch(prefetch.Ask{}, path)
		// The path stands beside the cause, and not in it too.
		if st.Failed != 1 || st.Failures[0].Errno != errno || st.Failures[0].Cause == "" || strings.Contains(st.Failures[0].Cause, strings.Trim(w.host+"/"+path, "/")) {
			t.Errorf("%q: %+v, want %s", path, st, errno)
		}
	}
	st := w.prefetch(prefetch.Ask{}, "r/tags/v1")
	if st.Failed != 1 || st.Failures[0].Errno != "EACCES" || st.Failures[0].Hint == "" || st.Here != 3 || st.Found != 4 {
		t.Errorf("an image of which one layer is refused: %+v", st)
	}
	if last := w.jsonl(); !strings.Contains(string(last), `"op":"prefetch","errno":"EACCES"`) {
		t.Errorf("errors.jsonl has %s", last)
	}
	w.missing("blob", "r/tags/v1")
}

// A manifest that promises more bytes than there can be makes no negative sum of them.
func TestHugePromisesAreSummedUp(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	m := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, Config: v1.DescriptorEmptyJSON}
	s.Blob("r", m.Config.Data)
	for _, text := range []string{"a", "b"} {
		m.Layers = append(m.Layers, v1.Descriptor{MediaType: "application/x", Digest: digest.FromString(text), Size: math.MaxInt64})
	}
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	s.Manifest("r", "v1", m.MediaType, raw)
	st := walkAt(t, s, t.TempDir()).prefetch(prefetch.Ask{Check: true}, "r/tags/v1")
	if st.TotalBytes != math.MaxInt64 || st.Lacking < 2 {
		t.Errorf("it needs %d bytes, and lacks %d things: %+v", st.TotalBytes, st.Lacking, st)
	}
}

// When the file is closed, its asks end, unless they are in the background. What the mount brings keeps
// it from no end.
func TestAskingEndsWithTheProgram(t *testing.T) {
	for _, background := range []bool{false, true} {
		s := registrytest.Start(t, registrytest.Options{})
		p := pushImage(t, s, "v1", nil, archiveOf(t, "a=1"))
		release := make(chan struct{})
		held := s.On("GET blob "+p.layers[0].String(), registrytest.Hold(release))
		w := walkAt(t, s, t.TempDir())
		file := w.session()
		if errno := file.take(prefetch.Ask{Path: w.host + "/r/tags/v1", Background: background}, caller.Caller{}); errno != 0 {
			t.Fatal(errno)
		}
		for late := time.Now().Add(10 * time.Second); held.Seen() == 0 && time.Now().Before(late); {
			time.Sleep(time.Millisecond)
		}
		if st := file.read(t); st.Ended != 0 || st.Here == st.Found {
			t.Errorf("while the registry doesn't answer: %+v", st)
		}
		file.Close()
		if !background {
			if st := file.ended(t); st.Failed != 0 {
				t.Errorf("closed: %+v", st)
			}
		}
		if n := w.sessions.count(); (n == 1) != background {
			t.Errorf("background %t: %d sessions go on", background, n)
		}
		if background {
			close(release)
			if st := file.ended(t); st.Here != 3 {
				t.Errorf("in the background: %+v", st)
			}
		}
	}
}

// A job is refused what --max-download refuses to its reads, and the sentence is in errors.jsonl.
func TestAskingIsChargedToItsProgram(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	pushImage(t, s, "v1", nil, archiveOf(t, "a="+strings.Repeat("1", 4000)), archiveOf(t, "b=2"))
	w := walk(t, s, t.TempDir(), Options{MaxDownload: 1})
	file := w.session()
	defer file.Close()
	me := caller.Caller{Program: true, Thread: uint32(os.Getpid())}
	if errno := file.take(prefetch.Ask{Path: w.host + "/r/tags/v1"}, me); errno != 0 {
		t.Fatal(errno)
	}
	st := file.ended(t)
	if st.Failed != 2 || st.Failures[0].Errno != "EDQUOT" { // the first blob may be of any size
		t.Errorf("it ended with %+v", st)
	}
	if text := string(w.jsonl()); strings.Count(text, "EDQUOT") != 1 || !strings.Contains(text, "--max-download allows") {
		t.Errorf("errors.jsonl has %s", text)
	}
}

// No other ioctl is taken, on this file or on another one.
func TestOtherIoctlsAreRefused(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Image("r", "v1", []byte("one"))
	k := walkAt(t, s, t.TempDir()).asKernel()
	for _, path := range []string{".ocifs/prefetch", ".ocifs/version"} {
		o := k.open(path)
		in := fuse.IoctlIn{InHeader: fuse.InHeader{NodeId: o.node}, Fh: o.fh, Cmd: 0x80086601} // FS_IOC_GETFLAGS
		if st := k.raw.Ioctl(nil, &in, nil, &fuse.IoctlOut{}, make([]byte, 8)); st != fuse.Status(syscall.ENOTTY) {
			t.Errorf("FS_IOC_GETFLAGS on %s: %v, want ENOTTY", path, st)
		}
	}
}
