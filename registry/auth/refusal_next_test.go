package auth

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ocifs/ocifs/registry/ref"
)

// onlyGood is a registry, by tokens or by Basic, that lets in nobody but with a password
// that begins with good.
func onlyGood(t *testing.T, scheme string) *fake {
	good := func(req *http.Request) bool {
		_, password, _ := req.BasicAuth()
		return strings.HasPrefix(password, "good")
	}
	return serve(t, false, func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		switch {
		case scheme == "Basic" && !good(req), scheme == "Bearer" && req.URL.Path != "/token" && who(req) != "T":
			challenge(w, scheme+` realm="/token"`)
		case req.URL.Path != "/token":
		case good(req):
			_, _ = io.WriteString(w, `{"token":"T","expires_in":3600}`)
		default:
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
}

// passwords gives the passwords that a registry saw, as often as it did.
func passwords(asked []string) (all []string) {
	for _, q := range asked {
		if _, password, ok := strings.Cut(q, ":"); ok {
			all = append(all, password)
		}
	}
	return all
}

// Who logged in with podman long ago, and with docker just now, is let in: for reading and
// for writing. The old password is shown once.
//
// Behaviour: auth.next
func TestARefusedCredentialIsFollowedByTheNextSources(t *testing.T) {
	for _, scheme := range []string{"Basic", "Bearer"} {
		for _, access := range []Access{{}, {Do: Push}} {
			t.Run(fmt.Sprint(scheme, access.Do), func(t *testing.T) {
				podmans, dockers := home(t)
				f := onlyGood(t, scheme)
				host := f.repo("").Host
				writeConfig(t, podmans, host+"=jane:bad")
				writeConfig(t, dockers, host+"=jane:good")
				var log syncBuffer
				a := f.by(Default(nil))
				a.Log = log.logger()
				method := map[Action]string{Pull: http.MethodGet, Push: http.MethodPut}[access.Do]
				for range 3 {
					if status, _, err := f.send(t.Context(), a, method, "a/b", sent, access); err != nil || status != http.StatusOK {
						t.Errorf("%d, %v", status, err)
					}
				}
				seen := passwords(f.took())
				if n := len(slices.DeleteFunc(slices.Clone(seen), func(p string) bool { return p != "bad" })); n != 1 {
					t.Errorf("it saw %q, want the bad one once", seen)
				}
				if told := log.String(); strings.Count(told, "level=WARN") != 1 || !strings.Contains(told, "podman login "+host) || !strings.Contains(told, dockers) {
					t.Errorf("told: %s", told)
				}
			})
		}
	}
}

// A wrong password isn't shown for each of a thousand repositories: accounts are locked
// for that.
//
// Behaviour: auth.next
func TestAWrongPasswordIsShownOnceToAHost(t *testing.T) {
	for _, scheme := range []string{"Basic", "Bearer"} {
		t.Run(scheme, func(t *testing.T) {
			podmans, dockers := home(t)
			f := onlyGood(t, scheme)
			host := f.repo("").Host
			writeConfig(t, podmans, host+"=jane:bad")
			writeConfig(t, dockers, host+"=jane:good")
			a := f.by(Default(nil))
			for i := range 20 {
				f.get(t, a, fmt.Sprint("a/b", i), http.StatusOK)
			}
			if seen := passwords(f.took()); slices.Index(seen, "bad") != 0 || slices.Contains(seen[1:], "bad") {
				t.Errorf("it saw %q", seen)
			}
			// A new login counts at once.
			writeConfig(t, podmans, host+"=joe:good2")
			f.get(t, a, "a/b0", http.StatusOK)
			f.get(t, a, "a/new", http.StatusOK)
			if seen := passwords(f.took()); slices.ContainsFunc(seen, func(p string) bool { return p != "good2" }) || len(seen) == 0 {
				t.Errorf("after a new login it saw %q", seen)
			}
		})
	}
}

// A credential that is refused at one repository is still tried at another, where all
// others are refused: registries answer 401 to what isn't allowed, too.
func TestACredentialThatIsTooLittleHereIsEnoughThere(t *testing.T) {
	podmans, dockers := home(t)
	f := serve(t, false, func(w http.ResponseWriter, req *http.Request) {
		if user, _, _ := req.BasicAuth(); !strings.HasPrefix(req.URL.Path, "/v2/"+user+"/") {
			challenge(w, `Basic realm="x"`)
		}
	})
	host := f.repo("").Host
	writeConfig(t, podmans, host+"=one:p")
	writeConfig(t, dockers, host+"=two:p")
	a := f.by(Default(nil))
	for _, path := range []string{"two/x", "one/x", "two/y", "one/y", "two/x", "one/x"} {
		f.get(t, a, path, http.StatusOK)
	}
}

// Where all are refused, each is shown once to begin with, and no request shows more than
// one afterwards. The error names them all, and what a person does.
//
// Behaviour: auth.next, auth.told
func TestWhereAllAreRefusedEachIsNamed(t *testing.T) {
	for _, scheme := range []string{"Basic", "Bearer"} {
		t.Run(scheme, func(t *testing.T) {
			podmans, dockers := home(t)
			f := onlyGood(t, scheme)
			host := f.repo("").Host
			t.Setenv(environment, entryOf(host, "joe:bad0"))
			writeConfig(t, podmans, host+"=jane:bad1")
			writeConfig(t, dockers, host+"=jane:bad2")
			a := f.by(Default(nil))
			want := Use{Origin: `joe from the environment, DOCKER_AUTH_CONFIG; jane from ` + podmans + `, key "` + host + `"; jane from ` + dockers + `, key "` + host + `"`,
				Hint: "set DOCKER_AUTH_CONFIG anew, or unset it; podman login " + host + ", or podman logout " + host + " (which write " + podmans + "); docker login " + host + " (which writes " + dockers + ")",
			}
			for i := range 4 {
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, f.URL+"/v2/a/b", nil)
				resp, use, err := a.Do(req, f.repo("a/b"), Access{})
				if err == nil {
					resp.Body.Close()
				}
				use.Rests = nil
				if status := statusOf(err); use != want || err == nil && resp.StatusCode != http.StatusUnauthorized || err != nil && status != http.StatusUnauthorized {
					t.Errorf("got  %+v, %v\nwant %+v", use, err, want)
				}
				seen := passwords(f.took())
				if i == 0 && !slices.Equal(seen, []string{"bad0", "bad1", "bad2"}) || i > 0 && len(seen) > 2 {
					t.Errorf("request %d showed %q", i, seen)
				}
			}
		})
	}
}

// many is a source with more credentials than anyone has.
type many struct{ n int }

func (m many) Credential(ctx context.Context, r ref.Repository) (Credential, error) {
	return m.Next(ctx, r, nil)
}

func (m many) Next(_ context.Context, _ ref.Repository, refused []Credential) (Credential, error) {
	if len(refused) >= m.n {
		return Credential{}, nil
	}
	return Credential{Username: "u", Password: fmt.Sprint("bad", len(refused)), Origin: "x"}, nil
}

// However many credentials there are, a request shows a few.
func TestARequestShowsFewCredentials(t *testing.T) {
	for _, scheme := range []string{"Basic", "Bearer"} {
		f := onlyGood(t, scheme)
		_, _, _ = f.send(t.Context(), f.by(many{100}), http.MethodPut, "a/b", sent, Access{Do: Push})
		if seen := passwords(f.took()); len(seen) != maxTries {
			t.Errorf("%s: it saw %d: %q", scheme, len(seen), seen)
		}
	}
}

// What is refused is tried again when its time is over: an account may have been unlocked.
func TestWhatWasRefusedIsTriedAgainLater(t *testing.T) {
	podmans, dockers := home(t)
	var locked atomic.Bool
	locked.Store(true)
	f := serve(t, false, func(w http.ResponseWriter, req *http.Request) {
		if user, _, _ := req.BasicAuth(); user != "two" && (user != "one" || locked.Load()) {
			challenge(w, `Basic realm="x"`)
		}
	})
	host := f.repo("").Host
	writeConfig(t, podmans, host+"=one:p")
	writeConfig(t, dockers, host+"=two:p")
	a := f.by(Default(nil))
	f.get(t, a, "a/b", http.StatusOK)
	f.want(t, "GET /v2/a/b", "GET /v2/a/b one:p", "GET /v2/a/b two:p")
	locked.Store(false)
	g := a.grant(f.repo("a/b"), Access{})
	g.mu.Lock()
	g.retryAt = time.Now().Add(-time.Second)
	g.mu.Unlock()
	a.refusals.byHost = nil
	f.get(t, a, "a/b", http.StatusOK)
	f.want(t, "GET /v2/a/b one:p")
}

// A token endpoint that refuses all isn't asked for each request of a program that tries
// again at once, and is as soon as the file changes.
func TestTheRefusalOfATokenEndpointStandsForAMoment(t *testing.T) {
	f := onlyGood(t, "Bearer")
	host := f.repo("").Host
	file := filepath.Join(t.TempDir(), "config.json")
	writeConfig(t, file, host+"=jane:bad")
	a := f.by(FromFiles(nil, file))
	for range 10 {
		if _, _, err := f.send(t.Context(), a, http.MethodPut, "a/b", sent, Access{Do: Push}); statusOf(err) != http.StatusUnauthorized {
			t.Errorf("got %v", err)
		}
	}
	if seen := passwords(f.took()); len(seen) != 1 {
		t.Errorf("it saw %q", seen)
	}
	writeConfig(t, file, host+"=jane:good")
	if status, _, err := f.send(t.Context(), a, http.MethodPut, "a/b", sent, Access{Do: Push}); err != nil || status != http.StatusOK {
		t.Errorf("%d, %v", status, err)
	}
}
