package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/registrytest"
)

// anyway is a blob that breaks off in any way.
const anyway = "0123456789abcdefghijklmnopqrstuvwxyz"

// A body that breaks off, however that is, goes on from where it stopped; what comes in
// the end is verified. No byte is asked for twice.
//
// Behaviour: blob.resume
func TestABlobGoesOnHoweverItBreaksOff(t *testing.T) {
	both := []string{"HTTP/1", "HTTP/2"}
	for name, c := range map[string]struct {
		quirks []registrytest.Quirk // the innermost last
		protos []string
		asked  int // times; 0: some, as bytes that were sent may be lost
	}{
		"its end":                  {[]registrytest.Quirk{registrytest.Cut(7)}, both, 2},
		"its end, before a byte":   {[]registrytest.Quirk{registrytest.Cut(0)}, both, 2},
		"its end, before the last": {[]registrytest.Quirk{registrytest.Cut(len(anyway) - 1)}, both, 2},
		"a reset":                  {[]registrytest.Quirk{registrytest.ResetAfter(7)}, both, 0},
		"GOAWAY":                   {[]registrytest.Quirk{registrytest.GoAwayAfter(7)}, both, 0},
		"chunks that break off":    {[]registrytest.Quirk{registrytest.Cut(7), registrytest.Length(-1)}, both, 2},
		"chunks and a reset":       {[]registrytest.Quirk{registrytest.ResetAfter(7), registrytest.Length(-1)}, both, 0},
		"the connection's end":     {[]registrytest.Quirk{registrytest.UntilClose(7)}, both[:1], 2},
		"an end that looks right":  {[]registrytest.Quirk{registrytest.Length(-1), registrytest.Truncate(7)}, both, 2},
		"silence":                  {[]registrytest.Quirk{registrytest.Stall(7)}, both, 2},
		"silence in chunks":        {[]registrytest.Quirk{registrytest.Stall(7), registrytest.Length(-1)}, both, 2},
		"silence before a byte":    {[]registrytest.Quirk{registrytest.Stall(0)}, both, 2},
		"silence at the end":       {[]registrytest.Quirk{registrytest.Stall(len(anyway)), registrytest.Length(-1)}, both, 1},
	} {
		for _, proto := range c.protos {
			t.Run(name+" by "+proto, func(t *testing.T) {
				s := registrytest.Start(t, registrytest.Options{TLS: proto == "HTTP/2"})
				s.Blob("a/b", []byte(anyway))
				b := quick()
				b.idle = 300 * time.Millisecond
				cl := knowing(t, Options{}, b, s)
				s.First(1, "GET blob", c.quirks...)
				if got, err := readBlob(cl, in(s), anyway); err != nil || got != anyway {
					t.Fatalf("%q, %v", got, err)
				}
				all := s.Requests()
				if c.asked != 0 && len(all) != c.asked {
					t.Errorf("asked %q", s.Asked())
				}
				var sent int64
				for _, q := range all {
					sent += q.Sent
				}
				// Where nothing is lost on the way, nothing is sent twice.
				if c.asked != 0 && sent > int64(len(anyway)) {
					t.Errorf("%d bytes were sent of %d: %q", sent, len(anyway), s.Asked())
				}
			})
		}
	}
}

// A body that breaks off again and again goes on as long as something comes; where
// nothing does it ends, after some attempts.
//
// Behaviour: blob.resume
func TestABlobThatBreaksOffForEver(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Blob("a/b", []byte(anyway))
	c := knowing(t, Options{}, quick(), s)
	little := s.On("GET blob", registrytest.Cut(1))
	if got, err := readBlob(c, in(s), anyway); err != nil || got != anyway || s.Count("GET blob") != len(anyway) {
		t.Errorf("%q, %v, asked %d times", got, err, s.Count("GET blob"))
	}
	little.End()
	s.Forget()
	s.On("GET blob", registrytest.Cut(0))
	if got, err := readBlob(c, in(s), anyway); !errors.Is(err, ErrServer) || got != "" || s.Count("GET blob") != maxBreaks+1 {
		t.Errorf("%q, %v, asked %d times", got, err, s.Count("GET blob"))
	}
}

// A token that is over in the middle of a body is renewed, and the body goes on.
//
// Behaviour: blob.resume
func TestATokenMayEndInTheMiddleOfABlob(t *testing.T) {
	for _, tls := range []bool{false, true} {
		o := janes(true)
		o.TLS, o.Login.Uses = tls, 1
		s := registrytest.Start(t, o)
		s.Blob("a/b", []byte(anyway))
		s.On("GET blob", registrytest.Change(func(a *registrytest.Answer) {
			if a.Status < 300 {
				a.After, a.Then = 12, func(*registrytest.Exchange) {}
			}
		}))
		c := knowing(t, Options{Credentials: creds{s.Host: jane}}, quick(), s)
		if got, err := readBlob(c, in(s), anyway); err != nil || got != anyway {
			t.Errorf("%q, %v: %q", got, err, s.Asked())
		}
		s.Want("GET blob", "GET token", "GET blob",
			"GET blob bytes=12-", "GET token", "GET blob bytes=12-",
			"GET blob bytes=24-", "GET token", "GET blob bytes=24-")
	}
}

