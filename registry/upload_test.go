package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/auth"
	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// Behaviour: push.order
func TestABlobIsAskedForAndSentInOnePiece(t *testing.T) {
	s, c := newFixture(t)
	var told []int64
	done, err := push(c, s, blob, Push{Sent: func(n int64) { told = append(told, n) }})
	if err != nil || done != (Pushed{Sent: 10}) || len(told) == 0 || told[len(told)-1] != 10 {
		t.Errorf("%+v, %v, told %v", done, err, told)
	}
	s.has(blob)
	s.want(c, "HEAD blob", "POST upload", "PUT upload")
}

func TestABlobThatIsThereIsNotSent(t *testing.T) {
	s, c := newFixture(t)
	s.Blob(s.repo.Path, []byte(blob))
	if done, err := push(c, s, blob, Push{}); err != nil || done != (Pushed{Existed: true}) {
		t.Errorf("%+v, %v", done, err)
	}
	s.want(c, "HEAD blob")
}

func TestABlobThatIsKnownToBeAbsentIsNotAskedFor(t *testing.T) {
	s, c := newFixture(t)
	if _, err := push(c, s, blob, Push{Absent: true}); err != nil {
		t.Error(err)
	}
	s.want(c, "POST upload", "PUT upload")
}

// A registry that can't tell whether it has a blob gets it.
//
// Behaviour: push.order
func TestABlobIsSentWhereTheRegistryCannotTell(t *testing.T) {
	for _, status := range []int{401, 403, 405, 400, 501} {
		s, c := newFixture(t)
		s.On("HEAD blob", registrytest.Status(status, ""))
		if _, err := push(c, s, blob, Push{}); err != nil {
			t.Errorf("%d: %v", status, err)
		}
		s.has(blob)
	}
}

// Behaviour: push.order, push.mount
func TestABlobIsMountedWhereThatIsLet(t *testing.T) {
	there := func(s *fixture, path string) ref.Repository { return ref.Repository{Host: s.repo.Host, Path: path} }
	foreign := ref.Repository{Host: "other.example", Path: "c"}
	t.Run("mounted", func(t *testing.T) {
		s, c := newFixture(t)
		s.Change(func(tr *registrytest.Traits) { tr.Mounts = true })
		s.Blob("c/d", []byte(blob))
		done, err := push(c, s, blob, Push{From: []ref.Repository{foreign, s.repo, there(s, "c/d")}})
		if err != nil || done != (Pushed{Mounted: true}) {
			t.Errorf("%+v, %v", done, err)
		}
		s.want(c, "HEAD blob", "POST upload")
		s.has(blob)
		if want, got := "mount="+url.QueryEscape(digest.FromString(blob).String())+"&from=c%2Fd", s.Requests()[1].Query; got != want {
			t.Errorf("asked %q, want %q", got, want)
		}
	})
	t.Run("declined, with a session", func(t *testing.T) {
		s, c := newFixture(t)
		if done, err := push(c, s, blob, Push{From: []ref.Repository{there(s, "c"), there(s, "d")}}); err != nil || done.Mounted {
			t.Errorf("%+v, %v", done, err)
		}
		s.has(blob)
		s.want(c, "HEAD blob", "POST upload", "PUT upload")
	})
	t.Run("refused", func(t *testing.T) {
		s, c := newFixture(t)
		s.Nth(1, "POST upload", registrytest.Status(403, ""))
		s.Nth(2, "POST upload", registrytest.Status(500, ""))
		if done, err := push(c, s, blob, Push{From: []ref.Repository{there(s, "c"), there(s, "d")}}); err != nil || done.Mounted {
			t.Errorf("%+v, %v", done, err)
		}
		s.has(blob)
		s.want(c, "HEAD blob", "POST upload", "POST upload", "POST upload", "PUT upload")
	})
}

// Behaviour: push.order
func TestABlobGoesInChunksWhereOnePieceIsRefused(t *testing.T) {
	for _, status := range []int{400, 405, 411, 413, 415, 416, 501} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			s, c := newFixture(t)
			s.Nth(1, "PUT upload", registrytest.Status(status, ""))
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
			if s.Count("PUT upload") != 3 || s.Count("POST upload") != 3 || s.Count("PATCH upload") != 6 {
				t.Errorf("asked %q", s.requests(c))
			}
		})
	}
}

