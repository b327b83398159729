package known

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// brokenTags is a repository whose list of tags has four pages, and breaks off at the third.
func brokenTags(t *testing.T, o Options) (*registrytest.Server, *begun, Repository, *registrytest.Rule) {
	t.Helper()
	s := registrytest.Start(t, registrytest.Options{Traits: registrytest.Traits{Page: 2}})
	s.Image("team/app", "new", []byte("one"))
	s.SetTags("team/app", "a", "b", "c", "d", "e", "f", "new")
	b := begin(t, s, o)
	down := s.On("GET tags", func(x *registrytest.Exchange, next func() *registrytest.Answer) *registrytest.Answer {
		if x.URL.Query().Get("last") == "d" {
			return registrytest.Plain(http.StatusBadGateway, "")
		}
		return next()
	})
	return s, b, b.Repository(ref.Repository{Host: s.Host, Path: "team/app"}), down
}

var allBroken = []string{"a", "b", "c", "d", "e", "f", "new"}

// A list of tags that breaks off is an error, which tells how far it came. The next listing goes
// on after what came, and no page is got twice.
//
// Behaviour: list.broken
func TestAListThatBrokeOffIsGoneOnWith(t *testing.T) {
	s, _, r, down := brokenTags(t, Options{ListTTL: time.Hour, TagTTL: time.Hour})
	for range 2 { // it fails at the same page again
		if l, err := r.Tags(t.Context()); !errors.Is(err, registry.ErrServer) || !strings.Contains(err.Error(), "4 tags came") {
			t.Errorf("%q, %v", l.Names, err)
		}
	}
	s.Want("GET tags", "GET tags", "GET tags", "GET tags")
	down.End()
	l, err := r.Tags(t.Context())
	if err != nil || !slices.Equal(l.Names, allBroken) {
		t.Errorf("%q, %v", l.Names, err)
	}
	s.Want("GET tags", "GET tags", "GET tags", "GET tags", "GET tags", "GET tags")
}

// The part of a list that came says of no tag that it isn't there.
//
// Behaviour: list.broken
func TestAPartOfAListDeniesNoTag(t *testing.T) {
	_, _, r, _ := brokenTags(t, Options{ListTTL: time.Hour, TagTTL: time.Hour})
	if _, err := r.Tags(t.Context()); err == nil {
		t.Fatal("it doesn't break off")
	}
	if got, err := r.LookUpTag(t.Context(), "new"); got.Digest == "" || err != nil {
		t.Errorf("a tag of a later page: %+v, %v", got, err)
	}
}

// A later page that is refused is an error: the registry does list tags, and the tags that were
// seen don't take their place.
//
// Behaviour: list.broken
func TestARefusedPageIsNoRefusalOfTheList(t *testing.T) {
	s, _, r, down := brokenTags(t, Options{ListTTL: time.Hour, TagTTL: time.Hour})
	if _, err := r.LookUpTag(t.Context(), "new"); err != nil {
		t.Fatal(err)
	}
	refused := s.Nth(3, "GET tags", registrytest.Status(http.StatusForbidden, ""))
	if l, err := r.Tags(t.Context()); !errors.Is(err, registry.ErrDenied) {
		t.Errorf("%q, %v", l.Names, err)
	}
	refused.End()
	down.End()
	if l, err := r.Tags(t.Context()); err != nil || !slices.Equal(l.Names, allBroken) {
		t.Errorf("%q, %v", l.Names, err)
	}
}

// Whoever interrupts a listing throws no page away.
//
// Behaviour: list.broken
func TestAnInterruptKeepsTheListSoFar(t *testing.T) {
	s, _, r, down := brokenTags(t, Options{ListTTL: time.Hour, TagTTL: time.Hour})
	down.End()
	slow := s.Nth(3, "GET tags", registrytest.Hold(nil))
	ctx, interrupt := context.WithCancel(t.Context())
	go func() {
		for s.Count("GET tags") < 3 {
			time.Sleep(time.Millisecond)
		}
		interrupt()
	}()
	if _, err := r.Tags(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	slow.End()
	for r.rs.tagParts.len() == 0 { // the request ends beside
		time.Sleep(time.Millisecond)
	}
	l, err := r.Tags(t.Context())
	if err != nil || !slices.Equal(l.Names, allBroken) {
		t.Errorf("%q, %v", l.Names, err)
	}
	if n := s.Count("GET tags"); n != 5 { // three, of which one was interrupted, and two
		t.Errorf("%d pages were got", n)
	}
}

// A part isn't gone on with after its time, or after this mount changed the repository.
//
// Behaviour: list.broken
func TestAPartOfAListHasAnEnd(t *testing.T) {
	for name, end := range map[string]func(*begun, Repository){
		"its time passed":        func(b *begun, _ Repository) { b.passed += time.Hour + time.Second },
		"a push of this mount":   func(b *begun, r Repository) { b.changes.changed(r.Repository) },
		"the clock was set back": func(b *begun, _ Repository) { b.passed -= time.Hour },
	} {
		t.Run(name, func(t *testing.T) {
			s, b, r, down := brokenTags(t, Options{ListTTL: time.Hour, TagTTL: time.Hour})
			if _, err := r.Tags(t.Context()); err == nil {
				t.Fatal("it doesn't break off")
			}
			down.End()
			end(b, r)
			l, err := r.Tags(t.Context())
			if err != nil || !slices.Equal(l.Names, allBroken) {
				t.Errorf("%q, %v", l.Names, err)
			}
			if n := s.Count("GET tags"); n != 3+4 {
				t.Errorf("%d pages were got", n)
			}
		})
	}
}

// A list whose first page is older than lists may be is shown, and denies no tag.
//
// Behaviour: list.broken
func TestASlowListDeniesNoTag(t *testing.T) {
	_, b, r, down := brokenTags(t, Options{ListTTL: time.Minute, TagTTL: time.Hour})
	for range 2 {
		if _, err := r.Tags(t.Context()); err == nil {
			t.Fatal("it doesn't break off")
		}
		b.passed += 40 * time.Second
	}
	down.End()
	l, err := r.Tags(t.Context())
	if err != nil || !slices.Equal(l.Names, allBroken) || l.lacks("other") {
		t.Errorf("%q, %v; it lacks another: %v", l.Names, err, l.lacks("other"))
	}
}
