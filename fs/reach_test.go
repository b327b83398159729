package fs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// answering is a registry that answers what it is told to, and 404 for the rest.
type answering struct {
	*httptest.Server
	host string

	mu    sync.Mutex
	has   map[string]http.HandlerFunc // by path
	all   http.HandlerFunc            // in place of any answer
	asked map[string]int              // by method and path
}

func startAnswering(t *testing.T) *answering {
	a := &answering{has: map[string]http.HandlerFunc{}, asked: map[string]int{}}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	a.host = strings.TrimPrefix(a.URL, "http://")
	return a
}

func (a *answering) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.asked[r.Method+" "+r.URL.RequestURI()]++
	h := a.all
	if h == nil {
		h = a.has[r.URL.RequestURI()]
	}
	a.mu.Unlock()
	if h == nil {
		h = refuse(http.StatusNotFound)
	}
	h(w, r)
}

func refuse(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

// failing is a failure that no client tries to wait for.
var failing = refuse(http.StatusInsufficientStorage)

func (a *answering) set(path string, h http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.has["/v2/"+path] = h
}

// clear has everything answered by 404.
func (a *answering) clear() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.has)
}

// setAll has everything answered by h; nil ends that.
func (a *answering) setAll(h http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = h
}

func (a *answering) count(request string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked[request]
}

func bytesOf(mediaType string, b []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		w.Header().Set("Content-Length", strconv.Itoa(len(b)))
		w.Write(b)
	}
}

func jsonOf(mediaType string, v any) http.HandlerFunc {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return bytesOf(mediaType, b)
}

func (a *answering) catalog(paths ...string) {
	a.set("_catalog", jsonOf("application/json", map[string]any{"repositories": paths}))
}

func (a *answering) tags(repo string, names ...string) {
	a.set(repo+"/tags/list", jsonOf("application/json", map[string]any{"name": repo, "tags": names}))
}

// image gives a repository an image of one layer under a tag.
func (a *answering) image(repo, tag, content string) *registry.Manifest {
	blob := func(mediaType, s string) v1.Descriptor {
		d := digest.FromString(s)
		a.set(repo+"/blobs/"+d.String(), bytesOf("application/octet-stream", []byte(s)))
		return v1.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(s))}
	}
	config := blob(v1.MediaTypeImageConfig, `{"architecture":"`+content+`"}`)
	raw, err := json.Marshal(v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest,
		Config: config, Layers: []v1.Descriptor{blob(v1.MediaTypeImageLayer, content)},
	})
	if err != nil {
		panic(err)
	}
	m, err := registry.ParseManifest(raw, v1.MediaTypeImageManifest, "")
	if err != nil {
		panic(err)
	}
	for _, reference := range []string{tag, m.Digest.String()} {
		a.set(repo+"/manifests/"+reference, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Docker-Content-Digest", m.Digest.String())
			bytesOf(v1.MediaTypeImageManifest, raw)(w, r)
		})
	}
	return m
}

// walked is a tree that is walked without a kernel.
type walked struct {
	*Tree
	t    *testing.T
	host string // as the tree spells it
}

