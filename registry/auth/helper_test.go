package auth

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ocifs/ocifs/registry/ref"
)

var someRepo = ref.Repository{Host: "h.example", Path: "a/b"}

// What helpers do in the wild, and what comes of it: a credential, or none and
// at most one sentence about it, however often it is asked for.
//
// Behaviour: auth.helpers
func TestWhatHelpersSay(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		want   Credential
		told   string // "": nothing
	}{
		"a password":                 {says("s3cret"), Credential{Username: "jane", Password: "s3cret"}, ""},
		"an identity token":          {`printf '{"Username":"<token>","Secret":"s3cret"}'`, Credential{IdentityToken: "s3cret"}, ""},
		"it is asked as docker asks": {`read key; test "$1 $key $PWD" = "get h.example /" && ` + says("s3cret"), Credential{Username: "jane", Password: "s3cret"}, ""},
		"it reads nothing":           {"exec <&-; " + says("s3cret"), Credential{Username: "jane", Password: "s3cret"}, ""},
		"none":                       {`echo "credentials not found in native keychain"; exit 1`, Credential{}, ""},
		"an empty one":               {`printf '{"Username":"","Secret":""}'`, Credential{}, ""},
		"garbage":                    {`echo s3cret`, Credential{}, "no answer"},
		"half of an answer":          {`printf '{"Username":"jane","Secret":"s3cr'`, Credential{}, "no answer"},
		"nothing":                    {``, Credential{}, "no answer"},
		"it fails":                   {`echo "the keychain is locked"; exit 1`, Credential{}, "the keychain is locked"},
		"it fails on stderr":         {`echo "no active account" >&2; exit 3`, Credential{}, "no active account"},
		"it fails, silently":         {`exit 3`, Credential{}, "exit status 3"},
		"it fails after all":         {says("s3cret") + `; exit 1`, Credential{}, "exit status 1"},
		"it is killed":               {`kill -9 $$`, Credential{}, "killed"},
		"it writes without end":      {`yes s3cret`, Credential{}, "without end"},
	} {
		t.Run(name, func(t *testing.T) {
			var log syncBuffer
			h := newHelper(t, "wild", c.script)
			s := h.config(t, &log)
			for range 3 {
				got, err := s.Credential(t.Context(), someRepo)
				c.want.Origin, c.want.Hint, c.want.Expires = got.Origin, got.Hint, got.Expires
				if err != nil || got != c.want {
					t.Errorf("got %+v, %v", got, err)
				}
			}
			told := log.String()
			if n := strings.Count(told, "level=WARN"); (n != 1 || !strings.Contains(told, c.told)) && c.told != "" || n != 0 && c.told == "" {
				t.Errorf("told %d times: %s", n, told)
			}
			if strings.Contains(told+strings.Join(Searched(s, someRepo), ""), "s3cr") {
				t.Errorf("the secret is told: %s, %q", told, Searched(s, someRepo))
			}
			if n := h.runs(); n != 1 {
				t.Errorf("it ran %d times", n)
			}
		})
	}
}

// A helper that isn't there is told of once, nobody asks, and once it is there it is
// used.
//
// Behaviour: auth.helpers
func TestAHelperThatIsMissingIsToldOfOnce(t *testing.T) {
	var log syncBuffer
	s := helper{name: "to-come"}.config(t, &log)
	for i := range 10 {
		if c, err := s.Credential(t.Context(), ref.Repository{Host: "h" + strconv.Itoa(i) + ".example"}); err != nil || !c.Empty() {
			t.Errorf("%+v, %v", c, err)
		}
	}
	if told := log.String(); strings.Count(told, "level=WARN") != 1 || !strings.Contains(told, "install docker-credential-to-come") {
		t.Errorf("told: %s", told)
	}
	newHelper(t, "to-come", says("p"))
	s.helpers.older(failureAge)
	if c, err := s.Credential(t.Context(), ref.Repository{Host: "h0.example"}); err != nil || c.Username != "jane" {
		t.Errorf("%+v, %v", c, err)
	}
}

// alive says whether the processes whose ids a helper wrote into a file still run.
func alive(t *testing.T, file string) bool {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for id := range strings.FieldsSeq(string(b)) {
		n, err := strconv.Atoi(id)
		if err != nil {
			t.Fatal(err)
		}
		if !gone(n) && !zombie(n) {
			return true
		}
	}
	return false
}

// zombie says whether a process has ended, and nobody has heard of that yet: its
// parent was ended before it.
func zombie(id int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(id) + "/stat")
	return err == nil && strings.Contains(string(b), ") Z ")
}

