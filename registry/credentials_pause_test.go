package registry

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/auth"
	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// A wrong password that is the only one goes to its registry once, however much is read: accounts are
// locked for it. Each error says so, with the answer of the registry and what a person does.
//
// Behaviour: auth.pause, auth.told
func TestAWrongPasswordIsShownOnce(t *testing.T) {
	for _, tokens := range []bool{false, true} {
		s := &fixture{Server: registrytest.Start(t, registrytest.Options{Login: &registrytest.Login{Users: map[string]string{"jane": "right"}, Tokens: tokens}}), t: t}
		s.repo = ref.Repository{Host: s.Host, Path: "a/b"}
		s.Image(s.repo.Path, "v1", []byte(layer))
		c := s.client(t, Options{Credentials: auth.Static(s.Host, "jane", "wrong")})
		began := time.Now()
		var last error
		for i := range 4 {
			r := ref.Repository{Host: s.Host, Path: []string{"a/b", "c"}[i%2]}
			_, last = c.Manifest(t.Context(), r, "v1")
			_, blob := c.Blob(t.Context(), r, v1.Descriptor{Digest: digest.FromString(layer), Size: int64(len(layer))})
			for _, err := range []error{last, blob} {
				if !errors.Is(err, ErrDenied) {
					t.Errorf("tokens %v: %v", tokens, err)
				}
			}
		}
		var e *Error
		var rests *auth.RestsError
		if !errors.As(last, &e) || e.Credential == "" || !tokens && (e.Status != http.StatusUnauthorized || !e.has("UNAUTHORIZED")) {
			t.Errorf("tokens %v: %+v", tokens, e)
		}
		if !tokens && (!errors.As(last, &rests) || rests.Until.Before(began.Add(time.Second)) || !strings.Contains(last.Error(), rests.Error())) {
			t.Errorf("tokens %v: %v", tokens, last)
		}
		shown := 0
		for _, q := range s.Requests() {
			if q.Header.Get("Authorization") != "" && !(q.Kind != "token" && tokens) {
				shown++
			}
		}
		if shown != 1 {
			t.Errorf("tokens %v: the password was shown %d times", tokens, shown)
		}
	}
}