// walk makes a tree of all registries for which nothing that a registry says of tags
// and lists lasts, unless o has it otherwise.
func walk(t *testing.T, a *answering, cacheDir string, o Options) *walked {
	t.Helper()
	store, err := cache.Open(cacheDir, cache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	client := registry.New(registry.Options{PlainHTTP: []string{a.host}, RetryMaxWait: 1})
	o.Client, o.Store = client, store
	if o.TagTTL == 0 {
		o.TagTTL = 1
	}
	if o.ListTTL == 0 {
		o.ListTTL = 1
	}
	tree, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tree.Close(context.Background()); err != nil { // the test's own has ended
			t.Error(err)
		}
		client.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return &walked{tree, t, hostName(a.host)}
}

// to walks along a path below the host.
func (w *walked) to(path string) (entry, error) {
	at := entry(w.root)
	for name := range strings.SplitSeq(strings.TrimSuffix(w.host+"/"+path, "/"), "/") {
		ctx, cancel := w.bound(w.t.Context())
		c, err := at.(directory).lookup(ctx, name)
		cancel()
		if err != nil {
			return nil, err
		}
		at = c.entry
	}
	return at, nil
}

// shows gives what is at a path: the names in a directory, or the bytes of a file.
func (w *walked) shows(path string) (string, error) {
	e, err := w.to(path)
	if err != nil {
		return "", err
	}
	switch e := e.(type) {
	case directory:
		l, err := e.list(w.t.Context())
		return strings.Join(l.names, " "), err
	case file:
		c, err := e.open(w.t.Context())
		if err != nil {
			return "", err
		}
		defer c.close()
		b := make([]byte, e.stat().size)
		n, err := c.readAt(w.t.Context(), b, 0)
		return string(b[:n]), err
	}
	return e.(symlink).target(), nil
}

// want checks what is at a path.
func (w *walked) want(path, want string) {
	w.t.Helper()
	if got, err := w.shows(path); got != want || err != nil {
		w.t.Errorf("%s shows %q, %v; want %q", path, got, err, want)
	}
}

// fails checks with what a path can't be shown.
func (w *walked) fails(path string, want error) {
	w.t.Helper()
	if got, err := w.shows(path); !errors.Is(err, want) {
		w.t.Errorf("%s shows %q, %v; want %v", path, got, err, want)
	}
}

// told gives the paths of which errors.jsonl says that what was known is shown, each
// as often as it does.
func (w *walked) told() map[string]int {
	told := map[string]int{}
	for line := range bytes.Lines(w.failures.jsonl()) {
		var f failure
		if err := json.Unmarshal(line, &f); err != nil {
			w.t.Fatal(err)
		}
		if strings.HasPrefix(f.Cause, "showing ") {
			if f.Errno != errnoName(remoteIO) || f.Hint == "" || f.Op == "" {
				w.t.Errorf("told: %+v", f)
			}
			told[strings.TrimPrefix(f.Path, w.host)]++
		}
	}
	return told
}

// ages has the time be over of all that is believed.
func (w *walked) ages() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, b := range w.seen {
		b.expires = time.Time{}
		w.seen[name] = b
	}
	for _, h := range w.hosts {
		h.mu.Lock()
		h.last.expires, h.failed = time.Time{}, time.Time{}
		h.mu.Unlock()
	}
	for _, r := range w.repositories {
		r.mu.Lock()
		r.names.expires, r.refusal = time.Time{}, refusal{}
		for tag, p := range r.tags {
			p.shown = time.Time{}
			r.tags[tag] = p
		}
		r.mu.Unlock()
		for _, o := range r.known.lru.Keys() {
			p, _ := r.known.told(o)
			p.expires = time.Now().Add(-time.Minute)
			r.known.lru.Add(o, p)
		}
	}
	for _, k := range w.closures.Keys() {
		c, _ := w.closures.Peek(k)
		aged := *c
		aged.expires = time.Time{}
		w.closures.Add(k, &aged)
	}
	for _, s := range w.referrers.kept.lru.Keys() {
		rs := w.referrers.kept.get(s)
		rs.expires = time.Time{}
		w.referrers.kept.add(s, rs)
	}
}

// What was seen is shown while its registry fails, and told once; what wasn't seen is
// the errno of the cause, and never missing. Afterwards the registry is believed.
//
// Behaviour: fail.stale
func TestWhatIsKnownOutlivesItsRegistry(t *testing.T) {
	a := startAnswering(t)
	m := a.image("team/app", "v1", "one")
	a.tags("team/app", "v1", "v2")
	a.catalog("team/app", "team/app/sub", "other")
	referrer := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, ArtifactType: "a/b", Digest: digest.FromString("referrer"), Size: 3}
	index := func(ds ...v1.Descriptor) http.HandlerFunc {
		return jsonOf(v1.MediaTypeImageIndex, v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: ds})
	}
	a.set("team/app/referrers/"+m.Digest.String(), index(referrer))
	loose := digest.FromString("loose")
	a.set("team/app/blobs/"+loose.String(), bytesOf("application/octet-stream", []byte("loose")))

	w := walk(t, a, t.TempDir(), Options{})
	image := "blobs config.json digest index.json layers manifest.json oci-layout referrers"
	seen := map[string]string{
		"":         "other team",
		"team":     "app",
		"team/app": "blobs manifests referrers sub tags upload",
		"team/app/tags/v1/layers/00-" + m.Layers[0].Digest.Encoded()[:12] + ".tar": "../blobs/" + hexPath(m.Layers[0].Digest),
		"team/app/tags":                                    "v1 v2",
		"team/app/tags/v1":                                 image,
		"team/app/tags/v1/manifest.json":                   string(m.Raw),
		"team/app/manifests/" + hexPath(m.Digest):          image,
		"team/app/blobs/" + hexPath(m.Layers[0].Digest):    "one",
		"team/app/blobs/" + hexPath(loose):                 "loose",
		"team/app/referrers/" + hexPath(m.Digest):          "a_b index.json",
		"team/app/referrers/" + hexPath(m.Digest) + "/a_b": "sha256-" + referrer.Digest.Encoded(),
	}
	paths := slices.Sorted(maps.Keys(seen))
	for _, path := range paths {
		w.want(path, seen[path])
	}
	if told := w.told(); len(told) > 0 {
		t.Fatalf("told while all is well: %v", told)
	}

	a.setAll(failing)
	w.ages()
	for range 3 {
		for _, path := range paths {
			w.want(path, seen[path])
		}
	}
	w.want("team/app/blobs/"+hexPath(m.Digest), string(m.Raw)) // which is shown there as well
	told := w.told()
	for _, path := range []string{
		"", "/team/app", "/team/app/tags", "/team/app/tags/v1", "/team/app/referrers/" + hexPath(m.Digest),
	} {
		if told[path] != 1 {
			t.Errorf("of %s it is told %d times that it is shown as it was, want once: %v", path, told[path], told)
		}
	}
	for _, d := range []string{"/manifests/" + hexPath(m.Digest), "/blobs/" + hexPath(loose)} {
		if told["/team/app"+d] == 0 {
			t.Errorf("of %s it isn't told that it is shown as it was: %v", d, told)
		}
	}
	none := hexPath(digest.FromString("none"))
	for _, path := range []string{
		"team/app/tags/v3", "team/app/manifests/" + none, "team/app/blobs/" + none, "team/app/referrers/" + none,
		"team/none", "team/none/tags", "team/app/tags/v2/manifest.json",
	} {
		w.fails(path, registry.ErrServer)
	}
	w.ages()
	if _, err := w.to("team/app/tags/v2"); err != nil {
		t.Errorf("a tag that a listing named: %v", err)
	}

	a.setAll(nil)
	w.ages()
	moved := a.image("team/app", "v1", "two")
	a.tags("team/app", "v1")
	a.catalog("other")
	a.set("team/app/referrers/"+m.Digest.String(), index())
	a.set("team/app/blobs/"+loose.String(), nil)
	w.want("team/app/tags/v1/manifest.json", string(moved.Raw))
	w.want("team/app/tags", "v1")
	w.want("team/app/referrers/"+hexPath(m.Digest), "index.json")
	w.fails("team/app/blobs/"+hexPath(loose), registry.ErrNotFound)
}

