package auth

import (
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ocifs/ocifs/registry/ref"
)

// asWho is a registry that lets anyone in who has logged in, by tokens or by Basic,
// and nobody else to what is private.
func asWho(t *testing.T, scheme string) *fake {
	return serve(t, false, func(w http.ResponseWriter, req *http.Request) {
		switch {
		case req.URL.Path == "/token":
			token := "T-" + strings.ReplaceAll(who(req), ":", "-")
			_, _ = io.WriteString(w, `{"token":"`+token+`","expires_in":3600}`)
		case who(req) == "" || strings.Contains(req.URL.Path, "private") && who(req) == "T-":
			challenge(w, scheme+` realm="/token"`)
		}
	})
}

// What people do by docker login and docker logout counts from the next request on:
// no refusal is needed, and no new mount.
//
// Behaviour: auth.reread
func TestACredentialCountsFromTheNextRequestOn(t *testing.T) {
	for _, scheme := range []string{"Basic", "Bearer"} {
		t.Run(scheme, func(t *testing.T) {
			f := asWho(t, scheme)
			host := f.repo("").Host
			file := filepath.Join(t.TempDir(), "config.json")
			a := f.by(FromFiles(slog.New(slog.NewTextHandler(t.Output(), nil)), file))
			by := func(user string) string {
				if scheme == "Bearer" {
					return "GET /v2/a/private T-" + strings.ReplaceAll(user, ":", "-")
				}
				return strings.TrimSpace("GET /v2/a/private " + user)
			}
			last := func(want int, by string) {
				t.Helper()
				f.get(t, a, "a/private", want)
				if asked := f.took(); asked[len(asked)-1] != by {
					t.Errorf("asked %q, want %q at last", asked, by)
				}
			}
			last(http.StatusUnauthorized, by(""))
			writeConfig(t, file, host+"=jane:1", "other.example=x:y")
			last(http.StatusOK, by("jane:1"))
			writeConfig(t, file, host+"=jane:2") // of the same length
			last(http.StatusOK, by("jane:2"))
			writeConfig(t, file, host+"=joe:333")
			f.get(t, a, "a/private", http.StatusOK)
			if asked := f.took(); asked[len(asked)-1] != by("joe:333") || len(asked) > 2 {
				t.Errorf("asked %q", asked)
			}
			// Neither a login elsewhere nor a new time costs a request.
			writeConfig(t, file, host+"=joe:333", "other.example=x:z")
			f.get(t, a, "a/private", http.StatusOK)
			f.want(t, by("joe:333"))
			now := time.Now().Add(time.Hour)
			if err := os.Chtimes(file, now, now); err != nil {
				t.Fatal(err)
			}
			f.get(t, a, "a/private", http.StatusOK)
			f.want(t, by("joe:333"))
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			f.get(t, a, "a/private", http.StatusUnauthorized)
			for _, asked := range f.took() {
				if strings.Contains(asked, "joe") {
					t.Errorf("asked %q after a logout", asked)
				}
			}
		})
	}
}

// In place and within a tick of the file system's clock: neither its time nor its
// size tells.
//
// Behaviour: auth.reread
func TestAFileThatIsRewrittenInPlaceAtOnceIsReadAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.json")
	now := time.Now()
	put := func(user string) {
		if err := os.WriteFile(file, []byte(`{"auths":{"h.example":{"username":"`+user+`","password":"p"}}}`), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, now, now); err != nil {
			t.Fatal(err)
		}
	}
	put("jane")
	s := FromFiles(nil, file)
	seen := versionOf(s)
	for _, user := range []string{"jack", "jill", "judy"} {
		put(user)
		if v := versionOf(s); v == seen {
			t.Errorf("%s isn't seen", user)
		} else {
			seen = v
		}
	}
	if v := versionOf(s); v != seen {
		t.Error("nothing has changed")
	}
}