// What is sent in place of the part that was asked for is read up to it, or refused: a
// part that begins elsewhere is never taken for it. Bytes are right in the end.
//
// Behaviour: blob.whole, blob.resume
func TestAPartIsTheOneThatWasAskedFor(t *testing.T) {
	whole := []string{"GET blob", "GET blob bytes=7-", "GET blob"}
	for name, c := range map[string]struct {
		quirk registrytest.Quirk
		want  []string
	}{
		"the whole":                {registrytest.IgnoreRange(), whole[:2]},
		"a later part":             {registrytest.ShiftRange(1), whole},
		"an earlier part":          {registrytest.ShiftRange(-1), whole},
		"a part of nothing":        {registrytest.Without("Content-Range"), whole},
		"a part of nonsense":       {registrytest.With("Content-Range", "bytes 7-x/y"), whole},
		"other units":              {registrytest.With("Content-Range", "pages 7-35/36"), whole},
		"of nobody knows how much": {registrytest.With("Content-Range", "bytes 7-35/*"), whole[:2]},
		"nothing, it says":         {registrytest.Status(416, ""), whole},
		"bad request":              {registrytest.Status(400, ""), whole},
		"not implemented":          {registrytest.Status(501, ""), whole},
		"not allowed":              {registrytest.Status(405, ""), whole},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, registrytest.Options{})
			s.Blob("a/b", []byte(anyway))
			s.First(1, "GET blob", registrytest.Cut(7))
			s.Nth(2, "GET blob", c.quirk)
			if got, err := readBlob(knowing(t, Options{}, quick(), s), in(s), anyway); err != nil || got != anyway {
				t.Errorf("%q, %v", got, err)
			}
			s.Want(c.want...)
		})
	}
}

// A registry that has no parts at all is asked for all of it every time, and its answer
// read up to where it broke off.
//
// Behaviour: blob.whole
func TestARegistryWithoutPartsIsReadFromTheStart(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Blob("a/b", []byte(anyway))
	for i, n := range []int{7, 7, 9, 20} {
		s.Nth(i+1, "GET blob", registrytest.Cut(n), registrytest.IgnoreRange())
	}
	if got, err := readBlob(knowing(t, Options{}, quick(), s), in(s), anyway); err != nil || got != anyway {
		t.Errorf("%q, %v", got, err)
	}
	s.Want("GET blob", "GET blob bytes=7-", "GET blob bytes=7-", "GET blob bytes=9-", "GET blob bytes=20-")
}

// What is read up to a part isn't held: however far into a blob it is.
//
// Behaviour: blob.whole
func TestWhatIsReadUpToAPartIsNotHeld(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 4<<20) // 64 MiB
	s := registrytest.Start(t, registrytest.Options{})
	d := s.Blob("a/b", big)
	s.On("GET blob", registrytest.IgnoreRange())
	c := knowing(t, Options{}, quick(), s)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	b, err := c.BlobRange(context.Background(), in(s), v1.Descriptor{Digest: d, Size: int64(len(big))}, int64(len(big))-10, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	rest, err := io.ReadAll(b)
	runtime.ReadMemStats(&after)
	if string(rest) != "6789abcdef" || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
	if held := after.TotalAlloc - before.TotalAlloc; held > 16<<20 {
		t.Errorf("%d MiB were allocated", held>>20)
	}
}

// A body that falls silent, or trickles, is given up after a while, and goes on at a
// server that does better; where it is silent again that is a time-out.
//
// Behaviour: blob.stall
func TestASilentBlobIsGivenUp(t *testing.T) {
	content := strings.Repeat(anyway, 4000) // more than comes in a trickle
	for name, q := range map[string]registrytest.Quirk{
		"nothing":          registrytest.Stall(0),
		"nothing more":     registrytest.Stall(1000),
		"a byte at a time": registrytest.Trickle(time.Millisecond),
	} {
		for _, tls := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, TLS %v", name, tls), func(t *testing.T) {
				s := registrytest.Start(t, registrytest.Options{TLS: tls})
				s.Blob("a/b", []byte(content))
				b := quick()
				b.idle = 300 * time.Millisecond
				c := knowing(t, Options{}, b, s)
				silence := s.First(1, "GET blob", q)
				if got, err := readBlob(c, in(s), content); err != nil || got != content || s.Count("GET blob") != 2 {
					t.Errorf("%d bytes, %v: %q", len(got), err, s.Asked())
				}
				silence.End()
				s.On("GET blob", q)
				s.Forget()
				if got, err := readBlob(c, in(s), content); !errors.Is(err, ErrTimeout) || s.Count("GET blob") != maxStalls {
					t.Errorf("%d bytes, %v: %q", len(got), err, s.Asked())
				}
			})
		}
	}
}

