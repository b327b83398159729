package registry

import (
	"slices"
	"testing"

	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// quay starts a registry with the token endpoint of Quay, which lets jane in.
func quay(t *testing.T) (*registrytest.Server, *Client) {
	t.Helper()
	o := janes(true)
	o.Login.QuayScopes = true
	s := registrytest.Start(t, o)
	return s, knowing(t, Options{Credentials: creds{"": jane}}, quick(), s)
}

// Quay's token endpoint answers 400 to the action delete. Deleting asks for push there, and asks
// for delete once.
//
// Behaviour: auth.quay
func TestWhatIsDeletedAtQuayIsDeletedByTheRightToPush(t *testing.T) {
	s, c := quay(t)
	for _, tag := range []string{"v1", "v2"} {
		s.Image("a/b", tag, []byte(tag))
	}
	if _, err := c.Manifest(t.Context(), in(s), "v1"); err != nil {
		t.Fatal(err)
	}
	for _, tag := range []string{"v1", "v2"} {
		s.Forget()
		if err := c.DeleteTag(t.Context(), in(s), tag); err != nil {
			t.Fatal(err)
		}
		if got := s.Count("GET token"); got > 2 || tag == "v2" && got != 0 {
			t.Errorf("deleting %s cost %d tokens", tag, got)
		}
	}
	other := ref.Repository{Host: s.Host, Path: "c/d"}
	s.Image("c/d", "v1", []byte("x"))
	s.Forget()
	if err := c.DeleteTag(t.Context(), other, "v1"); err != nil {
		t.Fatal(err)
	}
	for _, q := range s.Requests() {
		if q.Kind == "token" && slices.Contains(q.Form["scope"], "repository:c/d:pull,delete") {
			t.Error("delete is asked for again, which this endpoint doesn't take")
		}
	}
}

// A ping of the API needs no scope, and Quay calls any but those of repositories bad.
//
// Behaviour: auth.quay
func TestAGoodPasswordIsCalledGoodAtQuay(t *testing.T) {
	s, c := quay(t)
	host := ref.Repository{Host: s.Host}
	resp, err := c.Do(t.Context(), host, Request{})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if account, want := c.Account(host), jane.Account(); account != want {
		t.Errorf("logged in as %q, want %q", account, want)
	}
	if got := s.Count("GET token"); got != 1 {
		t.Errorf("%d tokens, want 1", got)
	}
}
