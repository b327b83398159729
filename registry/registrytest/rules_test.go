package registrytest

import (
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// raw sends bytes, and gives all that comes back until the connection ends.
func raw(t *testing.T, s *Server, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", s.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestARuleCountsFromWhenItWasMade(t *testing.T) {
	s := Start(t, Options{})
	s.Image(repo, "v1")
	c := s.Client()
	statuses := func(n int) (got []int) {
		for range n {
			r, err := ask(t, c, "GET", s.URL+"/v2/a/b/manifests/v1", "")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, r.status)
		}
		return got
	}
	statuses(1)
	nth := s.Nth(2, "GET manifest", Status(502, ""))
	s.First(1, "GET manifest v1", Status(500, ""))
	s.On("GET manifest v2", Status(501, ""))
	s.On("PUT *", Status(501, ""))
	if got, want := statuses(3), []int{500, 502, 200}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if nth.Seen() != 3 {
		t.Errorf("it has seen %d", nth.Seen())
	}
	all := s.On("* *", Status(503, ""))
	got := statuses(1)
	all.End()
	if got = append(got, statuses(1)...); !slices.Equal(got, []int{503, 200}) {
		t.Errorf("got %v", got)
	}
}

// The last rule is the outermost, and of a rule the first quirk.
func TestQuirksAreNested(t *testing.T) {
	s := Start(t, Options{})
	s.Blob(repo, []byte(text))
	mark := func(m string) Quirk {
		return func(_ *Exchange, next func() *Answer) *Answer {
			a := next()
			a.Header.Set("X-Order", a.Header.Get("X-Order")+m)
			return a
		}
	}
	s.On("GET tags", mark("c"))
	s.On("GET tags", mark("b"), mark("a"))
	if r := do(t, s, s.Client(), 200, "GET", "/v2/a/b/tags/list", ""); r.header.Get("X-Order") != "cab" {
		t.Errorf("in the order %q", r.header.Get("X-Order"))
	}
}

// Whatever waits in a quirk ends with the server.
func TestAServerEndsWhatIsHeld(t *testing.T) {
	s := Start(t, Options{})
	arrived := make(chan struct{}, 3)
	s.On("* *", Look(func(*Exchange) { arrived <- struct{}{} }), Hold(nil))
	c := s.Client()
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if resp, err := c.Post(s.URL+"/v2/", "text/plain", strings.NewReader(text)); err == nil {
				resp.Body.Close()
				t.Error("it is answered")
			}
		})
	}
	for range 3 {
		<-arrived
	}
	s.once.Do(s.close)
	wg.Wait()
	if n := s.Connections(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

func TestAConnectionThatIsLeftFailsTheTest(t *testing.T) {
	failed := noted{TB: t}
	s := Start(&failed, Options{})
	s.wait = 50 * time.Millisecond
	c := &http.Client{Transport: &http.Transport{}}
	do(t, s, c, 200, "GET", "/v2/", "")
	s.once.Do(s.close)
	if len(failed.errors) != 1 {
		t.Errorf("it says %q", failed.errors)
	}
}

func TestAGoroutineThatIsLeftIsFound(t *testing.T) {
	release, over := make(chan struct{}), make(chan struct{})
	go func() {
		<-release
		close(over)
	}()
	has := func() bool {
		return slices.ContainsFunc(goroutines(), func(s string) bool { return strings.Contains(s, "TestAGoroutineThatIsLeftIsFound.func1") })
	}
	if !has() {
		t.Error("it isn't found")
	}
	close(release)
	<-over
	for began := time.Now(); has(); time.Sleep(time.Millisecond) {
		if time.Since(began) > patience {
			t.Fatal("it is found after its end")
		}
	}
}
