package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/auth"
	"github.com/ocifs/ocifs/registry/hosts"
	"github.com/ocifs/ocifs/registry/ref"
)

func TestABlobIsAskedForAndSentInOnePiece(t *testing.T) {
	s, c := newStore(t)
	var told []int64
	done, err := push(c, s, blob, Push{Sent: func(n int64) { told = append(told, n) }})
	if err != nil || done != (Pushed{Sent: 10}) || len(told) == 0 || told[len(told)-1] != 10 {
		t.Errorf("%+v, %v, told %v", done, err, told)
	}
	s.has(blob)
	s.want(c, "HEAD blob", "POST upload", "PUT upload")
}

func TestABlobThatIsThereIsNotSent(t *testing.T) {
	s, c := newStore(t)
	s.blobs[digest.FromString(blob).String()] = blob
	if done, err := push(c, s, blob, Push{}); err != nil || done != (Pushed{Existed: true}) {
		t.Errorf("%+v, %v", done, err)
	}
	s.want(c, "HEAD blob")
}

func TestABlobThatIsKnownToBeAbsentIsNotAskedFor(t *testing.T) {
	s, c := newStore(t)
	if _, err := push(c, s, blob, Push{Absent: true}); err != nil {
		t.Error(err)
	}
	s.want(c, "POST upload", "PUT upload")
}

// A registry that can't tell whether it has a blob gets it.
func TestABlobIsSentWhereTheRegistryCannotTell(t *testing.T) {
	for _, status := range []int{401, 403, 405, 400, 501} {
		s, c := newStore(t)
		s.on("HEAD blob", 0, answer(status, ""))
		if _, err := push(c, s, blob, Push{}); err != nil {
			t.Errorf("%d: %v", status, err)
		}
		s.has(blob)
	}
}

func TestABlobIsMountedWhereThatIsLet(t *testing.T) {
	there := func(s *store, path string) ref.Repository { return ref.Repository{Host: s.repo.Host, Path: path} }
	foreign := ref.Repository{Host: "other.example", Path: "c"}
	t.Run("mounted", func(t *testing.T) {
		s, c := newStore(t)
		s.mounts = true
		var query string
		s.on("POST upload", 0, func(_ http.ResponseWriter, req *http.Request) bool { query = req.URL.RawQuery; return false })
		done, err := push(c, s, blob, Push{From: []ref.Repository{foreign, s.repo, there(s, "c/d")}})
		if err != nil || done != (Pushed{Mounted: true}) {
			t.Errorf("%+v, %v", done, err)
		}
		if want := "mount=" + url.QueryEscape(digest.FromString(blob).String()) + "&from=c%2Fd"; query != want {
			t.Errorf("asked %q, want %q", query, want)
		}
		s.want(c, "HEAD blob", "POST upload")
	})
	t.Run("declined, with a session", func(t *testing.T) {
		s, c := newStore(t)
		if done, err := push(c, s, blob, Push{From: []ref.Repository{there(s, "c"), there(s, "d")}}); err != nil || done.Mounted {
			t.Errorf("%+v, %v", done, err)
		}
		s.has(blob)
		s.want(c, "HEAD blob", "POST upload", "PUT upload")
	})
	t.Run("refused", func(t *testing.T) {
		s, c := newStore(t)
		s.on("POST upload", 1, answer(403, ""))
		s.on("POST upload", 2, answer(500, ""))
		if done, err := push(c, s, blob, Push{From: []ref.Repository{there(s, "c"), there(s, "d")}}); err != nil || done.Mounted {
			t.Errorf("%+v, %v", done, err)
		}
		s.has(blob)
		s.want(c, "HEAD blob", "POST upload", "POST upload", "POST upload", "PUT upload")
	})
}

