package registry

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry/auth"
	"github.com/ocifs/ocifs/registry/hosts"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// whispers is all that must be nowhere but in requests: what jane knows, the tokens and
// signatures that registrytest gives, the query of its sessions, and whatever a test
// writes as s3cret.
var whispers = []string{"s3cret", base64.StdEncoding.EncodeToString([]byte("jane:s3cret")), "token1", "token2", "X-Signature", "_state", "digest=sha256"}

func silentOn(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		for _, w := range whispers {
			if strings.Contains(line, w) {
				t.Errorf("%q is in %s", w, line)
			}
		}
	}
}

// Nothing that is secret is logged at any level, and no error tells it: passwords,
// tokens, signatures, the queries of sessions and redirects, and the headers that
// people configured.
//
// Behaviour: address.secrets
func TestSecretsAreInNoLogAndNoError(t *testing.T) {
	const query = "?X-Signature=s3cret"
	for name, do := range map[string]func(s, cdn *registrytest.Server){
		"all goes well": func(_, _ *registrytest.Server) {},
		"storage elsewhere": func(s, cdn *registrytest.Server) {
			s.On("GET blob", registrytest.Presign(cdn, -1))
			cdn.First(1, "GET blob", registrytest.Cut(4))
		},
		"storage refuses": func(s, cdn *registrytest.Server) { s.On("* *", ifKnown(registrytest.Presign(cdn, 0))) },
		"storage fails": func(s, cdn *registrytest.Server) {
			s.On("GET blob", registrytest.Presign(cdn, -1))
			cdn.On("* *", registrytest.Status(500, ""))
		},
		"storage is busy": func(s, cdn *registrytest.Server) {
			s.On("GET blob", registrytest.Presign(cdn, -1))
			cdn.On("* *", registrytest.Busy(429, time.Hour))
		},
		"storage hangs up": func(s, cdn *registrytest.Server) {
			s.On("GET blob", registrytest.Presign(cdn, -1))
			cdn.On("* *", registrytest.Reset())
		},
		"storage breaks off": func(s, cdn *registrytest.Server) {
			s.On("GET blob", registrytest.Presign(cdn, -1))
			cdn.On("* *", registrytest.Cut(0))
		},
		"storage is gone": func(s, cdn *registrytest.Server) { s.On("GET blob", registrytest.Presign(cdn, -1)); cdn.Gone() },
		"storage speaks plain": func(s, cdn *registrytest.Server) {
			s.On("* *", ifKnown(registrytest.Status(307, "", "Location", strings.Replace(cdn.URL, "http:", "https:", 1)+"/v2/x"+query)))
		},
		"a loop": func(s, _ *registrytest.Server) { s.On("* *", ifKnown(registrytest.Status(307, "", "Location", query))) },
		"no address": func(s, _ *registrytest.Server) {
			s.On("* *", ifKnown(registrytest.Status(307, "", "Location", "ftp://x:s3cret@h/"+query)))
		},
		"a bad address": func(s, _ *registrytest.Server) {
			s.On("* *", ifKnown(registrytest.Status(307, "", "Location", "http://%zz/"+query)))
		},
		"nobody's address": func(s, _ *registrytest.Server) {
			s.On("* *", ifKnown(registrytest.Status(307, "", "Location", "http://x.invalid/"+query)))
		},
		"pages elsewhere": func(s, cdn *registrytest.Server) {
			s.On("GET tags", registrytest.With("Link", "<"+cdn.URL+"/"+query+`>; rel="next"`))
		},
		"pages nowhere": func(s, _ *registrytest.Server) {
			s.On("GET tags", registrytest.With("Link", "<ftp://h/"+query+`>; rel="next"`))
		},
		"pages in a circle": func(s, _ *registrytest.Server) {
			s.On("GET tags", registrytest.With("Link", "<"+query+`>; rel="next"`))
		},
		"a session elsewhere": func(s, cdn *registrytest.Server) { s.Change(func(t *registrytest.Traits) { t.Sessions = cdn.URL }) },
		"a session that fails": func(s, cdn *registrytest.Server) {
			s.Change(func(t *registrytest.Traits) { t.Sessions = cdn.URL })
			cdn.On("* *", registrytest.Status(500, ""))
		},
		"a session that is gone": func(s, cdn *registrytest.Server) {
			s.Change(func(t *registrytest.Traits) { t.Sessions = cdn.URL })
			cdn.Gone()
		},
		"a session that breaks off": func(s, _ *registrytest.Server) { s.First(1, "PUT upload", registrytest.Take(4)) },
		"a session in chunks":       func(s, _ *registrytest.Server) { s.First(1, "PUT upload", registrytest.Status(405, "")) },
		"a session nowhere":         func(s, _ *registrytest.Server) { s.On("POST upload", registrytest.With("Location", "ftp://h/"+query)) },
		"a session that is closed":  func(s, _ *registrytest.Server) { s.On("PUT upload", registrytest.Refuse(404, "BLOB_UPLOAD_UNKNOWN")) },
		"nobody is let in": func(s, _ *registrytest.Server) {
			s.On("* manifest", registrytest.Refuse(403, "DENIED"))
			s.On("* blob", registrytest.Refuse(403, "DENIED"))
		},
		"no tokens":               func(s, _ *registrytest.Server) { s.On("* token", registrytest.Status(500, "s3cret")) },
		"tokens that are none":    func(s, _ *registrytest.Server) { s.On("* token", registrytest.Body(`{"token":"s3cret s3cret"}`)) },
		"tokens that are refused": func(s, _ *registrytest.Server) { s.On("* token", registrytest.Status(401, "")) },
		"tokens at no address": func(s, _ *registrytest.Server) {
			s.On("* *", registrytest.Change(func(a *registrytest.Answer) {
				if a.Status == http.StatusUnauthorized {
					a.Header.Set("WWW-Authenticate", `Bearer realm="ftp://x:s3cret@h/`+query+`"`)
				}
			}))
		},
		"a Warning": func(s, _ *registrytest.Server) { s.On("* *", registrytest.With("Warning", `299 - "soon over"`)) },
		"a reset":   func(s, _ *registrytest.Server) { s.On("* *", registrytest.Reset()) },
		"busy":      func(s, _ *registrytest.Server) { s.On("* *", registrytest.Busy(503, time.Hour)) },
		"gone":      func(s, _ *registrytest.Server) { s.Gone() },
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, janes(true))
			cdn := s.Elsewhere(t, registrytest.Options{})
			s.Image("a/b", "v1", []byte(layer))
			do(s, cdn)
			var log bytes.Buffer
			logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			dir := t.TempDir()
			config := filepath.Join(dir, "config.json")
			write := func(path, content string) {
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write(config, fmt.Sprintf(`{"auths":{%q:{"username":"jane","password":"s3cret"}}}`, s.Host))
			write(filepath.Join(dir, mirrored.Host, "hosts.toml"), fmt.Sprintf("server = %q\n[header]\nX-Key = \"s3cret\"\n", s.URL))
			c := newClient(Options{
				Logger: logger, Credentials: auth.FromFiles(logger, config), RetryMaxWait: time.Second,
				Config: hosts.New(hosts.Options{Containerd: []string{dir}, Log: logger}),
			}, quick())
			t.Cleanup(c.Close)
			var errs []error
			note := func(err error) { errs = append(errs, err) }
			for _, read := range reads {
				note(read(c, mirrored))
			}
			_, err := sendBlob(context.Background(), c, mirrored, strings.Repeat(layer, 2))
			note(err)
			m, err := ParseManifest([]byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`), "", "")
			if err != nil {
				t.Fatal(err)
			}
			note(c.PushManifest(context.Background(), mirrored, m, "v2", "v3"))
			for _, err := range c.TagPages(context.Background(), mirrored) {
				note(err)
			}
			_, err = c.Referrers(context.Background(), mirrored, digest.FromString("x"), "")
			note(err)
			note(c.DeleteTag(context.Background(), mirrored, "v1"))
			c.Close() // waits for those who log
			silentOn(t, log.String())
			if !strings.Contains(log.String(), "level=DEBUG") && name == "all goes well" {
				t.Error("nothing was logged")
			}
			if err := errors.Join(errs...); err != nil {
				silentOn(t, err.Error())
				silentOn(t, fmt.Sprintf("%v %+v", errs, errs))
			}
			silentOn(t, fmt.Sprintf("%+v", c.State()))
		})
	}
}

// ifKnown does something with those who show a credential.
func ifKnown(q registrytest.Quirk) registrytest.Quirk {
	return func(x *registrytest.Exchange, next func() *registrytest.Answer) *registrytest.Answer {
		if x.Kind == "token" || x.Header.Get("Authorization") == "" {
			return next()
		}
		return q(x, next)
	}
}
