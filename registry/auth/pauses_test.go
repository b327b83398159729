package auth

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// over ends all pauses, as time does.
func (p *pauses) over() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for at, pause := range p.of {
		pause.until = time.Now()
		p.of[at] = pause
	}
}

// A wrong password without another beside it is shown once to a host, however much is read, and
// written, and wherever. The answer stays the same, and says that the registry wasn't asked.
//
// Behaviour: auth.pause, auth.told
func TestAWrongPasswordIsNotShownWithEachRequest(t *testing.T) {
	for _, scheme := range []string{"Basic", "Bearer"} {
		t.Run(scheme, func(t *testing.T) {
			f := onlyGood(t, scheme)
			host := f.repo("").Host
			file := filepath.Join(t.TempDir(), "config.json")
			writeConfig(t, file, host+"=jane:bad")
			a := f.by(FromFiles(nil, file))
			for i := range 12 {
				access := Access{Do: []Action{Pull, Push}[i%2]}
				req, _ := http.NewRequestWithContext(t.Context(), map[Action]string{Pull: "GET", Push: "PUT"}[access.Do], f.URL+"/v2/a/b", nil)
				resp, use, err := a.Do(req, f.repo(fmt.Sprint("a/b", i/4)), access)
				status := statusOf(err)
				if err == nil {
					status = resp.StatusCode
					resp.Body.Close()
				}
				if status != http.StatusUnauthorized || !strings.Contains(use.Origin, "jane from "+file) || use.Hint == "" {
					t.Errorf("request %d: %d, %+v, %v", i, status, use, err)
				}
				if rests := use.Rests != nil || err != nil && strings.Contains(err.Error(), "it isn't tried again before "); scheme == "Basic" && rests != (i > 0) {
					t.Errorf("request %d: %+v, %v", i, use, err)
				}
			}
			if seen := passwords(f.took()); !slices.Equal(seen, []string{"bad"}) {
				t.Errorf("it saw %q", seen)
			}
			// Another login counts at once.
			writeConfig(t, file, host+"=jane:good")
			f.get(t, a, "a/b0", http.StatusOK)
			if seen := passwords(f.took()); len(seen) == 0 || slices.Contains(seen, "bad") {
				t.Errorf("after a new login it saw %q", seen)
			}
		})
	}
}

// Each refusal that follows another makes the pause longer, up to a bound. Many that come at once
// are one.
//
// Behaviour: auth.pause
func TestThePauseOfAWrongPasswordGrows(t *testing.T) {
	f := onlyGood(t, "Basic")
	a := f.by(Static(f.repo("").Host, "jane", "bad"))
	for i, want := range []time.Duration{firstPause, 2 * firstPause, 4 * firstPause} {
		f.get(t, a, "a/b", http.StatusUnauthorized)
		f.get(t, a, "a/b", http.StatusUnauthorized)
		for at, p := range a.pauses.of {
			if p.length != want || at.r.Path != "" {
				t.Errorf("pause %d is %v of %q, want %v of the host", i, p.length, at.r, want)
			}
		}
		a.pauses.over()
	}
	if seen := passwords(f.took()); len(seen) != 3 {
		t.Errorf("it saw %q", seen)
	}
	at, wrong := shown{shownTo: shownTo{host: "x"}}, &refusal{wrong: true}
	for range 20 {
		a.pauses.rest(at, wrong, 0)
		a.pauses.rest(at, wrong, 0)
		a.pauses.over()
	}
	if got := a.pauses.of[at].length; got != longestPause {
		t.Errorf("it grows to %v, want %v", got, longestPause)
	}
}

// Where a host let a password in a moment ago, its 401 is of what isn't allowed: the password rests
// there alone.
//
// Behaviour: auth.pause
func TestAPasswordThatIsTooLittleHereDoesNotRestThere(t *testing.T) {
	f := serve(t, false, func(w http.ResponseWriter, req *http.Request) {
		if user, _, _ := req.BasicAuth(); user != "jane" || !strings.HasPrefix(req.URL.Path, "/v2/jane/") {
			challenge(w, `Basic realm="x"`)
		}
	})
	a := f.by(Static(f.repo("").Host, "jane", "p"))
	f.get(t, a, "jane/x", http.StatusOK)
	f.took()
	for range 3 {
		f.get(t, a, "joe/x", http.StatusUnauthorized)
		f.get(t, a, "jane/x", http.StatusOK)
		f.get(t, a, "jane/y", http.StatusOK)
	}
	if n := len(slices.DeleteFunc(f.took(), func(q string) bool { return q != "GET /v2/joe/x jane:p" })); n != 1 {
		t.Errorf("it was shown %d times where it isn't enough", n)
	}
}

// While a password rests, what is public is read without it, and an account that was unlocked is let
// in once the pause is over.
//
// Behaviour: auth.pause, auth.expired
func TestAPauseHidesNothingThatIsPublic(t *testing.T) {
	var locked atomic.Bool
	locked.Store(true)
	f := serve(t, false, func(w http.ResponseWriter, req *http.Request) {
		_, _, shown := req.BasicAuth()
		if shown && locked.Load() || !shown && !strings.HasPrefix(req.URL.Path, "/v2/public") {
			challenge(w, `Basic realm="x"`)
		}
	})
	a := f.by(Static(f.repo("").Host, "jane", "p"))
	f.get(t, a, "private", http.StatusUnauthorized)
	f.get(t, a, "public", http.StatusOK)
	locked.Store(false)
	f.get(t, a, "private", http.StatusUnauthorized)
	a.pauses.over()
	f.get(t, a, "private", http.StatusOK)
	if got := len(a.pauses.of); got != 0 {
		t.Errorf("%d pauses are left", got)
	}
}