func TestABlobGoesInChunksWhereOnePieceIsRefused(t *testing.T) {
	for _, status := range []int{400, 405, 411, 413, 415, 416, 501} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			s, c := newStore(t)
			s.on("PUT upload", 1, answer(status, ""))
			if _, err := push(c, s, blob, Push{}); err != nil {
				t.Fatal(err)
			}
			s.has(blob)
			// The next is sent so from the start.
			next := blob + blob[:2]
			if _, err := push(c, s, next, Push{Absent: true}); err != nil {
				t.Fatal(err)
			}
			s.has(next)
			if s.asks("PUT upload") != 3 || s.asks("POST upload") != 3 || s.asks("PATCH upload") != 6 {
				t.Errorf("asked %q", s.requests(c))
			}
		})
	}
}

func TestChunksHaveTheLeastLengthThatIsWanted(t *testing.T) {
	s, c := newStore(t)
	s.least = 6
	s.on("PUT upload", 1, answer(405, ""))
	if _, err := push(c, s, blob, Push{Absent: true}); err != nil {
		t.Fatal(err)
	}
	s.has(blob)
	got := strings.Join(s.requests(c), ", ")
	if !strings.Contains(got, "PATCH upload 0-5, PATCH upload 6-9, PUT upload") {
		t.Errorf("asked %s", got)
	}
}

// ECR answers 201, and its Range stays where it was.
func TestARegistryWhoseRangeIsFrozenGetsAllOfIt(t *testing.T) {
	for name, script := range map[string]func(http.ResponseWriter, *http.Request) bool{"it tells the same": nil, "it can't be asked": answer(404, ""), "nor so": answer(405, "")} {
		t.Run(name, func(t *testing.T) {
			s, c := newStore(t)
			s.frozen = true
			if script != nil {
				s.on("GET upload", 0, script)
			}
			s.on("PUT upload", 1, answer(405, ""))
			if _, err := push(c, s, blob, Push{Absent: true}); err != nil {
				t.Fatal(err)
			}
			s.has(blob)
			if s.asks("GET upload") != 1 {
				t.Errorf("asked %q", s.requests(c))
			}
		})
	}
}

// A registry that took less of a part than it was sent gets the rest of it.
func TestAPartThatWasTakenInPartIsContinued(t *testing.T) {
	s, c := newStore(t)
	s.on("PUT upload", 1, answer(405, ""))
	s.on("PATCH upload", 2, func(w http.ResponseWriter, req *http.Request) bool {
		b, _ := io.ReadAll(req.Body)
		s.sessions[sessionID(req)].Write(b[:2])
		s.told(w, sessionID(req), 202)
		return true
	})
	if _, err := push(c, s, blob, Push{Absent: true}); err != nil {
		t.Fatal(err)
	}
	s.has(blob)
	s.want(c, "POST upload", "PUT upload", "POST upload", "PATCH upload 0-3", "PATCH upload 4-7", "GET upload", "PATCH upload 6-9", "PUT upload", "DELETE upload")
}

func TestWhatIsTooLargeInAnyWaySaysSo(t *testing.T) {
	s, c := newStore(t)
	s.on("PUT upload", 0, answer(413, ""))
	s.on("PATCH upload", 0, answer(413, ""))
	if _, err := push(c, s, blob, Push{}); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
}

func TestChunksBecomeSmallerWhereTheyAreTooLarge(t *testing.T) {
	s, c := newStore(t)
	c.bounds.chunk = 4 << 20
	s.on("PUT upload", 1, answer(413, ""))
	s.on("PATCH upload", 0, func(w http.ResponseWriter, req *http.Request) bool {
		if req.ContentLength > 1<<20 {
			w.WriteHeader(413)
			return true
		}
		return false
	})
	big := strings.Repeat(blob, 300<<10)
	if _, err := push(c, s, big, Push{}); err != nil {
		t.Fatal(err)
	}
	s.has(big)
}

func TestAnEmptyBlobIsPushedWithoutItsSource(t *testing.T) {
	s, c := newStore(t)
	_, err := c.PushBlob(context.Background(), s.repo, v1.Descriptor{Digest: digest.FromString("")}, func(context.Context) (Source, error) {
		t.Error("opened")
		return nil, os.ErrInvalid
	}, Push{})
	if err != nil {
		t.Error(err)
	}
	s.has("")
	s.want(c, "HEAD blob", "POST upload", "PUT upload")
}

