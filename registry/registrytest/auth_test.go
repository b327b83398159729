package registrytest

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

var users = map[string]string{"jane": "secret", "joe": "other"}

func asUser(user, password string) []string {
	return []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))}
}

func TestWhoMayDoWhatByBasic(t *testing.T) {
	rights := func(user, repository, action string) bool {
		return PublicToRead(user, repository, action) && (action != "push" || user == "jane")
	}
	s := Start(t, Options{Login: &Login{Users: users, Rights: rights}})
	c := s.Client()
	path := blobAt(s)
	if r := do(t, s, c, 401, "POST", uploads, ""); r.header.Get("WWW-Authenticate") != `Basic realm="registrytest"` {
		t.Errorf("%v", r.header)
	}
	do(t, s, c, 200, "GET", path, "")
	do(t, s, c, 401, "GET", "/v2/", "")
	do(t, s, c, 200, "GET", "/v2/", "", asUser("joe", "other")...)
	do(t, s, c, 401, "GET", path, "", asUser("joe", "wrong")...)
	do(t, s, c, 403, "POST", uploads, "", asUser("joe", "other")...)
	do(t, s, c, 202, "POST", uploads, "", asUser("jane", "secret")...)
	do(t, s, c, 401, "GET", "/v2/_catalog", "")
	do(t, s, c, 200, "GET", "/v2/_catalog", "", asUser("jane", "secret")...)
	var got []Credential
	for _, q := range s.Requests() {
		if q.Credential != (Credential{}) {
			got = append(got, q.Credential)
		}
	}
	joe, jane := Credential{"Basic", "joe", "", true}, Credential{"Basic", "jane", "", true}
	if want := []Credential{joe, {"Basic", "joe", "", false}, joe, jane, jane}; !slices.Equal(got, want) {
		t.Errorf("it came with %+v", got)
	}
}

// tokenOf asks for a token, and gives it as headers.
func tokenOf(t *testing.T, s *Server, c *http.Client, query string, header ...string) []string {
	t.Helper()
	var f struct {
		Token     string `json:"token"`
		ExpiresIn int    `json:"expires_in"`
	}
	if err := json.Unmarshal([]byte(do(t, s, c, 200, "GET", tokenPath+"?"+query, "", header...).body), &f); err != nil {
		t.Fatal(err)
	}
	if s.tokens.login.Life > 0 && f.ExpiresIn != int(s.tokens.login.Life/time.Second) {
		t.Errorf("expires_in is %d", f.ExpiresIn)
	}
	return []string{"Authorization", "Bearer " + f.Token}
}

func TestWhoMayDoWhatByTokens(t *testing.T) {
	s := Start(t, Options{Login: &Login{Users: users, Rights: PublicToRead, Tokens: true, Service: "here"}})
	c := s.Client()
	path := blobAt(s)
	r := do(t, s, c, 401, "GET", path, "")
	if want := `Bearer realm="` + s.URL + `/token",service="here",scope="repository:a/b:pull"`; r.header.Get("WWW-Authenticate") != want {
		t.Errorf("%v", r.header)
	}
	anyone := tokenOf(t, s, c, "service=here&scope=repository:a/b:pull,push")
	do(t, s, c, 200, "GET", path, "", anyone...)
	r = do(t, s, c, 401, "POST", uploads, "", anyone...)
	if !strings.Contains(r.header.Get("WWW-Authenticate"), `scope="repository:a/b:pull,push",error="insufficient_scope"`) {
		t.Errorf("%v", r.header)
	}
	do(t, s, c, 401, "GET", tokenPath, "", asUser("jane", "wrong")...)
	jane := tokenOf(t, s, c, "scope=repository:a/b:pull,push&scope=repository:c:pull", asUser("jane", "secret")...)
	do(t, s, c, 202, "POST", uploads, "", jane...)
	do(t, s, c, 401, "DELETE", path, "", jane...)
	do(t, s, c, 202, "DELETE", path, "", tokenOf(t, s, c, "scope=repository:a/b:delete", asUser("jane", "secret")...)...)
	do(t, s, c, 200, "GET", "/v2/_catalog", "", tokenOf(t, s, c, "scope=registry:catalog:*", asUser("jane", "secret")...)...)
	do(t, s, c, 401, "GET", "/v2/", "", "Authorization", "Bearer none")
	if got, want := s.Scopes(), []string{"registry:catalog:*", "repository:a/b:delete", "repository:a/b:pull", "repository:a/b:pull,push repository:c:pull"}; !slices.Equal(got, want) {
		t.Errorf("given for %q", got)
	}
	if q := s.Requests()[6]; q.Credential != (Credential{"Bearer", "jane", "repository:a/b:pull,push repository:c:pull", true}) {
		t.Errorf("%+v", q)
	}
	if q := s.Requests()[5]; q.Kind != "token" || q.Credential != (Credential{"Basic", "jane", "", true}) || len(q.Form["scope"]) != 2 {
		t.Errorf("%+v", q)
	}
	s.Revoke()
	do(t, s, c, 401, "POST", uploads, "", jane...)
}

