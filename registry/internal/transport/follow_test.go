package transport

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
)

func TestAnAddressOfTheServerIsResolvedSafely(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"https://a/v2/x", "/y?q=1", "https://a/y?q=1"},
		{"https://a/v2/x", "http://a/y", "https://a/y"},
		{"https://a/v2/x", "http://b/y", ""},
		{"https://a/v2/x", "ftp://a/y", ""},
		{"https://a/v2/x", "https://u:p@b/y#f", "https://b/y"},
	} {
		from, _ := url.Parse(c.from)
		got, err := Resolve(from, c.to)
		if c.want == "" {
			if !errors.Is(err, ErrAddress) {
				t.Errorf("%s: got %v, %v", c.to, got, err)
			}
		} else if err != nil || got.String() != c.want {
			t.Errorf("%s: got %v, %v, want %s", c.to, got, err, c.want)
		}
	}
}

func TestACredentialStaysOnItsOrigin(t *testing.T) {
	var got string
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Get("Authorization") }))
	defer other.Close()
	first := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer first.Close()
	req, _ := http.NewRequest(http.MethodGet, first.URL, nil)
	req.Header.Set("Authorization", "Basic secret")
	resp, err := (&Follow{Next: http.DefaultTransport}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got != "" {
		t.Errorf("another port got %q", got)
	}
}

func TestARedirectLoopEnds(t *testing.T) {
	s := httptest.NewServer(http.RedirectHandler("/", http.StatusFound))
	defer s.Close()
	req, _ := http.NewRequest(http.MethodGet, s.URL, nil)
	if _, err := (&Follow{Next: http.DefaultTransport}).RoundTrip(req); !errors.Is(err, ErrAddress) {
		t.Error(err)
	}
}