func TestTheAlgorithmIsToldWhereItIsNotTheUsual(t *testing.T) {
	s, c := newStore(t)
	s.on("POST upload", 0, func(_ http.ResponseWriter, req *http.Request) bool {
		if req.URL.RawQuery != "digest-algorithm=sha512" {
			t.Errorf("asked %q", req.URL.RawQuery)
		}
		return false
	})
	d := digest.SHA512.FromString(blob)
	if _, err := pushAs(context.Background(), c, s, blob, d, Push{}); err != nil || s.blobs[d.String()] != blob {
		t.Error(err)
	}
}

func TestBytesOfAnotherDigestAreCorrupt(t *testing.T) {
	s, c := newStore(t)
	if _, err := pushAs(context.Background(), c, s, blob, digest.FromString("other"), Push{}); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
	s.want(c, "HEAD blob", "POST upload", "PUT upload", "DELETE upload")
}

// A source that breaks is its own error, and isn't tried again.
func TestASourceThatFailsIsToldAsItIs(t *testing.T) {
	disk := errors.New("the disk is gone")
	for name, open := range map[string]func(context.Context) (Source, error){
		"opening": func(context.Context) (Source, error) { return nil, disk },
		"reading": func(context.Context) (Source, error) { return brokenSource{disk}, nil },
		"short":   (&bytesSource{Reader: strings.NewReader(blob[:5])}).open,
	} {
		t.Run(name, func(t *testing.T) {
			s, c := newStore(t)
			_, err := c.PushBlob(context.Background(), s.repo, v1.Descriptor{Digest: digest.FromString(blob), Size: 10}, open, Push{Absent: true})
			var e *Error
			if err == nil || errors.As(err, &e) || name != "short" && !errors.Is(err, disk) || name == "short" && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("got %v", err)
			}
			got := s.requests(c)
			if len(got) > 3 || got[len(got)-1] != "DELETE upload" {
				t.Errorf("asked %q", got)
			}
		})
	}
}

type brokenSource struct{ err error }

func (b brokenSource) ReadAt([]byte, int64) (int, error) { return 0, b.err }
func (b brokenSource) Close() error                      { return nil }

// always is one credential.
type always auth.Credential

func (a always) Credential(context.Context, ref.Repository) (auth.Credential, error) {
	return auth.Credential(a), nil
}
func (always) Hosts() []string                  { return nil }
func (always) Version() uint64                  { return 0 }
func (always) Searched(ref.Repository) []string { return nil }
func (a always) Renew(context.Context, ref.Repository, auth.Credential) (auth.Credential, error) {
	return auth.Credential(a), nil
}

// A token may be over in the middle of an upload.
func TestAnUploadThatIsChallengedGoesOnWithItsBodyFromTheStart(t *testing.T) {
	s, _ := newStore(t)
	c := s.client(t, Options{Credentials: always{Username: "u", Password: "p"}})
	challenge := answer(401, "", "WWW-Authenticate", `Basic realm="x"`)
	s.on("PUT upload", 1, func(w http.ResponseWriter, req *http.Request) bool {
		_, _ = io.CopyN(io.Discard, req.Body, 1<<20)
		return challenge(w, req)
	})
	s.on("PUT upload", 2, func(_ http.ResponseWriter, req *http.Request) bool {
		if u, p, _ := req.BasicAuth(); u+p != "up" {
			t.Error("it comes without the credential")
		}
		return false
	})
	big := strings.Repeat(blob, 1<<20)
	if _, err := push(c, s, big, Push{Absent: true}); err != nil {
		t.Fatal(err)
	}
	s.has(big)
	s.want(c, "POST upload", "PUT upload", "PUT upload")
}