func TestTokensAreGivenElsewhereAndByPost(t *testing.T) {
	login := &Login{Users: users, Tokens: true, Identities: map[string]string{"long": "jane"}}
	s := Start(t, Options{Login: login})
	other := s.Elsewhere(t, Options{})
	login.Realm = other.URL + tokenPath
	c := s.Client()
	path := blobAt(s)
	if r := do(t, s, c, 401, "GET", path, ""); !strings.HasPrefix(r.header.Get("WWW-Authenticate"), `Bearer realm="`+other.URL+`/token"`) {
		t.Errorf("%v", r.header)
	}
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	for body, want := range map[string]int{
		"grant_type=refresh_token&refresh_token=long&scope=repository:a/b:pull":                200,
		"grant_type=password&username=jane&password=secret&scope=repository:a/b:pull":          200,
		"grant_type=refresh_token&refresh_token=short&scope=repository:a/b:pull":               401,
		"grant_type=password&username=jane&password=wrong&scope=repository:a/b:pull":           401,
		"grant_type=authorization_code&username=jane&password=secret&scope=registry:catalog:*": 401,
	} {
		r := do(t, other, c, want, "POST", tokenPath, body, form...)
		if want != 200 {
			continue
		}
		var f map[string]string
		if err := json.Unmarshal([]byte(r.body), &f); err != nil {
			t.Fatal(err)
		}
		do(t, s, c, 200, "GET", path, "", "Authorization", "Bearer "+f["access_token"])
	}
	if n := s.Count("POST token"); n != 5 {
		t.Errorf("%d", n)
	}
	if q := s.Requests()[1]; q.Form.Get("grant_type") == "" || q.Server != "elsewhere" || q.Read == 0 {
		t.Errorf("%+v", q)
	}
}

func TestATokenEnds(t *testing.T) {
	t.Run("after its uses", func(t *testing.T) {
		s := Start(t, Options{Login: &Login{Users: users, Tokens: true, Uses: 2}})
		c := s.Client()
		path := blobAt(s)
		jane := tokenOf(t, s, c, "scope=repository:a/b:pull", asUser("jane", "secret")...)
		for _, want := range []int{200, 200, 401} {
			do(t, s, c, want, "GET", path, "", jane...)
		}
		if all := s.Requests(); !all[2].Credential.Valid || all[3].Credential.Valid {
			t.Errorf("%+v", all)
		}
	})
	t.Run("with its life", func(t *testing.T) {
		s := Start(t, Options{Login: &Login{Users: users, Tokens: true, Life: time.Second}})
		c := s.Client()
		path := blobAt(s)
		began := time.Now()
		jane := tokenOf(t, s, c, "scope=repository:a/b:pull", asUser("jane", "secret")...)
		for {
			r, err := ask(t, c, "GET", s.URL+path, "", jane...)
			if err != nil {
				t.Fatal(err)
			}
			over := time.Since(began)
			if r.status == 401 && over < time.Second || r.status == 200 && over > 10*time.Second {
				t.Fatalf("%d after %s", r.status, over)
			}
			if r.status == 401 {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
}

func TestChallengesAreOdd(t *testing.T) {
	s := Start(t, Options{Login: &Login{Tokens: true, Scope: "repository:user/image:pull"}})
	if r := do(t, s, s.Client(), 401, "GET", "/v2/_catalog", ""); !strings.Contains(r.header.Get("WWW-Authenticate"), `scope="repository:user/image:pull"`) {
		t.Errorf("%v", r.header)
	}
	odd := []string{"Negotiate", `BASIC realm=x`}
	s = Start(t, Options{Login: &Login{Challenges: odd}})
	if r := do(t, s, s.Client(), 401, "GET", "/v2/", ""); !slices.Equal(r.header.Values("WWW-Authenticate"), odd) {
		t.Errorf("%v", r.header)
	}
}

// A mount needs a right to both.
func TestAMountNeedsTheSourceToo(t *testing.T) {
	s := Start(t, Options{Login: &Login{Users: users, Tokens: true}, Traits: Traits{Mounts: true}})
	c := s.Client()
	mount := uploads + "?from=c/d&mount=" + s.Blob("c/d", []byte(text)).String()
	one := tokenOf(t, s, c, "scope=repository:a/b:pull,push", asUser("jane", "secret")...)
	both := tokenOf(t, s, c, "scope=repository:a/b:pull,push&scope=repository:c/d:pull", asUser("jane", "secret")...)
	do(t, s, c, 202, "POST", mount, "", one...)
	do(t, s, c, 201, "POST", mount, "", both...)
}

// Quay's token endpoint takes pull, push and * of repositories alone, and who may push may
// delete.
func TestQuaysTokenEndpointKnowsThreeActions(t *testing.T) {
	s := Start(t, Options{Login: &Login{Users: users, Tokens: true, QuayScopes: true}})
	c := s.Client()
	path := "/v2/a/b/manifests/" + s.Image("a/b", "v1", []byte("x")).String()
	jane := asUser("jane", "secret")
	for scope, want := range map[string]int{
		"": 200, "repository:a/b:pull": 200, "repository:a/b:push,pull": 200, "repository:a/b:*": 200,
		"repository:a/b:pull,delete": 400, "registry:catalog:*": 400, "nothing": 400,
	} {
		do(t, s, c, want, "GET", tokenPath+"?scope="+scope, "", jane...)
	}
	r := do(t, s, c, 401, "DELETE", path, "")
	if want := `scope="repository:a/b:pull,push"`; !strings.Contains(r.header.Get("WWW-Authenticate"), want) {
		t.Errorf("the challenge is %v, want %s", r.header, want)
	}
	do(t, s, c, 202, "DELETE", path, "", tokenOf(t, s, c, "scope=repository:a/b:pull,push", jane...)...)
}
