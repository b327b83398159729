package registry

import (
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// A request of an extension goes by the client's credential, and what is refused is an error of
// its kind, with the answer's head.
func TestAnExtensionIsAskedWithTheCredential(t *testing.T) {
	s := registrytest.Start(t, janes(true))
	s.Image("a/b", "v1", []byte(layer))
	c := knowing(t, Options{Credentials: creds{"": jane}}, quick(), s)
	resp, err := c.Do(t.Context(), in(s), Request{Path: "a/b/tags/list"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || string(b) != `{"name":"a/b","tags":["v1"]}`+"\n" && string(b) != `{"name":"a/b","tags":["v1"]}` {
		t.Errorf("%q, %v", b, err)
	}
	s.On("* other", registrytest.Status(418, registrytest.Error("DENIED"), "X-Kind", "teapot"))
	resp, err = c.Do(t.Context(), in(s), Request{Method: http.MethodPost, Path: "_oci/x", Body: []byte("{}"), Header: http.Header{"Content-Type": {"application/json"}}})
	var e *Error
	if !errors.As(err, &e) || e.Status != 418 || len(e.Codes) != 1 || resp.Header.Get("X-Kind") != "teapot" {
		t.Errorf("%+v, %v", resp, err)
	}
	last := s.Requests()[len(s.Requests())-1]
	if last.Header.Get("Content-Type") != "application/json" || last.Header.Get("Content-Length") == "0" || last.Credential.Scheme != "Bearer" {
		t.Errorf("sent %+v, %+v", last.Header, last.Credential)
	}
	resp, err = c.Do(t.Context(), ref.Repository{Host: s.Host}, Request{Anonymous: true, Status: []int{401}})
	if err != nil || resp.StatusCode != 401 {
		t.Fatalf("%v, %v", resp, err)
	}
	resp.Body.Close()
	if last := s.Requests()[len(s.Requests())-1]; last.Credential.Scheme != "" {
		t.Errorf("%+v came along", last.Credential)
	}
	for _, path := range []string{"/a", "..", "a/../../b"} {
		if _, err := c.Do(t.Context(), in(s), Request{Path: path}); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %v", path, err)
		}
	}
	if _, err := c.Do(t.Context(), in(s), Request{Server: "https://nobody.example/v2"}); err == nil {
		t.Error("a server that isn't one of the registry's is asked")
	}
}
