package registries_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// everyKind starts one registry of each kind.
func everyKind(t *testing.T) map[string]*registries.Server {
	t.Helper()
	started := map[string]*registries.Server{}
	add := func(name string, s *registries.Server, err error) {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Cleanup(func() { s.Close() })
		started[name] = s
	}
	s, err := registries.Distribution(t.Context(), registries.Options{})
	add("distribution", s, err)
	s, err = registries.Olareg(registries.Options{})
	add("olareg", s, err)
	s, err = registries.Debian(context.WithoutCancel(t.Context()), registries.Options{Dir: t.TempDir()})
	add("docker-registry", s, err)
	return started
}

// Every registry takes every kind of content, and gives it back as it was.
func TestRegistriesKeepContent(t *testing.T) {
	for name, s := range everyKind(t) {
		t.Run(name, func(t *testing.T) {
			repo, err := content.To(s.Host, "team/app", "", "")
			if err != nil {
				t.Fatal(err)
			}
			ctx := t.Context()
			image, err := repo.Image(ctx, "v1", content.Sample("v1"))
			if err != nil {
				t.Fatal(err)
			}
			docker := content.Sample("docker")
			docker.Docker = true
			if _, err := repo.Image(ctx, "docker", docker); err != nil {
				t.Error(err)
			}
			index, err := repo.MultiPlatform(ctx, "multi")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := repo.Index(ctx, "nested", "", index, image.For("linux", "s390x", "")); err != nil {
				t.Error(err)
			}
			if _, err := repo.TitledArtifact(ctx, "model"); err != nil {
				t.Error(err)
			}
			if _, err := repo.HelmChart(ctx, "chart", "web", "1.2.3"); err != nil {
				t.Error(err)
			}
			if _, err := repo.Referrer(ctx, image, "application/vnd.example.sbom", "an sbom"); err != nil {
				t.Error(err)
			}
			s.Forget()
			if got, status := get(t, s, "/v2/team/app/manifests/v1"); status != 200 || got != string(image.Bytes) {
				t.Errorf("GET v1: status %d, %d bytes; want 200 and the %d bytes pushed", status, len(got), len(image.Bytes))
			}
			if got, _ := get(t, s, "/v2/team/app/blobs/"+image.Layers[0].Digest.String()); got != string(image.Layers[0].Bytes) {
				t.Errorf("the first layer came back with %d bytes, want %d", len(got), image.Layers[0].Size)
			}
			if got := s.Counts(); got["GET manifest"] != 1 || got["GET blob"] != 1 || len(got) != 2 {
				t.Errorf("recorded %v", got)
			}
			if last := s.Requests()[1]; last.Bytes != image.Layers[0].Size || last.Status != 200 || last.Repository != "team/app" {
				t.Errorf("recorded %v", last)
			}
			if resp, err := http.Head("http://" + s.Host + "/v2/team/app/blobs/" + digest.FromString("no such blob").String()); err != nil {
				t.Error(err)
			} else if resp.Body.Close(); resp.StatusCode != 404 || s.Requests()[2].Bytes != 0 {
				t.Errorf("recorded %v of an answer that has no body", s.Requests()[2])
			}
		})
	}
}

// Each fault does to an answer what its name says, and nothing after Heal.
func TestFaults(t *testing.T) {
	s, err := registries.Olareg(registries.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	repo, err := content.To(s.Host, "app", "", "")
	if err != nil {
		t.Fatal(err)
	}
	whole := content.NoiseBytes(1, 100_000)
	blob, err := repo.Blob(t.Context(), "application/octet-stream", whole)
	if err != nil {
		t.Fatal(err)
	}
	path := "/v2/app/blobs/" + blob.Digest.String()

	s.Fault(registries.Fault{Path: "/blobs/", Status: 503, Times: 1})
	if _, status := get(t, s, path); status != 503 {
		t.Errorf("Status: got %d", status)
	}
	s.Fault(registries.Fault{Corrupt: 70_001})
	if got, _ := get(t, s, path); len(got) != len(whole) || got[70_000] != whole[70_000]^0xff || got[:70_000] != string(whole[:70_000]) {
		t.Error("Corrupt: the byte is as it was, or others aren't")
	}
	s.Heal()
	s.Fault(registries.Fault{Short: 12_345})
	if got, _ := get(t, s, path); got != string(whole[:12_345]) {
		t.Errorf("Short: got %d bytes", len(got))
	}
	s.Heal()
	s.Fault(registries.Fault{Cut: 50_000, Times: 1})
	resp, err := http.Get("http://" + s.Host + path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(resp.Body)
	if resp.Body.Close(); !errors.Is(err, io.ErrUnexpectedEOF) || len(got) != 50_000 {
		t.Errorf("Cut: %d bytes and %v", len(got), err)
	}
	s.Fault(registries.Fault{Stall: 1000})
	if resp, err = http.Get("http://" + s.Host + path); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, 1000)); err != nil {
		t.Errorf("Stall: the first bytes: %v", err)
	}
	s.Heal()
	rest, err := io.ReadAll(resp.Body)
	if resp.Body.Close(); err != nil || !slices.Equal(rest, whole[1000:]) {
		t.Errorf("Stall: after Heal %d bytes and %v", len(rest), err)
	}
	if err := s.Gone(); err != nil {
		t.Fatal(err)
	}
	if _, err := http.Get("http://" + s.Host + path); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Gone: %v", err)
	}
	if err := s.Back(); err != nil {
		t.Fatal(err)
	}
	if got, status := get(t, s, path); status != 200 || got != string(whole) {
		t.Errorf("Back: status %d", status)
	}
}

