package registry

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// brokenList gives the names and the last page of a list that breaks off after two of its four
// pages.
func brokenList(t *testing.T) (*registrytest.Server, *Client, ref.Repository, []string, TagPage) {
	t.Helper()
	s, c, r := reading(t, registrytest.Options{Traits: registrytest.Traits{Page: 2}})
	s.SetTags(r.Path, "a", "b", "c", "d", "e", "f", "g")
	down := s.On("GET tags", func(x *registrytest.Exchange, next func() *registrytest.Answer) *registrytest.Answer {
		if x.URL.Query().Get("last") == "d" {
			return registrytest.Plain(http.StatusNotImplemented, "")
		}
		return next()
	})
	var names []string
	var last TagPage
	for p, err := range c.TagPages(t.Context(), r) {
		if err != nil {
			break
		}
		names, last = append(names, p.Tags...), p
	}
	if !slices.Equal(names, []string{"a", "b", "c", "d"}) {
		t.Fatalf("%q came", names)
	}
	down.End()
	s.Forget()
	return s, c, r, names, last
}

// A list that broke off goes on after the last page that came: no page is got twice.
//
// Behaviour: list.broken
func TestAListGoesOnAfterItsLastPage(t *testing.T) {
	s, c, r, names, last := brokenList(t)
	for p, err := range c.TagPagesAfter(t.Context(), r, last) {
		if err != nil {
			t.Fatal(err)
		}
		names, last = append(names, p.Tags...), p
	}
	if want := []string{"a", "b", "c", "d", "e", "f", "g"}; !slices.Equal(names, want) {
		t.Errorf("%q", names)
	}
	s.Want("GET tags", "GET tags")
	for p, err := range c.TagPagesAfter(t.Context(), r, last) {
		t.Errorf("after the end: %q, %v", p.Tags, err)
	}
}

// A registry that knows no more of where a list was is asked for all of it; one that fails is an
// error, and the list can be gone on with later.
//
// Behaviour: list.broken
func TestAListWhosePlaceIsForgottenStartsOver(t *testing.T) {
	for _, status := range []int{400, 404, 410} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			s, c, r, _, last := brokenList(t)
			s.First(1, "GET tags", registrytest.Status(status, ""))
			var names []string
			for p, err := range c.TagPagesAfter(t.Context(), r, last) {
				if err != nil {
					t.Fatal(err)
				}
				names = append(names, p.Tags...)
			}
			if len(names) != 7 || s.Count("GET tags") != 5 {
				t.Errorf("%q, asked %q", names, s.Asked())
			}
		})
	}
	s, c, r, _, last := brokenList(t)
	s.On("GET tags", registrytest.Status(http.StatusForbidden, ""))
	for p, err := range c.TagPagesAfter(t.Context(), r, last) {
		if !errors.Is(err, ErrDenied) {
			t.Errorf("%q, %v", p.Tags, err)
		}
	}
	if s.Count("GET tags") != 1 {
		t.Errorf("asked %q", s.Asked())
	}
}

// The place of a list is of its repository: of another, all of the list comes.
//
// Behaviour: list.broken
func TestAPlaceIsOfItsRepository(t *testing.T) {
	s, c, r, _, last := brokenList(t)
	other := r
	other.Path = "c/d"
	s.SetTags(other.Path, "z")
	var names []string
	for p, err := range c.TagPagesAfter(t.Context(), other, last) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, p.Tags...)
	}
	if !slices.Equal(names, []string{"z"}) {
		t.Errorf("%q", names)
	}
}

// A list that broke off before its first page comes from its start, and isn't taken for an empty one.
func TestAListThatNeverCameComesFromItsStart(t *testing.T) {
	s, c, r := reading(t, registrytest.Options{})
	s.SetTags(r.Path, "a", "b")
	var last TagPage
	down := s.On("GET tags", registrytest.Status(http.StatusNotImplemented, ""))
	for p, err := range c.TagPages(t.Context(), r) {
		if last = p; err == nil {
			t.Errorf("%q came", p.Tags)
		}
	}
	down.End()
	var names []string
	for p, err := range c.TagPagesAfter(t.Context(), r, last) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, p.Tags...)
	}
	if !slices.Equal(names, []string{"a", "b"}) {
		t.Errorf("%q", names)
	}
}
