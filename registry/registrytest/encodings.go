package registrytest

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"io"
)

// Encode compresses the body of the answer, whatever coding the request accepts, and says
// so by Content-Encoding: "gzip", "x-gzip" or "deflate". A part of a body stays as it is. The
// Content-Length is that of the compressed body; with length false there is none, as
// proxies that compress on the way do it.
func Encode(coding string, length bool) Quirk {
	return func(x *Exchange, next func() *Answer) *Answer {
		a := next()
		if len(a.Body) == 0 || a.Header.Get("Content-Range") != "" {
			return a
		}
		a.Body = compress(coding, a.Body)
		a.Length = int64(len(a.Body))
		if !length {
			a.Length = -1
		}
		a.Header.Set("Content-Encoding", coding)
		return a
	}
}

func compress(coding string, body []byte) []byte {
	var b bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&b)
	if coding == "deflate" {
		w = zlib.NewWriter(&b) // RFC 9110, section 8.4.1.2
	}
	_, _ = w.Write(body) // into memory
	_ = w.Close()
	return b.Bytes()
}