// Behaviour: push.chunks
func TestChunksHaveTheLeastLengthThatIsWanted(t *testing.T) {
	s, c := newFixture(t)
	s.Change(func(tr *registrytest.Traits) { tr.ChunkMin = 6 })
	s.Nth(1, "PUT upload", registrytest.Status(405, ""))
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
//
// Behaviour: push.chunks
func TestARegistryWhoseRangeIsFrozenGetsAllOfIt(t *testing.T) {
	for name, script := range map[string]registrytest.Quirk{"it tells the same": nil, "it can't be asked": registrytest.Status(404, ""), "nor so": registrytest.Status(405, "")} {
		t.Run(name, func(t *testing.T) {
			s, c := newFixture(t)
			s.Change(func(tr *registrytest.Traits) { tr.FrozenRange = true })
			if script != nil {
				s.On("GET upload", script)
			}
			s.Nth(1, "PUT upload", registrytest.Status(405, ""))
			if _, err := push(c, s, blob, Push{Absent: true}); err != nil {
				t.Fatal(err)
			}
			s.has(blob)
			if s.Count("GET upload") != 1 {
				t.Errorf("asked %q", s.requests(c))
			}
		})
	}
}

// A registry that took less of a part than it was sent gets the rest of it.
//
// Behaviour: push.chunks
func TestAPartThatWasTakenInPartIsContinued(t *testing.T) {
	s, c := newFixture(t)
	s.Nth(1, "PUT upload", registrytest.Status(405, ""))
	s.Nth(2, "PATCH upload", registrytest.TakeOnly(2))
	if _, err := push(c, s, blob, Push{Absent: true}); err != nil {
		t.Fatal(err)
	}
	s.has(blob)
	s.want(c, "POST upload", "PUT upload", "POST upload", "PATCH upload 0-3", "PATCH upload 4-7", "GET upload", "PATCH upload 6-9", "PUT upload", "DELETE upload")
}

func TestWhatIsTooLargeInAnyWaySaysSo(t *testing.T) {
	s, c := newFixture(t)
	s.On("PUT upload", registrytest.Status(413, ""))
	s.On("PATCH upload", registrytest.Status(413, ""))
	if _, err := push(c, s, blob, Push{}); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
}

func TestChunksBecomeSmallerWhereTheyAreTooLarge(t *testing.T) {
	s, c := newFixture(t)
	c.bounds.chunk = 4 << 20
	s.Nth(1, "PUT upload", registrytest.Status(413, ""))
	s.On("PATCH upload", func(x *registrytest.Exchange, next func() *registrytest.Answer) *registrytest.Answer {
		if x.ContentLength > 1<<20 {
			return registrytest.Plain(413, "")
		}
		return next()
	})
	big := strings.Repeat(blob, 300<<10)
	if _, err := push(c, s, big, Push{}); err != nil {
		t.Fatal(err)
	}
	s.has(big)
}

func TestAnEmptyBlobIsPushedWithoutItsSource(t *testing.T) {
	s, c := newFixture(t)
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

// Behaviour: names.digests
func TestTheAlgorithmIsToldWhereItIsNotTheUsual(t *testing.T) {
	s, c := newFixture(t)
	d := digest.SHA512.FromString(blob)
	if _, err := pushAs(context.Background(), c, s, blob, d, Push{Absent: true}); err != nil || string(s.ReadBlob(s.repo.Path, d)) != blob {
		t.Error(err)
	}
	if got := s.Requests()[0]; got.Method != http.MethodPost || got.Query != "digest-algorithm=sha512" {
		t.Errorf("asked %q", got.Query)
	}
}

func TestBytesOfAnotherDigestAreCorrupt(t *testing.T) {
	s, c := newFixture(t)
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
			s, c := newFixture(t)
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

func TestUploadsTakeTheirPlaces(t *testing.T) {
	s, _ := newFixture(t)
	c := s.client(t, Options{Uploads: 1})
	release, err := c.uploads.take(context.Background(), s.repo.Host)
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
