package registrytest

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

const text = "0123456789"

// blobAt puts text into a server and gives its path.
func blobAt(s *Server) string { return "/v2/a/b/blobs/" + s.Blob(repo, []byte(text)).String() }

// A fake that doesn't misbehave as told hides bugs: each quirk of an answer is seen by
// a client as it is meant, by HTTP/1 and by HTTP/2.
func TestAnAnswerMisbehavesAsTold(t *testing.T) {
	for name, c := range map[string]struct {
		quirk  Quirk
		method string // "": GET
		rng    string
		status int
		body   string
		broken bool // it ends without being whole
		length int64
		header [2]string
	}{
		"status":            {Status(503, "no", "Retry-After", "1"), "", "", 503, "no", false, 2, [2]string{"Retry-After", "1"}},
		"code":              {Refuse(404, "BLOB_UNKNOWN"), "", "", 404, Error("BLOB_UNKNOWN"), false, -2, [2]string{}},
		"busy":              {Busy(429, 3*time.Second), "", "", 429, Error("TOOMANYREQUESTS"), false, -2, [2]string{"Retry-After", "3"}},
		"challenge":         {Challenge("Negotiate", `BASIC realm="x"`), "", "", 401, Error("UNAUTHORIZED"), false, -2, [2]string{"WWW-Authenticate", `Negotiate; BASIC realm="x"`}},
		"done, but":         {DoneBut(Status(502, "")), "", "", 502, "", false, 0, [2]string{}},
		"header":            {With("Set-Cookie", "a=b"), "", "", 200, text, false, 10, [2]string{"Set-Cookie", "a=b"}},
		"no header":         {Without("Docker-Content-Digest"), "", "", 200, text, false, 10, [2]string{"Docker-Content-Digest", ""}},
		"no Content-Range":  {Without("Content-Range"), "", "bytes=4-", 206, text[4:], false, 6, [2]string{"Content-Range", ""}},
		"body":              {Body("x"), "", "", 200, "x", false, 1, [2]string{}},
		"no length":         {Length(-1), "", "", 200, text, false, -1, [2]string{}},
		"HEAD, no length":   {Length(-1), "HEAD", "", 200, "", false, -1, [2]string{}},
		"HEAD, wrong":       {Length(7), "HEAD", "", 200, "", false, 7, [2]string{}},
		"length, too long":  {Length(12), "", "", 200, text, true, 12, [2]string{}},
		"length, too short": {Length(8), "", "", 200, text[:8], false, 8, [2]string{}},
		"truncated":         {Truncate(4), "", "", 200, text[:4], false, 4, [2]string{}},
		"longer":            {Longer("xy"), "", "", 200, text + "xy", false, 12, [2]string{}},
		"corrupt":           {Corrupt(0), "", "", 200, "1" + text[1:], false, 10, [2]string{}},
		"Range ignored":     {IgnoreRange(), "", "bytes=4-", 200, text, false, 10, [2]string{"Content-Range", ""}},
		"Range shifted":     {ShiftRange(1), "", "bytes=4-", 206, text[5:], false, 5, [2]string{"Content-Range", "bytes 5-9/10"}},
		"not satisfiable":   {Status(416, ""), "", "bytes=4-", 416, "", false, 0, [2]string{}},
		"beyond the end":    {Change(func(*Answer) {}), "", "bytes=10-", 416, "", false, 0, [2]string{"Content-Range", "bytes */10"}},
		"cut":               {Cut(4), "", "", 200, text[:4], true, 10, [2]string{}},
		"cut at once":       {Cut(0), "", "", 200, "", true, 10, [2]string{}},
		"reset":             {ResetAfter(4), "", "", 200, text[:4], true, 10, [2]string{}},
		"gone away":         {GoAwayAfter(4), "", "", 200, text[:4], true, 10, [2]string{}},
	} {
		for proto, o := range map[string]Options{"HTTP/1": {}, "HTTP/2": {TLS: true}} {
			t.Run(name+" by "+proto, func(t *testing.T) {
				s := Start(t, o)
				path := blobAt(s)
				s.On("* blob", c.quirk)
				method := "GET"
				if c.method != "" {
					method = c.method
				}
				var header []string
				if c.rng != "" {
					header = []string{"Range", c.rng}
				}
				r := do(t, s, s.Client(), c.status, method, path, "", header...)
				if r.body != c.body || c.length != -2 && r.length != c.length || (r.err != nil) != c.broken {
					t.Errorf("%q of %d, %v", r.body, r.length, r.err)
				}
				if got := strings.Join(r.header.Values(c.header[0]), "; "); c.header[0] != "" && got != c.header[1] {
					t.Errorf("%s: %q", c.header[0], got)
				}
				if q := s.Requests()[0]; q.Status != c.status || q.Sent != int64(len(c.body)) {
					t.Errorf("written down: %+v", q)
				}
			})
		}
	}
}

