package registrytest

import (
	"errors"
	"net"
	"slices"
	"testing"
)

// A name server fails for a while, in a way that calls itself temporary, and then knows the
// name.
func TestANameServerFailsForAWhile(t *testing.T) {
	n := StartNames(t, 1000)
	_, err := n.Resolver().LookupHost(t.Context(), "registry.example.")
	var dns *net.DNSError
	if !errors.As(err, &dns) || !dns.IsTemporary || dns.IsNotFound {
		t.Errorf("%#v", err)
	}
	n.Fail(0)
	got, err := n.Resolver().LookupHost(t.Context(), "registry.example.")
	if err != nil || !slices.Contains(got, "127.0.0.1") || n.Asked() == 0 {
		t.Errorf("%q, %v after %d questions", got, err, n.Asked())
	}
}
