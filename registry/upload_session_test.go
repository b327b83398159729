package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/hosts"
	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// A token may be over in the middle of an upload.
//
// Behaviour: auth.again
func TestAnUploadThatIsChallengedGoesOnWithItsBodyFromTheStart(t *testing.T) {
	s, _ := newFixture(t)
	c := s.client(t, Options{Credentials: always{Username: "u", Password: "p"}})
	s.Nth(1, "PUT upload", registrytest.Look(func(x *registrytest.Exchange) { _, _ = io.CopyN(io.Discard, x.Body, 1<<20) }),
		registrytest.Challenge(`Basic realm="x"`))
	big := strings.Repeat(blob, 1<<20)
	if _, err := push(c, s, big, Push{Absent: true}); err != nil {
		t.Fatal(err)
	}
	s.has(big)
	s.want(c, "POST upload", "PUT upload", "PUT upload")
	if got := s.Requests()[2].Credential; got.Scheme != "Basic" || got.User != "u" {
		t.Errorf("it comes with %+v", got)
	}
}

// The bytes go where the registry says; the credential stays.
//
// Behaviour: address.elsewhere
func TestASessionElsewhereGetsNoCredential(t *testing.T) {
	s, _ := newFixture(t)
	other := s.Elsewhere(t, registrytest.Options{})
	s.Change(func(tr *registrytest.Traits) { tr.Sessions = other.URL })
	c := s.client(t, Options{Credentials: always{Username: "u", Password: "p"}})
	s.Nth(1, "POST upload", registrytest.Challenge(`Basic realm="x"`))
	if _, err := push(c, s, blob, Push{Absent: true}); err != nil {
		t.Fatal(err)
	}
	s.has(blob)
	s.want(c, "POST upload", "POST upload", "elsewhere PUT upload")
	if all := s.Requests(); all[1].Credential.User != "u" || all[2].Credential != (registrytest.Credential{}) {
		t.Errorf("asked %+v", all)
	}
}

// A registry behind a TLS proxy names itself by http.
//
// Behaviour: address.encrypted
func TestASessionStaysEncrypted(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{TLS: true})
	s.Change(func(tr *registrytest.Traits) { tr.Sessions = "http://" + s.Host })
	c := New(Options{})
	t.Cleanup(c.Close)
	c.transports.usual = newTransports(hosts.Endpoint{TLS: s.ClientTLS()})
	r := ref.Repository{Host: s.Host, Path: "a/b"}
	src := &bytesSource{Reader: strings.NewReader(blob)}
	_, err := c.PushBlob(context.Background(), r, v1.Descriptor{Digest: digest.FromString(blob), Size: 10}, src.open, Push{Absent: true})
	if err != nil || string(s.ReadBlob(r.Path, digest.FromString(blob))) != blob {
		t.Error(err)
	}
	s.Want("POST upload", "PUT upload")
	if got := s.Requests()[1].Query; !strings.HasPrefix(got, "_state=x/y&digest=") {
		t.Errorf("asked %q", got)
	}
}

// Nothing of a session's query is shown: it may let anyone write.
//
// Behaviour: address.secrets
func TestASessionsQueryIsNotShown(t *testing.T) {
	for name, location := range map[string]string{"ours": "/v2/a/b/blobs/uploads/s1?_state=secret", "bad": "ftp://x/?secret", "nonsense": "http://[::1?secret", "none there": "http://127.0.0.1:1/?secret"} {
		t.Run(name, func(t *testing.T) {
			s, _ := newFixture(t)
			var log bytes.Buffer
			c := s.client(t, Options{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
			s.On("POST upload", registrytest.Status(202, "", "Location", location))
			s.On("PUT upload", registrytest.Status(500, ""))
			_, err := push(c, s, blob, Push{})
			c.Close()
			if err == nil || strings.Contains(err.Error()+log.String(), "secret") {
				t.Errorf("%v\n%s", err, &log)
			}
		})
	}
}

// Behaviour: push.abandon
func TestAnUploadThatIsInterruptedIsCancelled(t *testing.T) {
	s, c := newFixture(t)
	ctx, cancel := context.WithCancel(context.Background())
	s.Nth(1, "PUT upload", registrytest.Look(func(*registrytest.Exchange) { cancel() }), registrytest.Swallow())
	began := time.Now()
	_, err := pushAs(ctx, c, s, strings.Repeat(blob, 1<<20), digest.FromString(strings.Repeat(blob, 1<<20)), Push{Absent: true})
	if !errors.Is(err, context.Canceled) || time.Since(began) > 5*time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	s.want(c, "POST upload", "PUT upload", "DELETE upload")
}

// How a cancellation is answered changes nothing of what is told of the push.
//
// Behaviour: push.abandon
func TestACancellationMayFail(t *testing.T) {
	for name, answer := range map[string]registrytest.Quirk{
		"done": registrytest.Status(204, ""), "accepted": registrytest.Status(202, ""), "gone": registrytest.Refuse(404, "BLOB_UPLOAD_UNKNOWN"),
		"not offered": registrytest.Refuse(405, "UNSUPPORTED"), "failed": registrytest.Status(500, ""), "no answer": registrytest.Reset(),
	} {
		t.Run(name, func(t *testing.T) {
			s, c := newFixture(t)
			s.On("PUT upload", registrytest.Refuse(403, "DENIED"))
			s.On("DELETE upload", answer)
			if _, err := push(c, s, blob, Push{Absent: true}); !errors.Is(err, ErrDenied) {
				t.Errorf("%v, want what the push was refused with", err)
			}
			if got := strings.Join(s.requests(c), ", "); got != "POST upload, PUT upload, "+cancelled {
				t.Errorf("asked %s", got)
			}
		})
	}
}