// Faults of requests' bodies do what their names say, and what was sent is counted.
func TestFaultsOfBodies(t *testing.T) {
	for name, s := range everyKind(t) {
		t.Run(name, func(t *testing.T) {
			blob := content.NoiseBytes(3, 300_000)
			push := func() error {
				repo, err := content.To(s.Host, "app", "", "")
				if err != nil {
					t.Fatal(err)
				}
				_, err = repo.Blob(t.Context(), "application/octet-stream", blob)
				return err
			}
			for fault, f := range map[string]registries.Fault{
				"CutBody":   {Method: "PUT", CutBody: 100_000},
				"Drain":     {Method: "PUT", Status: 403, Drain: true},
				"StallBody": {Method: "PUT", StallBody: 100_000},
			} {
				s.Forget()
				s.Fault(f)
				if fault == "StallBody" {
					time.AfterFunc(time.Second, s.Heal)
				}
				err := push()
				s.Heal()
				if (err == nil) != (fault == "StallBody") {
					t.Errorf("%s: %v", fault, err)
				}
				sent := s.Sent(registries.Upload)
				switch {
				case fault == "CutBody" && (sent < 100_000 || sent%100_000 != 0),
					fault != "CutBody" && sent != int64(len(blob)):
					t.Errorf("%s: %d bytes were sent of %d", fault, sent, len(blob))
				}
				if fault == "StallBody" {
					blob = content.NoiseBytes(4, 300_000) // the first is there now
				}
			}
			s.Fault(registries.Fault{Method: "PUT", Lose: true, Times: 1})
			blob = content.NoiseBytes(5, 300_000)
			push() // which may have tried again
			if _, status := get(t, s, "/v2/app/blobs/"+digest.FromBytes(blob).String()); status != 200 {
				t.Errorf("Lose: the registry answers %d, want that it has the blob", status)
			}
			s.Heal()
		})
	}
}

// Distribution accepts the token server's tokens and no one without.
func TestTokens(t *testing.T) {
	s, err := registries.Distribution(t.Context(), registries.Options{Users: map[string]string{"jane": "secret"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	push := func(path, user, password string) error {
		repo, err := content.To(s.Host, path, user, password)
		if err != nil {
			t.Fatal(err)
		}
		_, err = repo.Image(t.Context(), "v1", content.Small("text"))
		return err
	}
	if err := push("private/app", "jane", "secret"); err != nil {
		t.Errorf("jane pushes: %v", err)
	}
	for _, r := range s.Tokens.Requests() {
		if r.User != "jane" || r.Status != 200 {
			t.Errorf("jane's request for a token: %+v", r)
		}
	}
	for _, c := range []struct{ path, user, password string }{
		{"private/app", "jane", "wrong"}, {"private/app", "", ""}, {"locked/app", "jane", "secret"}, {"public/app", "", ""},
	} {
		if err := push(c.path, c.user, c.password); err == nil {
			t.Errorf("%q pushed to %s", c.user, c.path)
		}
	}
}

// Docker-registry accepts the passwords of its file and no others.
func TestHtpasswd(t *testing.T) {
	s, err := registries.Debian(context.WithoutCancel(t.Context()), registries.Options{Dir: t.TempDir(), Users: map[string]string{"jane": "secret"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for password, want := range map[string]bool{"secret": true, "wrong": false} {
		repo, err := content.To(s.Host, "app", "jane", password)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := repo.Image(t.Context(), "v1", content.Small("text")); (err == nil) != want {
			t.Errorf("with password %q: %v", password, err)
		}
	}
}

// get asks for path, as a client that knows manifests of all kinds.
func get(t *testing.T, s *registries.Server, path string) (body string, status int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Host+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), resp.StatusCode
}

// A list of tags comes in pages, each of which says where the next one is, and all of
// them together are the list.
func TestTaggedPages(t *testing.T) {
	tags := []string{"a", "b", "c", "d", "e"}
	s, err := registries.Tagged(tags, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	for query, pages := range map[string]int{"": 3, "?n=1": 5, "?n=1000": 3, "?last=c": 1} {
		s.Forget()
		var got []string
		for at := "/v2/team/app/tags/list" + query; at != "" && len(got) <= len(tags); {
			resp, err := http.Get("http://" + s.Host + at)
			if err != nil {
				t.Fatal(err)
			}
			var page struct{ Tags []string }
			err = json.NewDecoder(resp.Body).Decode(&page)
			resp.Body.Close()
			if err != nil {
				t.Fatalf("%s: %v", at, err)
			}
			got = append(got, page.Tags...)
			at, _, _ = strings.Cut(strings.TrimPrefix(resp.Header.Get("Link"), "<"), ">")
		}
		want := tags
		if query == "?last=c" {
			want = tags[3:]
		}
		if n := s.Counts()["GET tags"]; !slices.Equal(got, want) || n != pages {
			t.Errorf("%q gave %v in %d pages, want %v in %d", query, got, n, want, pages)
		}
	}
}