func TestARangeIsOfOnePart(t *testing.T) {
	for in, want := range map[string][2]int64{"bytes=0-": {0, 9}, "bytes=2-3": {2, 3}, "bytes=2-99": {2, 9}, "bytes=-3": {7, 9}, "bytes=-99": {0, 9}, "bytes=99-": {99, 9}} {
		if first, last, ok := parseRange(in, 10); !ok || [2]int64{first, last} != want {
			t.Errorf("%s is %d to %d, %v", in, first, last, ok)
		}
	}
	for _, in := range []string{"", "bytes=", "bytes=-", "bytes=x-", "bytes=3-2", "lines=1-", "bytes=-0"} {
		if first, last, ok := parseRange(in, 10); ok {
			t.Errorf("%s is %d to %d", in, first, last)
		}
	}
}

func TestBytesBeyondTheBodyAreOnTheWire(t *testing.T) {
	s := Start(t, Options{})
	path := blobAt(s)
	s.On("GET blob", Beyond("more"))
	if all := raw(t, s, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasSuffix(all, "\r\n\r\n"+text+"more") {
		t.Errorf("%q", all)
	}
}

func TestABodyEndsWithItsConnection(t *testing.T) {
	s := Start(t, Options{})
	path := blobAt(s)
	s.On("GET blob", UntilClose(4))
	all := raw(t, s, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
	if !strings.HasSuffix(all, "\r\n\r\n"+text[:4]) || strings.Contains(all, "Content-Length") || strings.Contains(all, "chunked") {
		t.Errorf("%q", all)
	}
	if r := do(t, s, s.Client(), 200, "GET", path, ""); r.body != text[:4] || r.err != nil {
		t.Errorf("%+v", r)
	}
}

func TestAConnectionIsResetBeforeTheAnswer(t *testing.T) {
	s := Start(t, Options{})
	path := blobAt(s)
	c := s.Client()
	s.Nth(2, "HEAD blob", Reset())
	do(t, s, c, 200, "HEAD", path, "")
	// A request on a connection that was used is tried again by net/http.
	c.CloseIdleConnections()
	if _, err := ask(t, c, "HEAD", s.URL+path, ""); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v", err)
	}
	if q := s.Requests()[1]; q.Status != 0 {
		t.Errorf("%+v", q)
	}
	do(t, s, c, 200, "HEAD", path, "")
}

func TestAnAnswerIsLostAndItsDeedDone(t *testing.T) {
	s := Start(t, Options{})
	d := s.Image(repo, "v1")
	s.On("DELETE manifest", Lost())
	if _, err := ask(t, s.Client(), "DELETE", s.URL+"/v2/a/b/manifests/v1", ""); err == nil {
		t.Error("it answered")
	}
	if s.ReadManifest(repo, "v1") != nil || s.ReadManifest(repo, d.String()) == nil {
		t.Error("the tag wasn't deleted")
	}
}

func TestABodyStallsWithItsConnectionOpen(t *testing.T) {
	for proto, o := range map[string]Options{"HTTP/1": {}, "HTTP/2": {TLS: true}} {
		t.Run(proto, func(t *testing.T) {
			s := Start(t, o)
			path := blobAt(s)
			s.On("GET blob", Stall(4))
			resp, err := s.Client().Get(s.URL + path)
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 4)
			if _, err := io.ReadFull(resp.Body, b); err != nil || string(b) != text[:4] {
				t.Errorf("%q, %v", b, err)
			}
			more := make(chan error, 1)
			go func() {
				defer close(more)
				_, err := resp.Body.Read(b)
				more <- err
			}()
			select {
			case err := <-more:
				t.Errorf("it went on: %v", err)
			case <-time.After(50 * time.Millisecond):
			}
			if s.Connections() != 1 {
				t.Errorf("%d connections", s.Connections())
			}
			resp.Body.Close()
			<-more
		})
	}
}

