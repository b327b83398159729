package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ocifs/ocifs/registry/auth"
	"github.com/ocifs/ocifs/registry/ref"
)

// A refusal says which credential was used and where it is from, or where one was
// looked for, and the secret is nowhere.
//
// Behaviour: auth.told
func TestARefusalSaysWhichCredentialWasUsed(t *testing.T) {
	for name, c := range map[string]struct {
		config, scheme string // @ stands for the host
		token          int    // how the token endpoint answers a credential
		write          bool
		want           string // FILE stands for the file
	}{
		"basic":                    {`"@":{"username":"jane","password":"s3cret"}`, "Basic", 0, false, `(with the credential of jane from FILE, key "@")`},
		"basic, to write":          {`"@":{"username":"jane","password":"s3cret"}`, "Basic", 0, true, `(with the credential of jane from FILE, key "@")`},
		"a token":                  {`"@":{"username":"jane","password":"s3cret"}`, "Bearer", 200, false, `(with the credential of jane from FILE, key "@")`},
		"no token":                 {`"@":{"username":"jane","password":"s3cret"}`, "Bearer", 401, false, `(with the credential of jane from FILE, key "@")`},
		"no token, to write":       {`"@":{"username":"jane","password":"s3cret"}`, "Bearer", 403, true, `(with the credential of jane from FILE, key "@")`},
		"an identity, to write":    {`"@":{"identitytoken":"s3cret"}`, "Bearer", 401, true, `(with the credential of FILE, key "@")`},
		"none":                     {``, "Bearer", 200, false, `(without a credential: none in FILE)`},
		"one for another registry": {`"other.example":{"username":"jane","password":"s3cret"}`, "Basic", 0, true, `(without a credential: FILE is for other.example)`},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				_, _ = io.Copy(io.Discard, req.Body)
				_, _, basic := req.BasicAuth()
				switch {
				case req.URL.Path == "/token" && (basic || req.Method == http.MethodPost):
					w.WriteHeader(c.token)
					_, _ = io.WriteString(w, `{"token":"T"}`)
				case req.URL.Path == "/token":
					_, _ = io.WriteString(w, `{"token":"T"}`)
				case req.Header.Get("Authorization") == "":
					w.Header().Set("WWW-Authenticate", c.scheme+` realm="/token"`)
					w.WriteHeader(http.StatusUnauthorized)
				default:
					w.WriteHeader(http.StatusForbidden)
				}
			}))
			defer s.Close()
			host := strings.TrimPrefix(s.URL, "http://")
			file := filepath.Join(t.TempDir(), "config.json")
			if err := os.WriteFile(file, []byte(`{"auths":{`+strings.ReplaceAll(c.config, "@", host)+`}}`), 0o600); err != nil {
				t.Fatal(err)
			}
			cl := New(Options{PlainHTTP: []string{host}, Credentials: auth.FromFiles(nil, file)})
			defer cl.Close()
			r := ref.Repository{Host: host, Path: "a/b"}
			var err error
			if c.write {
				err = cl.DeleteTag(context.Background(), r, "v1")
			} else {
				_, err = cl.Manifest(context.Background(), r, "v1")
			}
			want := strings.NewReplacer("FILE", file, "@", host).Replace(c.want)
			if !errors.Is(err, ErrDenied) || !strings.HasSuffix(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}
