package auth

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/ocifs/ocifs/registry/ref"
)

// Behaviour: push.mount
func TestScopesAreWhatIsNeededAndWhatIsNamed(t *testing.T) {
	r := ref.Repository{Host: "h", Path: "a/b"}
	for name, c := range map[string]struct {
		access Access
		named  string
		want   string
	}{
		"pull":                    {Access{}, "", "repository:a/b:pull"},
		"pull as named":           {Access{}, "repository:user/image:pull", "repository:user/image:pull"},
		"push":                    {Access{Do: Push}, "", "repository:a/b:pull,push"},
		"push as named":           {Access{Do: Push}, "repository:a/b:pull,push", "repository:a/b:pull,push"},
		"push, in another order":  {Access{Do: Push}, "repository:a/b:push,pull", "repository:a/b:pull,push"},
		"push, less named":        {Access{Do: Push}, "repository:a/b:pull", "repository:a/b:pull,push"},
		"push, more named":        {Access{Do: Push}, "repository:a/b:delete registry:catalog:*", "repository:a/b:pull,push,delete registry:catalog:*"},
		"mount, its target first": {Access{Push, "c"}, "repository:c:pull repository:a/b:pull,push", "repository:a/b:pull,push repository:c:pull"},
		"delete":                  {Access{Do: Delete}, "repository:a/b:*", "repository:a/b:pull,delete,*"},
		"no scope at all":         {Access{Do: Delete}, "what", "repository:a/b:pull,delete what"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(c.access.needed(r, c.named), " "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// tokens starts a registry whose tokens are their scopes, and which lets nobody do
// anything without. It gives what it was asked.
func tokens(t *testing.T) (url string, asked *[]string) {
	t.Helper()
	asked = &[]string{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/token" {
			scopes := strings.Join(req.URL.Query()["scope"], "+")
			*asked = append(*asked, "token "+scopes)
			_, _ = io.WriteString(w, `{"token":"`+scopes+`","expires_in":300}`)
			return
		}
		b, _ := io.ReadAll(req.Body)
		*asked = append(*asked, req.Method+" "+string(b))
		need := "pull"
		if req.Method == http.MethodPut {
			need = "pull,push"
		}
		if !strings.Contains(req.Header.Get("Authorization"), "repository:a/b:"+need) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="/token",service="s",scope="repository:a/b:`+need+`"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, asked
}

func do(t *testing.T, a *Authorizer, method, url string, access Access) int {
	t.Helper()
	var body io.Reader
	if method == http.MethodPut {
		body = strings.NewReader("bytes")
	}
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, _, err := a.Do(req, ref.Repository{Host: "h", Path: "a/b"}, access)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// Whoever has read needs no refusal to know where to get a token for writing.
func TestATokenForWritingIsGotByWhatReadingTaught(t *testing.T) {
	url, asked := tokens(t)
	a := &Authorizer{Next: http.DefaultTransport}
	for _, c := range []struct {
		method string
		access Access
	}{{http.MethodGet, Access{}}, {http.MethodPut, Access{Do: Push}}, {http.MethodPut, Access{Do: Push}}, {http.MethodGet, Access{}}, {http.MethodDelete, Access{Do: Delete}}} {
		if status := do(t, a, c.method, url, c.access); status != http.StatusOK {
			t.Errorf("%s: %d", c.method, status)
		}
	}
	want := []string{"GET ", "token repository:a/b:pull", "GET ", "token repository:a/b:pull,push", "PUT bytes", "PUT bytes", "GET ",
		"token repository:a/b:pull,delete", "DELETE "}
	if !slices.Equal(*asked, want) {
		t.Errorf("asked\n%q, want\n%q", *asked, want)
	}
}

func TestAWriteThatIsChallengedIsSentAgainWithItsBody(t *testing.T) {
	url, asked := tokens(t)
	if status := do(t, &Authorizer{Next: http.DefaultTransport}, http.MethodPut, url, Access{Do: Push}); status != http.StatusOK {
		t.Errorf("%d", status)
	}
	if want := []string{"PUT bytes", "token repository:a/b:pull,push", "PUT bytes"}; !slices.Equal(*asked, want) {
		t.Errorf("asked %q, want %q", *asked, want)
	}
}

// Nobody writes without a credential where one was refused.
func TestAWriteIsNotTriedWithoutItsCredential(t *testing.T) {
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if n++; req.Header.Get("Authorization") == "" {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.WriteHeader(http.StatusForbidden)
	}))
	defer s.Close()
	a := &Authorizer{Next: http.DefaultTransport, Source: always(Credential{Username: "u", Password: "p", Origin: "x"})}
	if status := do(t, a, http.MethodPut, s.URL, Access{Do: Push}); status != http.StatusForbidden || n != 2 {
		t.Errorf("%d after %d requests", status, n)
	}
}
