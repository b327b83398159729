package auth

import (
	"fmt"
	"testing"

	"github.com/ocifs/ocifs/registry/ref"
)

// The grants of many repositories are bounded. Those of a repository that was asked lately stay.
func TestGrantsAreBounded(t *testing.T) {
	a := &Authorizer{}
	repo := func(i int) ref.Repository { return ref.Repository{Host: "r.example", Path: fmt.Sprint("team/app", i)} }
	if got := a.Account(repo(0)); got != "" {
		t.Errorf("nobody was asked, and %q was", got)
	}
	first := a.grant(repo(0), Access{Do: Pull})
	for i := range 2 * maxGranted {
		a.grant(repo(i), Access{Do: Pull})
		a.grant(repo(i), Access{Do: Push})
		if a.grant(repo(0), Access{Do: Pull}) != first {
			t.Fatalf("after %d repositories the grant of one that is asked is gone", i)
		}
	}
	if n := a.grants.Len(); n != maxGranted {
		t.Errorf("the grants of %d repositories are kept, want %d", n, maxGranted)
	}
}