// A repository's own credential, and its host's, stay apart.
func TestTwoCredentialsOfOneHostStayApart(t *testing.T) {
	f := asWho(t, "Basic")
	host := f.repo("").Host
	file := filepath.Join(t.TempDir(), "config.json")
	writeConfig(t, file, host+"=host:p", host+"/team=team:p")
	a := f.by(FromFiles(nil, file))
	for range 2 {
		f.get(t, a, "team/app", http.StatusOK)
		f.get(t, a, "other/app", http.StatusOK)
	}
	f.want(t, "GET /v2/team/app", "GET /v2/team/app team:p", "GET /v2/other/app", "GET /v2/other/app host:p",
		"GET /v2/team/app team:p", "GET /v2/other/app host:p")
}

// What a helper said counts for some minutes, then it is asked again, also where the
// registry would still have taken it.
//
// Behaviour: auth.reread
func TestAHelpersAnswerAges(t *testing.T) {
	h := newHelper(t, "aging", saysSecret)
	h.secret(t, "one")
	f := asWho(t, "Basic")
	s := h.config(t, t.Output())
	a := f.by(s)
	for range 3 {
		f.get(t, a, "a/b", http.StatusOK)
	}
	h.secret(t, "two")
	f.get(t, a, "a/b", http.StatusOK)
	f.want(t, "GET /v2/a/b", "GET /v2/a/b jane:one", "GET /v2/a/b jane:one", "GET /v2/a/b jane:one", "GET /v2/a/b jane:one")
	if n := h.runs(); n != 1 {
		t.Errorf("it ran %d times", n)
	}
	s.helpers.older(helperAge)
	g := a.grant(f.repo("a/b"), Access{})
	g.mu.Lock()
	if left := time.Until(g.expires); left <= 0 || left > helperAge {
		t.Errorf("the header lives for %s", left)
	}
	g.expires = g.expires.Add(-helperAge)
	g.mu.Unlock()
	f.get(t, a, "a/b", http.StatusOK)
	f.want(t, "GET /v2/a/b jane:two")
	if n := h.runs(); n != 2 {
		t.Errorf("it ran %d times", n)
	}
}

// A file may say what a helper hasn't been asked for yet: another login.
//
// Behaviour: auth.reread
func TestAChangedFileMakesHelpersBeAskedAgain(t *testing.T) {
	h := newHelper(t, "again", saysSecret)
	h.secret(t, "one")
	f := asWho(t, "Bearer")
	s := h.config(t, t.Output())
	a := f.by(s)
	f.get(t, a, "a/b", http.StatusOK)
	h.secret(t, "two")
	write(t, s.files[0].path, `{"credsStore":"again","auths":{"`+f.repo("").Host+`":{}}}`)
	f.get(t, a, "a/b", http.StatusOK)
	f.want(t, "GET /v2/a/b", "GET /token jane:one", "GET /v2/a/b T-jane-one", "GET /token jane:two", "GET /v2/a/b T-jane-two")
}

// A file that can't be read, or is no JSON, is told of once, and counts as none.
func TestAFileThatMakesNoSenseIsToldOfOnce(t *testing.T) {
	for name, text := range map[string]string{"no JSON": `{"auths":{"h.example":{"auth":"s3cret`, "a bad entry": `{"auths":{"h.example":{"auth":"s3cret!"}}}`, "no password": `{"auths":{"h.example":{"auth":"czNjcmV0"}}}`} {
		t.Run(name, func(t *testing.T) {
			var log syncBuffer
			file := filepath.Join(t.TempDir(), "config.json")
			write(t, file, text)
			s := FromFiles(log.logger(), file)
			for range 3 {
				if c, err := s.Credential(t.Context(), ref.Repository{Host: "h.example", Path: "a/b"}); err != nil || !c.Empty() {
					t.Errorf("%+v, %v", c, err)
				}
				versionOf(s)
			}
			if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), file) || strings.Contains(log.String(), "s3cret") {
				t.Errorf("told %d times: %s", n, log.String())
			}
		})
	}
}
