package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"
)

// deaf starts a server that takes connections and never reads from them.
func deaf(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
		}
	}()
	return "http://" + l.Addr().String()
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

func TestABodyThatNobodyTakesIsStalled(t *testing.T) {
	req, err := http.NewRequest(http.MethodPut, deaf(t), bytes.NewReader(make([]byte, 64<<20)))
	if err != nil {
		t.Fatal(err)
	}
	_, err = (&Idle{Next: &http.Transport{}, Limit: 100 * time.Millisecond}).RoundTrip(req)
	if !errors.Is(err, ErrStalled) || !isTimeout(err) {
		t.Errorf("got %v", err)
	}
}

func TestARequestThatIsNotAnsweredIsLate(t *testing.T) {
	for name, body := range map[string]io.Reader{"no body": nil, "a body": bytes.NewReader(make([]byte, 100))} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequest(http.MethodPut, deaf(t), body)
			if err != nil {
				t.Fatal(err)
			}
			_, err = (&Idle{Next: &http.Transport{}, Limit: time.Minute, Answer: 50 * time.Millisecond}).RoundTrip(req)
			if !errors.Is(err, ErrLate) || !isTimeout(err) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// slowSource takes its time for each read.
type slowSource struct{ n int }

func (s *slowSource) Read(p []byte) (int, error) {
	if s.n--; s.n < 0 {
		return 0, io.EOF
	}
	time.Sleep(60 * time.Millisecond)
	p[0] = 'x'
	return 1, nil
}

// The time that the source takes, or the registry for its work, is no silence.
func TestOnlyTheNetworkIsTimed(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		time.Sleep(100 * time.Millisecond)
	}))
	defer s.Close()
	ctx := WithPlan(context.Background(), Plan{Work: 2 * workRate})
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, s.URL, &slowSource{3})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&Idle{Next: http.DefaultTransport, Limit: 30 * time.Millisecond, Answer: time.Millisecond}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

func TestNothingIsLeftBehind(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { _, _ = io.Copy(io.Discard, req.Body) }))
	defer s.Close()
	next := &http.Transport{}
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for range 50 {
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, s.URL, bytes.NewReader(make([]byte, 1000)))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&Idle{Next: next, Limit: time.Hour, Answer: time.Hour}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	next.CloseIdleConnections()
	for i := 0; runtime.NumGoroutine() > before+5; i++ {
		if i > 100 {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// A write is sent on with its body where that doesn't change the method, and the
// credential stays behind.
func TestAWriteIsRedirectedWithItsBody(t *testing.T) {
	for status, want := range map[int]string{
		http.StatusTemporaryRedirect: "PUT bytes ", http.StatusPermanentRedirect: "PUT bytes ",
		http.StatusFound: "", http.StatusMovedPermanently: "", http.StatusSeeOther: "",
	} {
		got := ""
		other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
			b, _ := io.ReadAll(req.Body)
			got = req.Method + " " + string(b) + " " + req.Header.Get("Authorization")
		}))
		first := httptest.NewServer(http.RedirectHandler(other.URL, status))
		req, _ := http.NewRequest(http.MethodPut, first.URL, bytes.NewReader([]byte("bytes")))
		req.Header.Set("Authorization", "Basic secret")
		resp, err := (&Follow{Next: http.DefaultTransport}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got != want {
			t.Errorf("%d: the other got %q", status, got)
		}
		first.Close()
		other.Close()
	}
}

// Only what is marked is sent again, and then with its body.
func TestAWriteIsRepeatedWhereItIsMarked(t *testing.T) {
	var got []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		b, _ := io.ReadAll(req.Body)
		if got = append(got, string(b)); len(got) < 3 {
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	defer s.Close()
	for _, marked := range []bool{false, true} {
		got = nil
		repeats, ctx := 0, context.Background()
		if marked {
			ctx = WithPlan(ctx, Plan{Repeats: &repeats})
		}
		req, _ := http.NewRequestWithContext(ctx, http.MethodPut, s.URL, bytes.NewReader([]byte("bytes")))
		resp, err := (&Retry{Next: http.DefaultTransport, MaxWait: time.Second, Pauses: []time.Duration{1, 1, 1}}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if marked && (len(got) != 3 || got[2] != "bytes" || repeats != 2) || !marked && len(got) != 1 {
			t.Errorf("marked %v: sent %q, %d repeats", marked, got, repeats)
		}
	}
}

// What a host asked to wait for counts for writes too.
func TestAWriteIsKeptBackAsAReadIs(t *testing.T) {
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n++
		w.Header().Set("Retry-After", "600")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	defer s.Close()
	retry := &Retry{Next: http.DefaultTransport, MaxWait: time.Second}
	var throttled *Throttled
	for i := range 2 {
		req, _ := http.NewRequest(http.MethodPatch, s.URL, nil)
		resp, err := retry.RoundTrip(req)
		if err == nil {
			resp.Body.Close()
		}
		if i == 1 && !errors.As(err, &throttled) || n != 1 {
			t.Errorf("sent %d times: %v", n, err)
		}
	}
}

// By HTTP/2 a registry holds the body back by its window.
func TestABodyThatNobodyTakesIsStalledByHTTP2Too(t *testing.T) {
	over := make(chan struct{})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.ProtoMajor != 2 {
			t.Errorf("by %s", req.Proto)
		}
		if req.URL.Path == "/taken" {
			_, _ = io.Copy(io.Discard, req.Body)
			return
		}
		select {
		case <-over:
		case <-req.Context().Done():
		}
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	defer close(over)
	idle := &Idle{Next: s.Client().Transport, Limit: 2 * time.Second, Answer: time.Minute}
	for path, want := range map[string]error{"/taken": nil, "/": ErrStalled} {
		req, err := http.NewRequest(http.MethodPut, s.URL+path, bytes.NewReader(make([]byte, 16<<20)))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := idle.RoundTrip(req)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v", path, err)
		}
		if err == nil {
			resp.Body.Close()
		}
	}
}
