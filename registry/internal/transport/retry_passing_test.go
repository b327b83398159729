package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/ocifs/ocifs/registry/registrytest"
)

// retrying gets a manifest by Retry over next.
func retrying(t *testing.T, next *http.Transport, url string) error {
	t.Helper()
	t.Cleanup(next.CloseIdleConnections)
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&Retry{Next: next, MaxWait: time.Minute, Pauses: []time.Duration{1, 1, 1}}).RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("status %d", resp.StatusCode)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// A stream of HTTP/2 that is reset before headers is asked for again.
//
// Behaviour: fail.passing
func TestAResetStreamIsAskedForAgain(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{TLS: true})
	s.Image("a/b", "v1")
	s.First(2, "GET manifest", registrytest.ResetStream())
	wire := s.Client().Transport.(*http.Transport)
	if err := retrying(t, wire, s.URL+"/v2/a/b/manifests/v1"); err != nil || s.Count("GET manifest") != 3 {
		t.Errorf("%v after %q", err, s.Asked())
	}
}

// A connection of HTTP/2 that goes away (GOAWAY) with requests that weren't answered: these are
// asked for again.
//
// Behaviour: fail.passing
func TestARequestOnAConnectionThatGoesAwayIsAskedForAgain(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{TLS: true})
	s.Image("a/b", "v1")
	blob := s.Blob("a/b", []byte("0123456789"))
	s.First(1, "GET manifest", registrytest.Hold(nil))
	s.On("GET blob", registrytest.GoAwayAfter(4))
	wire := s.Client().Transport.(*http.Transport)
	got := make(chan error, 1)
	go func() { got <- retrying(t, wire, s.URL+"/v2/a/b/manifests/v1") }()
	for s.Count("GET manifest") == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := retrying(t, wire, s.URL+"/v2/a/b/blobs/"+blob.String()); err == nil {
		t.Error("the connection doesn't go away")
	}
	if err := <-got; err != nil || s.Count("GET manifest") != 2 {
		t.Errorf("%v after %q", err, s.Asked())
	}
}

// The codes of a reset that are of the server's state may pass; those of the request itself come
// again, and so do failures that aren't resets.
//
// Behaviour: fail.passing
func TestACodeOfAResetTellsWhetherItMayPass(t *testing.T) {
	for code, want := range map[uint32]bool{0: true, 1: false, 2: true, 3: false, 7: true, 8: true, 11: true, 12: false, 13: false} {
		if got := isPassingError(streamError{1, code, nil}); got != want {
			t.Errorf("code %d may pass: %v", code, got)
		}
	}
	if isPassingError(errors.New("stream error: INTERNAL_ERROR")) {
		t.Error("a text is taken for a reset")
	}
}

// A name server that fails, and says that this is temporary, is asked again.
//
// Behaviour: fail.passing
func TestATemporaryFailureOfDNSIsTriedAgain(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Image("a/b", "v1")
	_, port, err := net.SplitHostPort(s.Host)
	if err != nil {
		t.Fatal(err)
	}
	names := registrytest.StartNames(t, 1000)
	failed := 0
	wire := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := (&net.Dialer{Resolver: names.Resolver()}).DialContext(ctx, network, address)
		if err != nil {
			failed++
			names.Fail(0)
		}
		return c, err
	}}
	if err := retrying(t, wire, "http://registry.example.:"+port+"/v2/a/b/manifests/v1"); err != nil || failed != 1 {
		t.Errorf("%v after %d failures", err, failed)
	}
}

// A name that doesn't exist is told at once.
//
// Behaviour: fail.passing
func TestANameThatIsNotThereIsNotTriedAgain(t *testing.T) {
	for _, c := range []struct {
		err  net.DNSError
		want bool
	}{
		{net.DNSError{Err: "no such host", IsNotFound: true}, false},
		{net.DNSError{Err: "no such host", IsNotFound: true, IsTemporary: true}, false},
		{net.DNSError{Err: "server misbehaving", IsTemporary: true}, true},
		{net.DNSError{Err: "i/o timeout", IsTimeout: true}, true},
		{net.DNSError{Err: "cannot unmarshal DNS message"}, false},
	} {
		if got := isPassingError(&net.OpError{Op: "dial", Err: &c.err}); got != c.want {
			t.Errorf("%+v may pass: %v", c.err, got)
		}
	}
}
