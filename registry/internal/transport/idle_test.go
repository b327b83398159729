package transport

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// silent starts a server that answers with status and some bytes, and then says
// nothing more.
func silent(t *testing.T, status int) *http.Request {
	t.Helper()
	over := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/there" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.Header().Set("Content-Length", "1000")
		w.Header().Set("Location", "/there")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "some")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-over:
		case <-req.Context().Done():
		}
	}))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(over) })
	req, err := http.NewRequest(http.MethodGet, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func TestSilenceIsATimeout(t *testing.T) {
	resp, err := (&Idle{Next: http.DefaultTransport, Limit: 50 * time.Millisecond}).RoundTrip(silent(t, http.StatusOK))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if string(b) != "some" || !errors.Is(err, ErrStalled) {
		t.Errorf("got %q, %v", b, err)
	}
	var timeout interface{ Timeout() bool }
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("%v is no time-out", err)
	}
}

// A byte now and then is as good as none.
func TestATrickleIsSilence(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		for req.Context().Err() == nil {
			_, _ = io.WriteString(w, "x")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(time.Millisecond)
		}
	}))
	defer s.Close()
	req, err := http.NewRequest(http.MethodGet, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&Idle{Next: http.DefaultTransport, Limit: 100 * time.Millisecond}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(resp.Body); !errors.Is(err, ErrStalled) || len(b) == 0 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

func TestAnAnswerIsReadWithinItsTime(t *testing.T) {
	resp, err := http.DefaultTransport.RoundTrip(silent(t, http.StatusOK))
	if err != nil {
		t.Fatal(err)
	}
	b, err := Read(resp, 1000, 50*time.Millisecond)
	if string(b) != "some" || !errors.Is(err, ErrStalled) {
		t.Errorf("got %q, %v", b, err)
	}
}

func TestNoMoreIsReadThanAskedFor(t *testing.T) {
	resp := &http.Response{Body: io.NopCloser(strings.NewReader("0123456789"))}
	if b, err := Read(resp, 4, time.Minute); string(b) != "0123" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
}

// What a redirect says besides its Location isn't waited for for long.
func TestASilentRedirectIsFollowed(t *testing.T) {
	begin := time.Now()
	resp, err := (&Follow{Next: http.DefaultTransport}).RoundTrip(silent(t, http.StatusFound))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if took := time.Since(begin); resp.StatusCode != http.StatusNoContent || took > 2*asideTime {
		t.Errorf("%s after %s", resp.Status, took)
	}
}