func TestAnAnswerIsHeldUntilItIsReleased(t *testing.T) {
	s := Start(t, Options{})
	path := blobAt(s)
	release := make(chan struct{})
	s.On("GET blob", Hold(release), Delay(time.Millisecond))
	got := make(chan reply, 1)
	c := s.Client()
	go func() {
		defer close(got)
		r, _ := ask(t, c, "GET", s.URL+path, "")
		got <- r
	}()
	select {
	case r := <-got:
		t.Errorf("it is answered: %+v", r)
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	if r := <-got; r.body != text {
		t.Errorf("%+v", r)
	}
}

func TestADelayIsWaitedFor(t *testing.T) {
	s := Start(t, Options{})
	path := blobAt(s)
	s.On("GET blob", Delay(100*time.Millisecond))
	began := time.Now()
	do(t, s, s.Client(), 200, "GET", path, "")
	if d := time.Since(began); d < 100*time.Millisecond {
		t.Errorf("after %s", d)
	}
}

func TestABusyRegistryGivesADate(t *testing.T) {
	s := Start(t, Options{})
	s.On("* *", BusyUntil(503, time.Minute))
	r := do(t, s, s.Client(), 503, "GET", "/v2/", "")
	if at, err := http.ParseTime(r.header.Get("Retry-After")); err != nil || time.Until(at) < 50*time.Second || time.Until(at) > 70*time.Second {
		t.Errorf("%v, %v", r.header, err)
	}
}

// After GOAWAY nothing new comes by the same connection.
func TestAConnectionGoesAwayAfterItsAnswer(t *testing.T) {
	for proto, o := range map[string]Options{"HTTP/1": {}, "HTTP/2": {TLS: true}} {
		t.Run(proto, func(t *testing.T) {
			s := Start(t, o)
			path := blobAt(s)
			var from []string
			s.On("GET blob", Look(func(x *Exchange) { from = append(from, x.RemoteAddr) }))
			s.Nth(2, "GET blob", GoAway())
			c := s.Client()
			for range 3 {
				if r := do(t, s, c, 200, "GET", path, ""); r.body != text {
					t.Errorf("%+v", r)
				}
			}
			if from[0] != from[1] || from[1] == from[2] {
				t.Errorf("asked from %q", from)
			}
		})
	}
}

func TestARedirectLeadsElsewhere(t *testing.T) {
	s := Start(t, Options{})
	other := s.Elsewhere(t, Options{TLS: true})
	path := blobAt(s)
	s.Nth(1, "GET blob", Redirect(other.URL))
	s.Nth(2, "GET blob", Redirect(""))
	c := s.Client()
	r := do(t, s, c, 307, "GET", path+"?x=y", "")
	if r := do(t, other, other.Client(), 200, "GET", r.header.Get("Location"), ""); r.body != text {
		t.Errorf("%+v", r)
	}
	if r := do(t, s, c, 307, "GET", path, ""); r.header.Get("Location") != path {
		t.Errorf("no loop: %q", r.header)
	}
	s.Want("GET blob", "elsewhere GET blob", "GET blob")
	if q := s.Requests()[1]; q.Query != "x=y" || q.Host != other.Host {
		t.Errorf("%+v", q)
	}
}

func TestAPresignedAddressEnds(t *testing.T) {
	s := Start(t, Options{Login: &Login{Users: map[string]string{"u": "p"}}})
	cdn := s.Elsewhere(t, Options{})
	path := blobAt(s)
	s.On("GET blob", Presign(cdn, 2))
	s.Nth(2, "GET blob", Presign(cdn, -1))
	c := s.Client()
	at := do(t, s, c, 307, "GET", path, "").header.Get("Location")
	do(t, cdn, c, 200, "GET", at, "")
	do(t, cdn, c, 206, "GET", at, "", "Range", "bytes=1-")
	do(t, cdn, c, 403, "GET", at, "")
	at = do(t, s, c, 307, "GET", path, "").header.Get("Location")
	for range 3 {
		do(t, cdn, c, 200, "GET", at, "")
	}
	s.Revoke()
	do(t, cdn, c, 403, "GET", at, "")
}
