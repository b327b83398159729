package fs

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// times gives the times of what is at paths.
func (w *walked) times(paths ...string) map[string]time.Time {
	w.t.Helper()
	times := map[string]time.Time{}
	for _, path := range paths {
		e, err := w.to(path)
		if err != nil {
			w.t.Fatalf("%s: %v", path, err)
		}
		times[path] = e.Attr().Mtime
	}
	return times
}

// The directory of a list moves when the list differs from the one before, wherever the
// change was made, and never for any other reason. To look at its time asks nobody.
func TestDirectoriesMoveWithTheirLists(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	one := oneLayer(t, s, "team/app", "v1", "one")
	paths := []string{"", "team", "team/app", "team/app/tags"}
	dir := t.TempDir()
	r := ref.Repository{Host: s.Host, Path: "team/app"}
	var before map[string]time.Time
	// look lists all directories, and checks which moved.
	look := func(w *walked, what string, moved ...string) {
		t.Helper()
		for _, path := range paths {
			if _, err := w.shows(path); err != nil {
				t.Fatalf("%s: %s: %v", what, path, err)
			}
		}
		now := w.times(paths...)
		for _, path := range paths {
			want := false
			for _, m := range moved {
				want = want || m == path
			}
			if got := now[path].After(before[path]); got != want || now[path].Before(before[path]) {
				t.Errorf("%s: %q was of %v and is of %v", what, path, before[path], now[path])
			}
		}
		before = now
	}
	t.Run("a mount", func(t *testing.T) {
		w := walk(t, s, dir, Options{})
		before = w.times(paths...)
		for path, at := range before {
			if !at.Equal(epoch) {
				t.Errorf("%q, which nobody listed, is of %v", path, at)
			}
		}
		if asked := s.Asked(); len(asked) != 0 {
			t.Errorf("to look at times asked %v", asked)
		}
		look(w, "first", paths...)
		look(w, "again")
		s.SetTags("team/app", "v1", "v2")
		look(w, "a new tag", "team/app/tags")
		s.SetCatalog("team/app", "team/app/below")
		look(w, "a repository below", "team/app")
		s.SetCatalog("team/app", "team/app/below", "team/other")
		look(w, "a repository beside", "team")
		s.SetCatalog("team/app", "team/app/below", "team/other", "other")
		look(w, "a component", "")
		out := s.On("* *", failing)
		look(w, "the registry is out of reach")
		out.End()
		look(w, "it is back")

		pushTree{w.Tree}.PushedManifest(r, one, "v2")
		look(w, "a tag that was there was pushed")
		pushTree{w.Tree}.PushedManifest(r, one, "v3")
		if now := w.times("team/app/tags")["team/app/tags"]; !now.After(before["team/app/tags"]) {
			t.Errorf("after a push it is of %v", now)
		}
		s.SetTags("team/app", "v1", "v2", "v3")
		look(w, "a tag was pushed", "team/app/tags")
		w.repository(r).TagsGone("v3")
		if now := w.times("team/app/tags")["team/app/tags"]; !now.After(before["team/app/tags"]) {
			t.Errorf("after a deletion it is of %v", now)
		}
		s.SetTags("team/app", "v1", "v2")
		look(w, "a tag was deleted", "team/app/tags")
	})
	w := walk(t, s, dir, Options{})
	for path, at := range w.times(paths...) {
		if !at.Equal(before[path]) {
			t.Errorf("%q was of %v, and is of %v after a remount", path, before[path], at)
		}
	}
	s.SetTags("team/app", "v1", "v2", "v4")
	look(w, "a tag that came while nothing was mounted", "team/app/tags")
}

// A tag that this mount pushed, or deleted, moves tags/ also where nobody has listed it;
// the listing that shows it then has nothing new.
func TestAPushMovesAListThatNobodyHasSeen(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	one := oneLayer(t, s, "team/app", "v1", "one")
	w := walk(t, s, t.TempDir(), Options{})
	r := ref.Repository{Host: s.Host, Path: "team/app"}
	last := epoch
	moves := func(what string, want bool) {
		t.Helper()
		now := w.times("team/app/tags")["team/app/tags"]
		if now.After(last) != want {
			t.Errorf("%s: it was of %v and is of %v", what, last, now)
		}
		last = now
	}
	pushTree{w.Tree}.PushedManifest(r, one, "v1")
	moves("a push", true)
	pushTree{w.Tree}.PushedManifest(r, one, "v1")
	moves("the same push", false)
	pushTree{w.Tree}.PushedManifest(r, one)
	moves("a push by digest", false)
	w.repository(r).TagsGone("v1")
	moves("a deletion", true)
	s.SetTags("team/app", "v0")
	w.want("team/app/tags", "v0")
	moves("the listing", false)
}

// A list of tags that breaks off fails ls, and a person is told how much of it came. The next ls
// goes on after that, and shows all. Until then tags are looked up as ever.
//
// Behaviour: list.broken
func TestAListOfTagsThatBreaksOffIsGoneOnWithByTheNext(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{Traits: registrytest.Traits{Page: 2}})
	for _, tag := range []string{"v1", "v2", "v3", "v4", "v5"} {
		s.Image("team/app", tag, []byte("one"))
	}
	w := walk(t, s, t.TempDir(), Options{ListTTL: time.Hour, TagTTL: time.Hour})
	if _, err := w.to("team/app/tags"); err != nil {
		t.Fatal(err)
	}
	s.Forget()
	s.Nth(2, "GET tags", registrytest.Status(http.StatusTeapot, ""))
	e, err := w.to("team/app/tags")
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.(node.Directory).List(t.Context())
	if got := w.kernel.Fail(t.Context(), e.Path(), "opendir", err); got != remoteIO {
		t.Errorf("%v: %v", got, err)
	}
	if lines := w.lines("team/app"); len(lines) != 1 || !strings.Contains(lines[0].Cause, "2 tags came") {
		t.Errorf("told: %+v", lines)
	}
	w.looksUp("team/app/tags", "v5", 0, false)
	w.want("team/app/tags", "v1 v2 v3 v4 v5")
	s.Want("GET tags", "GET tags", "GET manifest v5", "GET tags", "GET tags")
}
