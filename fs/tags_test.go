package fs

import (
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// looksUp checks with what errno a path is looked up, and whether errors.jsonl tells that.
func (w *walked) looksUp(dir, name string, want syscall.Errno, told bool) {
	w.t.Helper()
	e, err := w.to(dir)
	if err != nil {
		w.t.Fatalf("%s: %v", dir, err)
	}
	before := len(w.jsonl())
	_, err = e.(node.Directory).Lookup(w.t.Context(), name)
	got := syscall.Errno(0)
	if err != nil {
		got = w.kernel.Fail(w.t.Context(), node.Join(e.Path(), name), "lookup", err)
	}
	if more := len(w.jsonl()) > before; got != want || more != told {
		w.t.Errorf("%s in %s is %v (%v), told: %v; want %v, told: %v", name, dir, got, err, more, want, told)
	}
}

// A name that a whole list lacks isn't there while the list is believed: nobody is asked.
// A person is told, but not of names that programs look for everywhere. A tag that was
// pushed or seen since is there.
func TestATagThatTheListLacksCostsNothing(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Image("team/app", "v1", []byte("one"))
	w := walk(t, s, t.TempDir(), Options{ListTTL: time.Hour, TagTTL: time.Hour})
	const tags = "team/app/tags"
	w.looksUp(tags, "v9", syscall.ENOENT, true)
	s.Image("team/app", "early", []byte("one"))
	w.looksUp(tags, "early", 0, false)
	w.want(tags, "early v1")
	s.Forget()
	for name, told := range map[string]bool{"v9": true, "HEAD": false, "Makefile": false} {
		w.looksUp(tags, name, syscall.ENOENT, told)
	}
	s.Image("team/app", "v2", []byte("one"))
	w.looksUp(tags, "v2", syscall.ENOENT, true) // until the list's time is over
	w.looksUp(tags, "early", 0, false)
	w.looksUp(tags, "v1", 0, false)
	m, err := registry.ParseManifest(s.ReadManifest("team/app", "v1"), "", "")
	if err != nil {
		t.Fatal(err)
	}
	pushTree{w.Tree}.PushedManifest(ref.Repository{Host: s.Host, Path: "team/app"}, m, "pushed")
	w.looksUp(tags, "pushed", 0, false)
	s.Want()
	w.ages()
	w.looksUp(tags, "v2", 0, false)
	s.Want("GET manifest v2")
}

// A name that programs look for everywhere costs its GET where no list is known, and a 404
// of it isn't told. It is a tag where the registry has one.
func TestANameThatProgramsLookForIsNotTold(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Image("team/app", "package.json", []byte("one"))
	w := walkAt(t, s, t.TempDir())
	for name := range probed {
		if !ref.ValidTag(name) {
			t.Errorf("%q costs nothing anyway", name)
		}
		if name != "package.json" {
			w.looksUp("team/app/tags", name, syscall.ENOENT, false)
		}
	}
	w.looksUp("team/app/tags", "package.json", 0, false)
	w.looksUp("team/app/tags", "v9", syscall.ENOENT, true)
	if got := s.Count("GET manifest"); got != len(probed)+1 {
		t.Errorf("%d requests", got)
	}
	s.On("GET manifest", registrytest.Status(http.StatusForbidden, ""))
	w.looksUp("team/app/tags", "HEAD", syscall.EACCES, true)
}

// A list that can't tell what there is makes nothing missing: one of a mirror, and one of
// a registry that can't be reached.
func TestAListThatIsNotWholeLacksNothing(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.SetTags("team/app", "v1")
	oneLayer(t, s, "team/app", "v2", "one")
	w := walk(t, s, t.TempDir(), Options{ListTTL: time.Hour})
	w.want("team/app/tags", "v1")
	w.ages()
	out := s.On("* *", failing)
	w.want("team/app/tags", "v1")
	w.looksUp("team/app/tags", "v2", remoteIO, true)
	out.End()
}
