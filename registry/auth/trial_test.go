package auth

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
)

// Many requests that begin at once show a wrong password once. A right one lets all in.
//
// Behaviour: auth.pause
func TestManyAtOnceShowAWrongPasswordOnce(t *testing.T) {
	for _, scheme := range []string{"Basic", "Bearer"} {
		for name, c := range map[string]struct {
			podmans, dockers string // passwords; "": none
			status           int
			bad              int // how often a wrong password is shown; -1: sometimes more than once
		}{
			"wrong":           {"bad", "", 401, 1},
			"wrong and right": {"bad", "good", 200, -1},
			"right":           {"good", "", 200, 0},
		} {
			t.Run(scheme+" "+name, func(t *testing.T) {
				podmans, dockers := home(t)
				f := onlyGood(t, scheme)
				host := f.repo("").Host
				writeConfig(t, podmans, host+"=jane:"+c.podmans)
				if c.dockers != "" {
					writeConfig(t, dockers, host+"=jane:"+c.dockers)
				}
				a := f.by(Default(nil))
				const readers = 20
				results := make(chan string, readers)
				for i := range readers {
					go func() {
						status, _, err := f.send(context.Background(), a, http.MethodPut, fmt.Sprint("a/b", i), sent, Access{Do: Push})
						if refused := statusOf(err); refused != 0 {
							status, err = refused, nil
						}
						results <- fmt.Sprint(status, err)
					}()
				}
				for range readers {
					if got, want := <-results, fmt.Sprint(c.status, nil); got != want {
						t.Errorf("got %s, want %s", got, want)
					}
				}
				if n := len(slices.DeleteFunc(passwords(f.took()), func(p string) bool { return p != "bad" })); n != c.bad && c.bad >= 0 {
					t.Errorf("a wrong password was shown %d times, want %d", n, c.bad)
				}
				if len(a.pauses.trials) != 0 {
					t.Errorf("%d trials are left", len(a.pauses.trials))
				}
			})
		}
	}
}

// Whoever waits for another's trial waits no longer than its own context lets it.
func TestATrialIsNotWaitedForWithoutEnd(t *testing.T) {
	var p pauses
	var first, second trialOf
	at := shownTo{host: "x"}
	if by, err := first.begin(t.Context(), &p, at); by != nil || err != nil {
		t.Fatal(by, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := second.begin(ctx, &p, at); err != context.Canceled {
		t.Error(err)
	}
	wrong := &refusal{wrong: true}
	first.refused(wrong)
	first.end()
	if by, err := second.begin(t.Context(), &p, at); by != nil || err != nil || second.own == nil {
		t.Errorf("a trial that is over: %v, %v", by, err)
	}
	second.end()
}