// After a restart a tag that was read is shown whole with its registry gone; what the
// registry would have to confirm is the errno of the cause.
//
// Behaviour: fail.stale
func TestATagOutlivesAMountAndItsRegistry(t *testing.T) {
	a, dir := startAnswering(t), t.TempDir()
	m := a.image("team/app", "v1", "one")
	a.tags("team/app", "v1")
	t.Run("before", func(t *testing.T) {
		w := walk(t, a, dir, Options{})
		for _, d := range append(m.Blobs(), m.Descriptor()) {
			if _, err := w.shows("team/app/tags/v1/blobs/" + hexPath(d.Digest)); err != nil {
				t.Error(err)
			}
		}
	})
	a.Close()
	w := walk(t, a, dir, Options{})
	for _, path := range []string{"", "team/app", "team/app/tags", "team/app/manifests/" + hexPath(m.Digest), "team/app/blobs/" + hexPath(m.Layers[0].Digest), "team/app/referrers/" + hexPath(m.Digest)} {
		_, err := w.shows(path)
		if got := judge(t.Context(), err).errno; got != syscall.EHOSTUNREACH {
			t.Errorf("%s: %v, %v", path, got, err)
		}
	}
	w.want("team/app/tags/v1", "blobs config.json digest index.json layers manifest.json oci-layout referrers")
	w.want("team/app/tags/v1/manifest.json", string(m.Raw))
	w.want("team/app/tags/v1/digest", m.Digest.String()+"\n")
	w.want("team/app/tags/v1/blobs/"+hexPath(m.Digest), string(m.Raw))
	w.want("team/app/tags/v1/blobs/"+hexPath(m.Layers[0].Digest), "one")
	w.want("team/app/tags/v1/config.json", "blobs/"+hexPath(m.Config.Digest))
}