// An empty blob is asked for as a whole, whatever part of it is wanted: any other
// answer than that would be 416.
//
// Behaviour: blob.empty
func TestNoPartIsAskedOfAnEmptyBlob(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	d := s.Blob("a/b", nil)
	c := knowing(t, Options{}, quick(), s)
	for _, want := range []struct{ size, offset, length int64 }{{0, 0, -1}, {0, 0, 0}, {0, 0, 10}, {-1, 0, -1}} {
		b, err := c.BlobRange(context.Background(), in(s), v1.Descriptor{Digest: d, Size: want.size}, want.offset, want.length)
		if err != nil {
			t.Errorf("%v: %v", want, err)
			continue
		}
		if got, err := io.ReadAll(b); len(got) != 0 || err != nil || b.Size != 0 {
			t.Errorf("%v: %q, %v, %d", want, got, err, b.Size)
		}
		b.Close()
	}
	s.First(1, "GET blob", registrytest.Reset())
	if got, err := readBlob(c, in(s), ""); got != "" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if slices.ContainsFunc(s.Asked(), func(q string) bool { return q != "GET blob" }) {
		t.Errorf("asked %q", s.Asked())
	}
}

// What is longer than was promised is stopped where that is seen, what is shorter is
// never whole, and nobody is given more than was promised.
//
// Behaviour: blob.size
func TestABlobHasTheSizeThatWasPromised(t *testing.T) {
	const n = int64(len(anyway))
	endless := registrytest.Change(func(a *registrytest.Answer) {
		a.Body, a.Length = bytes.Repeat([]byte(anyway), 2<<20), -1
	})
	for name, c := range map[string]struct {
		quirk    registrytest.Quirk // nil: none
		promised int64
		most     int64 // bytes that are read
	}{
		"longer, as told":       {nil, n - 1, 0},
		"shorter, as told":      {nil, n + 1, 0},
		"empty, it was said":    {nil, 0, 0},
		"longer, in chunks":     {registrytest.Length(-1), n - 1, n - 1},
		"shorter, in chunks":    {registrytest.Length(-1), n + 1, n},
		"empty, in chunks":      {registrytest.Length(-1), 0, 0},
		"without end":           {endless, n, n},
		"longer, and no length": {registrytest.UntilClose(int(n)), n - 1, n - 1},
		"other bytes":           {registrytest.Corrupt(3), n, n},
		"other bytes, the last": {registrytest.Corrupt(int(n) - 1), n, n},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, registrytest.Options{})
			d := s.Blob("a/b", []byte(anyway))
			if c.quirk != nil {
				s.On("GET blob", c.quirk)
			}
			cl := knowing(t, Options{}, quick(), s)
			desc := v1.Descriptor{Digest: d, Size: c.promised}
			var got []byte
			b, err := cl.Blob(context.Background(), in(s), desc)
			if err == nil {
				got, err = io.ReadAll(b)
				b.Close()
			}
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrServer) || int64(len(got)) > c.most {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if c.quirk != nil && strings.HasPrefix(name, "other") {
				return // what isn't verified has these
			}
			got = nil
			part, err := cl.BlobRange(context.Background(), in(s), desc, 0, -1)
			if err == nil {
				got, err = io.ReadAll(part)
				part.Close()
			}
			if err == nil || int64(len(got)) > c.most {
				t.Errorf("unverified: %d bytes, %v", len(got), err)
			}
			for _, q := range s.Requests() {
				if q.Sent == 2<<20*n {
					t.Errorf("%s: all of it was sent", q)
				}
			}
		})
	}
}

// A blob of a size that nobody knows is as large as it is.
//
// Behaviour: blob.size
func TestABlobOfUnknownSize(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	d := s.Blob("a/b", []byte(anyway))
	s.First(1, "GET blob", registrytest.Cut(5))
	b, err := knowing(t, Options{}, quick(), s).BlobRange(context.Background(), in(s), v1.Descriptor{Digest: d, Size: -1}, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if got, err := io.ReadAll(b); string(got) != anyway || err != nil || b.Size != int64(len(anyway)) || digest.FromBytes(got) != d {
		t.Errorf("%q, %v, %d", got, err, b.Size)
	}
}