// The bytes go where the registry says; the credential stays.
func TestASessionElsewhereGetsNoCredential(t *testing.T) {
	s, _ := newStore(t)
	var got []string
	var size int64
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		got = append(got, req.Method+" "+req.Header.Get("Authorization"))
		size, _ = io.Copy(io.Discard, req.Body)
		w.WriteHeader(201)
	}))
	defer other.Close()
	s.elsewhere = other.URL
	c := s.client(t, Options{Credentials: always{Username: "u", Password: "p"}})
	s.on("POST upload", 1, answer(401, "", "WWW-Authenticate", `Basic realm="x"`))
	if _, err := push(c, s, blob, Push{Absent: true}); err != nil || size != 10 || len(got) != 1 || got[0] != "PUT " {
		t.Errorf("%v: it got %d bytes by %q", err, size, got)
	}
}

// A registry behind a TLS proxy names itself by http.
func TestASessionStaysEncrypted(t *testing.T) {
	var put *http.Request
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch req.Method {
		case http.MethodPost:
			w.Header().Set("Location", "http://"+req.Host+"/up?x=1")
			w.WriteHeader(202)
		case http.MethodPut:
			put = req
			_, _ = io.Copy(io.Discard, req.Body)
			w.WriteHeader(201)
		}
	}))
	defer s.Close()
	c := New(Options{})
	defer c.Close()
	c.wires.usual = newWire(hosts.Endpoint{TLS: s.Client().Transport.(*http.Transport).TLSClientConfig})
	r := ref.Repository{Host: strings.TrimPrefix(s.URL, "https://"), Path: "a/b"}
	src := &bytesSource{Reader: strings.NewReader(blob)}
	_, err := c.PushBlob(context.Background(), r, v1.Descriptor{Digest: digest.FromString(blob), Size: 10}, src.open, Push{Absent: true})
	if err != nil || put == nil || put.TLS == nil || !strings.HasPrefix(put.URL.RawQuery, "x=1&digest=") {
		t.Errorf("%v: %v", err, put)
	}
}

// Nothing of a session's query is shown: it may let anyone write.
func TestASessionsQueryIsNotShown(t *testing.T) {
	for name, location := range map[string]string{"ours": "/v2/a/b/blobs/uploads/s1?_state=secret", "bad": "ftp://x/?secret", "nonsense": "http://[::1?secret", "none there": "http://127.0.0.1:1/?secret"} {
		t.Run(name, func(t *testing.T) {
			s, _ := newStore(t)
			var log bytes.Buffer
			c := s.client(t, Options{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
			s.on("POST upload", 0, answer(202, "", "Location", location))
			s.on("PUT upload", 0, answer(500, ""))
			_, err := push(c, s, blob, Push{})
			c.Close()
			if err == nil || strings.Contains(err.Error()+log.String(), "secret") {
				t.Errorf("%v\n%s", err, &log)
			}
		})
	}
}

func TestAnUploadThatIsInterruptedIsCancelled(t *testing.T) {
	s, c := newStore(t)
	ctx, cancel := context.WithCancel(context.Background())
	s.on("PUT upload", 1, func(_ http.ResponseWriter, req *http.Request) bool {
		cancel()
		_, _ = io.Copy(io.Discard, req.Body) // until it hangs up
		return true
	})
	began := time.Now()
	_, err := pushAs(ctx, c, s, strings.Repeat(blob, 1<<20), digest.FromString(strings.Repeat(blob, 1<<20)), Push{Absent: true})
	if !errors.Is(err, context.Canceled) || time.Since(began) > 5*time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	s.want(c, "POST upload", "PUT upload", "DELETE upload")
}

func TestUploadsTakeTheirPlaces(t *testing.T) {
	s, _ := newStore(t)
	c := s.client(t, Options{Uploads: 1})
	release, err := c.take(context.Background(), c.places, s.repo.Host, 1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := pushAs(ctx, c, s, blob, digest.FromString(blob), Push{Absent: true}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	release()
	if _, err := push(c, s, blob, Push{Absent: true}); err != nil {
		t.Error(err)
	}
}
