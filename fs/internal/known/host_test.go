package known

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ocifs/ocifs/registry/registrytest"
)

// A catalog that failed isn't asked for again by callers that can do without it, and one that
// takes long is for the next caller.
//
// Behaviour: list.catalog
func TestARepositoryDoesNotWaitForTheCatalog(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.SetTags("team/app", "v1")
	fails := s.On("GET catalog", registrytest.Status(http.StatusInsufficientStorage, ""))
	b := begin(t, s, Options{ListTTL: time.Hour})
	h := b.Host(s.Host)
	looks := func(below string) {
		t.Helper()
		ns, err := h.Look(t.Context(), "team/app")
		if got := strings.Join(ns.Below, " "); !ns.IsRepository || got != below || err != nil {
			t.Errorf("it is %+v, %v, want a repository with %q below", ns, err, below)
		}
	}
	for range 3 {
		looks("")
	}
	if n := s.Count("GET catalog"); n != 1 {
		t.Errorf("a catalog that failed was asked for %d times, want once", n)
	}

	b.passed += failedFor + 2*time.Hour
	fails.End()
	release := make(chan struct{})
	s.SetCatalog("team/app/sub")
	s.On("GET catalog", registrytest.Hold(release))
	b.patience = 1
	for range 3 {
		looks("")
	}
	close(release)
	if _, err := h.catalog(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.patience = catalogPatience
	looks("sub")
	if n := s.Count("GET catalog"); n != 2 {
		t.Errorf("a catalog that takes long was asked for %d times, want once", n-1)
	}
}

// A host that can't be reached, and of which nothing is known, takes no other's place.
func TestAnUnknownHostKeepsNothing(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.On("* *", registrytest.Status(http.StatusInsufficientStorage, ""))
	b := begin(t, s, Options{ListTTL: time.Hour})
	if _, err := b.Host(s.Host).Look(t.Context(), ""); err == nil {
		t.Error("it is listed")
	}
	if n := b.catalogs.len(); n != 0 {
		t.Errorf("%d catalogs are kept", n)
	}
}
