package fs

import (
	"encoding/json"
	"maps"
	"net/http"
	"path"
	"syscall"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// created is the annotation where that is a time, from 1970 on.
func TestCreated(t *testing.T) {
	for said, want := range map[string]time.Time{
		"":                               epoch,
		"yesterday":                      epoch,
		"2024-02-29":                     epoch,
		"0001-01-01T00:00:00Z":           epoch,
		"1969-12-31T23:59:59Z":           epoch,
		"1970-01-01T00:00:00Z":           time.Unix(0, 0),
		"2024-02-29T12:00:00.5+02:00":    time.Date(2024, 2, 29, 10, 0, 0, 5e8, time.UTC),
		"2024-02-30T12:00:00Z":           epoch,
		"2199-01-01T00:00:00.000000001Z": time.Date(2199, 1, 1, 0, 0, 0, 1, time.UTC),
	} {
		m := &registry.Manifest{Annotations: map[string]string{v1.AnnotationCreated: said}}
		if got := created(m.Annotations); !got.Equal(want) {
			t.Errorf("%q is %v, want %v", said, got, want)
		}
	}
}

// seenAt is an entry's type and its time.
type seenAt struct {
	kind  uint32
	mtime time.Time
}

// below gives what is below a path, by path.
func (w *walked) below(at string) map[string]seenAt {
	w.t.Helper()
	e, err := w.to(at)
	if err != nil {
		w.t.Fatalf("%s: %v", at, err)
	}
	st := e.Attr()
	all := map[string]seenAt{at: {st.Mode & syscall.S_IFMT, st.Mtime}}
	d, ok := e.(node.Directory)
	if !ok {
		return all
	}
	l, err := d.List(w.t.Context())
	if err != nil {
		w.t.Fatalf("%s: %v", at, err)
	}
	for _, name := range l.Names {
		maps.Copy(all, w.below(path.Join(at, name)))
	}
	return all
}

// Times of an image are of its manifest alone: files and symlinks have what that says,
// directories and entries without a time of their own have epoch. Times that the registry
// tells, and when this mount began, show nowhere.
func TestTimesDependOnTheContentAlone(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	made := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
	plain := oneLayer(t, s, "team/app", "plain", "one")
	var m map[string]any
	if err := json.Unmarshal(plain.Raw, &m); err != nil {
		t.Fatal(err)
	}
	m["annotations"] = map[string]string{v1.AnnotationCreated: made.Format(time.RFC3339)}
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	dated, err := registry.ParseManifest(raw, v1.MediaTypeImageManifest, "")
	if err != nil {
		t.Fatal(err)
	}
	s.Manifest("team/app", "dated", v1.MediaTypeImageManifest, raw)
	lately := registrytest.With("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
	s.On("* manifest", lately)
	s.On("* blob", lately)
	w := walk(t, s, t.TempDir(), Options{})
	for image, want := range map[string]time.Time{
		"tags/plain": epoch, "manifests/" + hexPath(plain.Digest): epoch, "blobs/" + hexPath(plain.Config.Digest): epoch,
		"tags/dated": made, "manifests/" + hexPath(dated.Digest): made,
		"manifests": epoch, "blobs": epoch, "referrers": epoch,
	} {
		all := w.below("team/app/" + image)
		for path, got := range all {
			want := want
			if got.kind == syscall.S_IFDIR {
				want = epoch
			}
			if !got.mtime.Equal(want) {
				t.Errorf("%s is of %v, want %v", path, got.mtime, want)
			}
		}
		if len(all) == 0 {
			t.Errorf("%s holds nothing", image)
		}
	}
}
