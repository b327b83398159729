package transport

import (
	"bufio"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"io"
	"net/http"
	"strings"
)

// Identity asks for bodies as they are, as digests are of them, and undoes the coding of a
// server, or of a proxy before it, that compresses all the same (quay/quay#1310, seen in 2021).
// A blob comes as it was sent: only its digest tells whether the coding is of the blob or was
// put on the way.
type Identity struct{ Next http.RoundTripper }

// RoundTrip sends the request and decodes the answer.
func (t *Identity) RoundTrip(req *http.Request) (*http.Response, error) {
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := t.Next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if !isContent(resp) || !PlanOf(req.Context()).Bulk {
		Decode(resp)
	}
	return resp, nil
}

// Codings of a body that are undone (RFC 9110, section 8.4.1). Others (br, zstd) were never seen
// of a server that was asked for identity.
const (
	gzipCoding    = "gzip"
	deflateCoding = "deflate"
)

// Coding gives the coding that an answer says its body has; "" for none, and for one that isn't
// known here.
func Coding(h http.Header) string {
	switch coding := strings.ToLower(strings.TrimSpace(h.Get("Content-Encoding"))); coding {
	case gzipCoding, "x-gzip":
		return gzipCoding
	case deflateCoding:
		return deflateCoding
	}
	return ""
}

// Decode undoes the coding of an answer. Nobody knows the length of its body then.
func Decode(resp *http.Response) {
	coding := Coding(resp.Header)
	if coding == "" {
		return
	}
	resp.Body = &decoded{coding: coding, sent: resp.Body}
	resp.ContentLength, resp.Uncompressed = -1, true
	resp.Header.Del("Content-Encoding")
	resp.Header.Del("Content-Length")
}

// decoded is a body whose coding is undone. One that hasn't got the coding that its header
// names comes as it is.
type decoded struct {
	coding string
	sent   io.ReadCloser
	plain  io.Reader // of sent; nil: not begun
}

func (d *decoded) Read(p []byte) (int, error) {
	if d.plain == nil {
		if err := d.begin(); err != nil {
			return 0, err
		}
	}
	return d.plain.Read(p)
}

// begin looks at the first bytes, whether they are of the coding.
func (d *decoded) begin() error {
	b := bufio.NewReader(d.sent)
	head, err := b.Peek(2)
	if err != nil && err != io.EOF {
		return err
	}
	var plain io.Reader = b
	err = nil
	switch {
	case len(head) < 2:
	case d.coding == gzipCoding && isGzip(head):
		plain, err = gzip.NewReader(b)
	case d.coding == deflateCoding && isZlib(head):
		plain, err = zlib.NewReader(b)
	}
	if err == io.EOF { // within the head of the coding
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	d.plain = plain
	return nil
}

// isGzip says whether a body begins as gzip does (RFC 1952, section 2.3.1).
func isGzip(head []byte) bool { return head[0] == 0x1f && head[1] == 0x8b }

// isZlib says whether a body begins as zlib does (RFC 1950, section 2.2), which is what deflate
// means in HTTP. No JSON begins so.
func isZlib(head []byte) bool {
	const deflate = 8
	return head[0]&0x0f == deflate && binary.BigEndian.Uint16(head)%31 == 0
}

func (d *decoded) Close() error { return d.sent.Close() }
