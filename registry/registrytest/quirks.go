package registrytest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Status answers with a status, a body and headers (names and values in turns), and
// does nothing of what is asked.
func Status(status int, body string, header ...string) Quirk {
	return func(*Exchange, func() *Answer) *Answer { return Plain(status, body, header...) }
}

// Refuse answers with a status and one of the specification's error codes.
func Refuse(status int, code string) Quirk {
	return func(*Exchange, func() *Answer) *Answer { return refuse(status, code) }
}

// Busy answers with a status, 429 or 503, and a Retry-After in seconds.
func Busy(status int, after time.Duration) Quirk {
	return Status(status, Error("TOOMANYREQUESTS"), "Retry-After", fmt.Sprint(int(after/time.Second)))
}

// BusyUntil is Busy with a date, which is of whole seconds: at least after from now.
func BusyUntil(status int, after time.Duration) Quirk {
	return func(*Exchange, func() *Answer) *Answer {
		date := time.Now().Add(after + time.Second).UTC().Format(http.TimeFormat)
		return Plain(status, Error("TOOMANYREQUESTS"), "Retry-After", date)
	}
}

// Challenge answers 401 with these values of WWW-Authenticate, each a header.
func Challenge(values ...string) Quirk {
	return func(*Exchange, func() *Answer) *Answer {
		a := refuse(http.StatusUnauthorized, "UNAUTHORIZED")
		a.Header["Www-Authenticate"] = slices.Clone(values)
		return a
	}
}

// DoneBut does what is asked, and answers as another quirk has it.
func DoneBut(q Quirk) Quirk {
	return func(x *Exchange, next func() *Answer) *Answer {
		a := next()
		return q(x, func() *Answer { return a })
	}
}

// Look calls do, which sees the request before anything is done with it.
func Look(do func(x *Exchange)) Quirk {
	return func(x *Exchange, next func() *Answer) *Answer {
		do(x)
		return next()
	}
}

// Change changes the answer.
func Change(change func(a *Answer)) Quirk {
	return func(_ *Exchange, next func() *Answer) *Answer {
		a := next()
		change(a)
		return a
	}
}

// With sets a header of the answer. With("Set-Cookie", ...) or With("Link", ...).
func With(name, value string) Quirk { return Change(func(a *Answer) { a.Header.Set(name, value) }) }

// Without takes a header away from the answer.
func Without(name string) Quirk { return Change(func(a *Answer) { a.Header.Del(name) }) }

// Body gives the answer another body.
func Body(body string) Quirk {
	return Change(func(a *Answer) { a.Body, a.Length = []byte(body), int64(len(body)) })
}

// Length has the answer tell n as its length, whatever it is; -1: none. The answer to
// a GET that is told too short ends there, one that is told too long breaks off.
func Length(n int64) Quirk {
	return Change(func(a *Answer) {
		a.Length = n
		if n >= 0 && n < int64(len(a.Body)) {
			a.Body = a.Body[:n]
		}
	})
}

// Truncate leaves n bytes of the body, and tells that they are all.
func Truncate(n int) Quirk {
	return Change(func(a *Answer) { a.Body = a.Body[:min(n, len(a.Body))]; a.Length = int64(len(a.Body)) })
}

// Longer adds to the body, and tells that it belongs to it.
func Longer(by string) Quirk {
	return Change(func(a *Answer) { a.Body = append(bytes.Clone(a.Body), by...); a.Length = int64(len(a.Body)) })
}

// Corrupt changes the byte at an offset of the body.
func Corrupt(at int) Quirk {
	return Change(func(a *Answer) {
		if a.Body = bytes.Clone(a.Body); at < len(a.Body) {
			a.Body[at] ^= 1
		}
	})
}

// IgnoreRange answers a Range with all of it.
func IgnoreRange() Quirk { return Look(func(x *Exchange) { x.Header.Del("Range") }) }

// ShiftRange answers a Range by one that begins so many bytes later (or earlier, where
// it is negative), and says so.
func ShiftRange(by int) Quirk {
	return Look(func(x *Exchange) {
		var first int
		if n, _ := fmt.Sscanf(x.Header.Get("Range"), "bytes=%d-", &first); n == 1 {
			_, rest, _ := strings.Cut(x.Header.Get("Range"), "-")
			x.Header.Set("Range", fmt.Sprintf("bytes=%d-%s", max(first+by, 0), rest))
		}
	})
}

// Redirect answers 307 with the same path and query at another origin: "http://host".
// With "" it is a loop.
func Redirect(origin string) Quirk {
	return func(x *Exchange, _ func() *Answer) *Answer {
		return Plain(http.StatusTemporaryRedirect, "", "Location", origin+x.URL.RequestURI())
	}
}

// Presign redirects to an address of the same registry that is good for n requests (any
// number, where n is negative) or until Revoke; then it answers 403. Who has it needs
// no credential.
func Presign(to *Server, n int) Quirk {
	return func(x *Exchange, _ func() *Answer) *Answer {
		at := to.URL + to.opts.Base + strings.TrimPrefix(x.URL.Path, x.Server.opts.Base) + "?" + signature + "=" + to.tokens.presign(n)
		return Plain(http.StatusTemporaryRedirect, "", "Location", at)
	}
}

// PresignGet is Presign by a registry that signs for GET whatever the method was, for any
// number of requests: HEAD is 403 there, as S3 says it.
func PresignGet(to *Server) Quirk {
	presign := Presign(to, -1)
	return func(x *Exchange, next func() *Answer) *Answer {
		a := presign(x, next)
		a.Header.Set("Location", a.Header.Get("Location")+"&"+signedForGet)
		return a
	}
}

// EndlessPages gives every answer a Link to another page, which never came before.
func EndlessPages() Quirk {
	var n atomic.Int64
	return func(x *Exchange, next func() *Answer) *Answer {
		x.URL.RawQuery = ""
		a := next()
		a.Header.Set("Link", fmt.Sprintf(`<?last=%d>; rel="next"`, n.Add(1)))
		return a
	}
}

// TakeOnly has the registry get n bytes of what is sent, and answer as if they were
// all that came.
func TakeOnly(n int) Quirk {
	return func(x *Exchange, next func() *Answer) *Answer {
		b, err := io.ReadAll(x.Request.Body)
		if err != nil {
			return nil
		}
		b = b[:min(n, len(b))]
		x.Request.Body = io.NopCloser(bytes.NewReader(b))
		var first int
		if k, _ := fmt.Sscanf(x.Header.Get("Content-Range"), "%d-", &first); k == 1 {
			x.Header.Set("Content-Range", fmt.Sprintf("%d-%d", first, first+len(b)-1))
		}
		return next()
	}
}

// SpoilSession changes the first byte that a session has, before anything is done.
func SpoilSession() Quirk {
	return Look(func(x *Exchange) {
		s := x.Server
		s.sessions.mu.Lock()
		defer s.sessions.mu.Unlock()
		if u := s.sessions.open[x.Reference]; u != nil && len(u.have) > 0 {
			u.have[0] ^= 1
		}
	})
}