// What a registry has denied since isn't shown when it is out of reach.
//
// Behaviour: fail.stale
func TestWhatWasDeniedIsNotShown(t *testing.T) {
	a := startAnswering(t)
	a.tags("team/app", "v1")
	m := a.image("team/app", "v1", "one")
	a.image("team/app", "v2", "one")
	w := walk(t, a, t.TempDir(), Options{})
	w.want("team/app/tags/v2/digest", m.Digest.String()+"\n")
	layer := hexPath(m.Layers[0].Digest)
	paths := []string{"team/app/tags/v1", "team/app/manifests/" + hexPath(m.Digest), "team/app/blobs/" + layer, "team/app"}
	for _, path := range paths {
		if _, err := w.shows(path); err != nil {
			t.Fatal(err)
		}
	}
	w.ages()
	a.clear()
	a.catalog("other")
	a.set("team/app/tags/list", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"errors":[{"code":"NAME_UNKNOWN"}]}`)
	})
	for _, path := range paths {
		w.fails(path, registry.ErrNotFound)
	}
	w.ages()
	a.setAll(failing)
	for _, path := range append(paths, "team/app/tags/v2") { // whose manifest it was
		w.fails(path, registry.ErrServer)
	}
}

// Those who asked at the same time, in vain, tell it once, and none asks again for a
// moment.
func TestAnOldAnswerIsToldOnce(t *testing.T) {
	b := believe(0)
	if !b.showOn() || b.showOn() || !b.believed() || !b.old {
		t.Errorf("%+v", b)
	}
}

// What was pushed here is in the lists that are shown while the registry is out of
// reach, and what no list says any more isn't shown.
//
// Behaviour: fail.stale
func TestWhatWasPushedIsShown(t *testing.T) {
	a := startAnswering(t)
	a.tags("team/app", "v1")
	m := a.image("team/app", "v1", "one")
	a.set("team/app/referrers/"+m.Digest.String(), jsonOf(v1.MediaTypeImageIndex, v1.Index{MediaType: v1.MediaTypeImageIndex}))
	w := walk(t, a, t.TempDir(), Options{})
	w.want("team/app/tags", "v1")
	w.want("team/app/referrers/"+hexPath(m.Digest), "index.json")

	r := ref.Repository{Host: a.host, Path: "team/app"}
	pushed := *m
	pushed.Subject = &v1.Descriptor{Digest: m.Digest}
	pushTree{w.Tree}.PushedManifest(r, &pushed, "v0")
	a.setAll(failing)
	w.ages()
	w.want("team/app/tags", "v0 v1")
	w.fails("team/app/referrers/"+hexPath(m.Digest), registry.ErrServer)
	w.repository(r).dropTags("v1")
	w.want("team/app/tags", "v0")
}

// A push doesn't rely on what its registry can't confirm.
func TestAPushIsNotShownWhatWasKnown(t *testing.T) {
	a := startAnswering(t)
	d := digest.FromString("loose")
	a.set("team/app/blobs/"+d.String(), bytesOf("application/octet-stream", []byte("loose")))
	m := a.image("team/app", "v1", "one")
	w := walk(t, a, t.TempDir(), Options{})
	w.want("team/app/blobs/"+hexPath(d), "loose")
	w.want("team/app/tags/v1/manifest.json", string(m.Raw))
	a.setAll(failing)
	w.ages()
	w.want("team/app/blobs/"+hexPath(d), "loose")
	w.want("team/app/tags/v1/manifest.json", string(m.Raw))
	image, err := w.to("team/app/tags/v1")
	if err != nil {
		t.Fatal(err)
	}
	w.manifests.remove(m.Digest) // it comes from the disk
	if _, err := image.(directory).list(t.Context()); err != nil {
		t.Error(err)
	}
	for _, d := range []digest.Digest{d, m.Layers[0].Digest} {
		if n, err := (pushTree{w.Tree}).Blob(t.Context(), ref.Repository{Host: a.host, Path: "team/app"}, d); !errors.Is(err, registry.ErrServer) {
			t.Errorf("a push is told of %d bytes, %v", n, err)
		}
	}
}

// A registry that takes the request and says nothing is one that is out of reach: what
// is known is shown before the lookup's time is over.
//
// Behaviour: fail.stale
func TestSilenceIsOutOfReach(t *testing.T) {
	a := startAnswering(t)
	m := a.image("team/app", "v1", "one")
	w := walk(t, a, t.TempDir(), Options{LookupBound: 2 * time.Second})
	w.want("team/app/tags/v1/manifest.json", string(m.Raw))
	w.ages()
	end := make(chan struct{})
	defer close(end)
	a.setAll(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-end:
		}
	})
	w.want("team/app/tags/v1/manifest.json", string(m.Raw))
	if _, err := w.to("team/app/manifests/" + hexPath(m.Digest)); err != nil {
		t.Error(err)
	}
	_, err := w.to("team/app/tags/v2")
	if got := judge(t.Context(), err).errno; got != syscall.ETIMEDOUT {
		t.Errorf("what isn't known is %v, %v", got, err)
	}
}

// A registry that told a blob's size wrong once is asked again when that shows.
func TestALieAboutASizeIsForgotten(t *testing.T) {
	a := startAnswering(t)
	for _, lie := range []string{"", "trut", "truth, and more"} {
		d := digest.FromString("truth")
		whole := bytesOf("application/octet-stream", []byte("truth"))
		path := fmt.Sprint("team/app", len(lie))
		a.set(path+"/blobs/"+d.String(), func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				bytesOf("application/octet-stream", []byte(lie))(w, r)
				return
			}
			whole(w, r)
		})
		w := walk(t, a, t.TempDir(), Options{})
		if got, err := w.shows(path + "/blobs/" + hexPath(d)); judge(t.Context(), err).errno != syscall.EBADMSG {
			t.Errorf("said to be %q it shows %q, %v", lie, got, err)
		}
		a.set(path+"/blobs/"+d.String(), whole)
		w.want(path+"/blobs/"+hexPath(d), "truth")
	}
}