// Nobody waits for ever for a helper, and nothing that it started is left.
//
// Behaviour: auth.helpers
func TestASlowHelperIsEndedWithAllItStarted(t *testing.T) {
	h := newHelper(t, "slow", `sleep 1000 & echo $! $$ >"$dir/ids.new"; mv "$dir/ids.new" "$dir/ids"; wait`)
	ids := filepath.Join(h.dir, "ids")
	t.Run("by its time", func(t *testing.T) {
		var log syncBuffer
		s := h.config(t, &log)
		s.helpers.limit = time.Second
		if c, err := s.Credential(t.Context(), someRepo); err != nil || !c.Empty() {
			t.Errorf("%+v, %v", c, err)
		}
		if told := log.String(); strings.Count(told, "level=WARN") != 1 || !strings.Contains(told, "no answer within 1s") {
			t.Errorf("told: %s", told)
		}
		if _, err := os.Stat(ids); err == nil { // it had begun within its time
			eventually(t, "all ends", func() bool { return !alive(t, ids) })
		}
	})
	t.Run("when nobody waits", func(t *testing.T) {
		_ = os.Remove(ids)
		s := h.config(t, t.Output())
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan error)
		go func() {
			_, err := s.Credential(ctx, someRepo)
			left <- err
		}()
		eventually(t, "it runs", func() bool { _, err := os.Stat(ids); return err == nil })
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		eventually(t, "all ends", func() bool { return !alive(t, ids) })
	})
}

// What a helper starts, an agent say, may hold its output open for long. It has
// answered all the same.
//
// Behaviour: auth.helpers
func TestAHelperThatLeavesAChildHasAnswered(t *testing.T) {
	h := newHelper(t, "agent", `sleep 1000 & echo $! >"$dir/ids"; `+says("p"))
	began := time.Now()
	c, err := h.config(t, t.Output()).Credential(t.Context(), someRepo)
	if err != nil || c.Password != "p" || time.Since(began) > helperTimeout {
		t.Errorf("%+v, %v", c, err)
	}
	b, err := os.ReadFile(filepath.Join(h.dir, "ids"))
	if err != nil {
		t.Fatal(err)
	}
	id, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	if err := kill(id); err != nil {
		t.Errorf("the child was ended: %v", err)
	}
}

// Some helpers ask the person: there is one question at a time.
//
// Behaviour: auth.helpers
func TestHelpersRunOneAtATime(t *testing.T) {
	shared := t.TempDir()
	script := `mkdir ` + shared + `/lock || echo both >>` + shared + `/both; sleep 0.05; rmdir ` + shared + `/lock; ` + says("p")
	one, two := newHelper(t, "one", script), newHelper(t, "two", script)
	file := filepath.Join(t.TempDir(), "config.json")
	write(t, file, `{"credHelpers":{"a.example":"one","b.example":"two","c.example":"one"}}`)
	s := FromFiles(nil, file)
	done := make(chan error)
	const each = 5
	hosts := []string{"a.example", "b.example", "c.example"}
	for _, host := range hosts {
		for range each {
			go func() {
				c, err := s.Credential(t.Context(), ref.Repository{Host: host})
				if err == nil && c.Password != "p" {
					err = errors.New("none")
				}
				done <- err
			}()
		}
	}
	for range each * len(hosts) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(shared, "both")); err == nil {
		t.Error("two ran at once")
	}
	if one.runs() != 2 || two.runs() != 1 {
		t.Errorf("they ran %d and %d times", one.runs(), two.runs())
	}
}

// Whoever began to ask may leave, and the others still get that answer.
//
// Behaviour: auth.helpers
func TestOneWhoLeavesDoesntEndAHelperThatOthersWaitFor(t *testing.T) {
	h := newHelper(t, "waits", `touch "$dir/begun"; while ! test -e "$dir/go"; do sleep 0.02; done; `+says("p"))
	s := h.config(t, t.Output())
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := s.Credential(ctx, someRepo)
		left <- err
	}()
	eventually(t, "it runs", func() bool { _, err := os.Stat(filepath.Join(h.dir, "begun")); return err == nil })
	got := make(chan Credential)
	go func() {
		c, _ := s.Credential(t.Context(), someRepo)
		got <- c
	}()
	eventually(t, "both wait", func() bool {
		s.helpers.runs.mu.Lock()
		defer s.helpers.runs.mu.Unlock()
		w := s.helpers.runs.under[helperKey{"waits", "h.example"}]
		return w != nil && w.waiters == 2
	})
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("who left: %v", err)
	}
	write(t, filepath.Join(h.dir, "go"), "")
	if c := <-got; c.Password != "p" || h.runs() != 1 {
		t.Errorf("got %+v after %d runs", c, h.runs())
	}
}

// A helper's name is the end of a program's, and no path.
func TestAHelpersNameIsNoPath(t *testing.T) {
	h := newHelper(t, "x", says("p"))
	var log syncBuffer
	s := helper{name: "/../docker-credential-x"}.config(t, &log)
	if c, err := s.Credential(t.Context(), someRepo); err != nil || !c.Empty() || h.runs() != 0 {
		t.Errorf("%+v, %v", c, err)
	}
	if !strings.Contains(log.String(), "no name of a program") {
		t.Errorf("told: %s", log.String())
	}
}
