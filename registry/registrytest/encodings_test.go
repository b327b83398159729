package registrytest

import (
	"compress/gzip"
	"compress/zlib"
	"io"
	"strings"
	"testing"
)

// An answer is compressed although the client asks for identity, with the length of the
// compressed body or without one.
func TestAnAnswerIsEncodedInSpiteOfIdentity(t *testing.T) {
	for coding, decode := range map[string]func(io.Reader) (io.Reader, error){
		"gzip":    func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		"x-gzip":  func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		"deflate": func(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) },
	} {
		for _, length := range []bool{true, false} {
			s := Start(t, Options{})
			path := blobAt(s)
			s.On("GET blob", Encode(coding, length))
			r := do(t, s, s.Client(), 200, "GET", path, "", "Accept-Encoding", "identity")
			decoded, err := decode(strings.NewReader(r.body))
			if err != nil {
				t.Fatal(coding, err)
			}
			got, err := io.ReadAll(decoded)
			if string(got) != text || err != nil || r.header.Get("Content-Encoding") != coding {
				t.Errorf("%s: %q, %v, %v", coding, got, err, r.header)
			}
			if want := map[bool]int64{true: int64(len(r.body)), false: -1}[length]; r.length != want {
				t.Errorf("%s: a length of %d, want %d", coding, r.length, want)
			}
			if r := do(t, s, s.Client(), 206, "GET", path, "", "Range", "bytes=4-", "Accept-Encoding", "identity"); r.body != text[4:] {
				t.Errorf("%s: a part is %q", coding, r.body)
			}
		}
	}
}
