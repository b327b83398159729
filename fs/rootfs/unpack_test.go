package rootfs

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

func gz(t testing.TB, b []byte) []byte {
	t.Helper()
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, err := w.Write(b)
	if cerr := w.Close(); err != nil || cerr != nil {
		t.Fatal(err, cerr)
	}
	return z.Bytes()
}

func zst(t testing.TB, b []byte, o ...zstd.EOption) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil, o...)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(b, nil)
}

// skippable is a frame of zstd that decoders skip.
func skippable(data string) []byte {
	return append([]byte{0x5a, 0x2a, 0x4d, 0x18, byte(len(data)), 0, 0, 0}, data...)
}

func join(b ...[]byte) []byte { return bytes.Join(b, nil) }

// packings are the ways in which archives are packed.
var packings = map[string]func(t testing.TB, raw []byte) []byte{
	"plain": func(t testing.TB, raw []byte) []byte { return raw },
	"gzip":  gz,
	"gzip of two members": func(t testing.TB, raw []byte) []byte {
		return join(gz(t, raw[:len(raw)/2]), gz(t, nil), gz(t, raw[len(raw)/2:]))
	},
	"gzip and zeros":   func(t testing.TB, raw []byte) []byte { return append(gz(t, raw), make([]byte, 700)...) },
	"gzip and garbage": func(t testing.TB, raw []byte) []byte { return append(gz(t, raw), "garbage"...) },
	"gzip and a byte":  func(t testing.TB, raw []byte) []byte { return append(gz(t, raw), 0x1f) },
	"zstd":             func(t testing.TB, raw []byte) []byte { return zst(t, raw) },
	"zstd of frames": func(t testing.TB, raw []byte) []byte {
		return join(skippable("first"), zst(t, raw[:len(raw)/2]), skippable(""), zst(t, nil), zst(t, raw[len(raw)/2:]), skippable("last"))
	},
	"zstd and zeros":       func(t testing.TB, raw []byte) []byte { return append(zst(t, raw), make([]byte, 700)...) },
	"zstd without its sum": func(t testing.TB, raw []byte) []byte { return zst(t, raw, zstd.WithEncoderCRC(false)) },
	"zstd of a large window": func(t testing.TB, raw []byte) []byte {
		return zst(t, raw, zstd.WithWindowSize(maxWindow), zstd.WithSingleSegment(false))
	},
}

// unpack unpacks, and checks that all was read.
func unpack(b []byte, l Limits) ([]byte, error) {
	r := bytes.NewReader(b)
	u, err := Unpack(r, l)
	if err != nil {
		return nil, err
	}
	defer u.Close()
	got, err := io.ReadAll(u)
	if err == nil && r.Len() > 0 {
		return nil, errors.New("it isn't read to its end")
	}
	return got, err
}

// The bytes tell the packing, and all of them are read.
func TestUnpackPackings(t *testing.T) {
	raw := archive(t, file("f", strings.Repeat("data", 1000)))
	for name, pack := range packings {
		packed := pack(t, raw)
		if got, err := unpack(packed, Limits{Packed: int64(len(packed))}); err != nil || !bytes.Equal(got, raw) {
			t.Errorf("%s: %d bytes of %d, %v", name, len(got), len(raw), err)
		}
		u, err := Unpack(iotest.OneByteReader(iotest.DataErrReader(bytes.NewReader(packed))), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if err := iotest.TestReader(u, raw); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		u.Close()
	}
	// What `bzip2` makes of an archive with the file f.
	b, err := base64.StdEncoding.DecodeString("QlpoOTFBWSZTWX7B/pwAAG77gMmAAAFAAGWAAADlAB4ACAggAFRAgABo9QRRQNDJoB9zQlEL4oiW6tQjamaCQEFZGYEvKLnUsq+CIXSYNsIBMzMi+LuSKcKEg/YP9OA=")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{b, join(b, b)} {
		got, err := unpack(b, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if got := show(t, index(t, got), got); got != `f "data"` {
			t.Errorf("bzip2: %s", got)
		}
	}
}

// The empty blob, and packings of nothing, unpack to nothing.
func TestUnpackEmpty(t *testing.T) {
	for _, b := range [][]byte{nil, gz(t, nil), zst(t, nil, zstd.WithZeroFrames(true)), skippable("x")} {
		if got, err := unpack(b, Limits{}); err != nil || len(got) > 0 {
			t.Errorf("%x: %q, %v", b, got, err)
		}
	}
}

// Other bytes are no archive.
func TestUnpackNoArchive(t *testing.T) {
	raw := archive(t, file("f", "1"))
	wide := join([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 18 << 3}, make([]byte, 100)) // a window of 256 MiB
	dict := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x21, 77, 1, 0x09, 0, 0, 'x'}
	for name, b := range map[string][]byte{
		"text": []byte("hello, world"), "json": []byte(strings.Repeat(`{"a":1}`, 200)), "xz": []byte("\xfd7zXZ\x00\x00\x04" + strings.Repeat("x", 600)),
		"zip": []byte("PK\x03\x04" + strings.Repeat("x", 600)), "half a block of zeros": make([]byte, 100),
		"a skippable frame before a tar": join(skippable("x"), raw), "a window of 256 MiB": wide, "a dictionary": dict,
	} {
		if got, err := unpack(b, Limits{}); !errors.Is(err, ErrNoArchive) || errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

// A packing that breaks off anywhere is malformed, and so is one with another byte in its data.
func TestUnpackCorrupt(t *testing.T) {
	raw := archive(t, file("f", strings.Repeat("data", 100)), file("g", "1"))
	for name, packed := range map[string][]byte{"gzip": gz(t, raw), "zstd": zst(t, raw), "zstd of frames": join(zst(t, raw), zst(t, raw))} {
		for n := 4; n < len(packed); n++ {
			_, err := unpack(packed[:n], Limits{})
			if !errors.Is(err, ErrCorrupt) && !(name == "zstd of frames" && n == len(packed)/2) {
				t.Errorf("%s: %d bytes of %d: %v", name, n, len(packed), err)
			}
		}
		bad := bytes.Clone(packed)
		bad[len(bad)-3] ^= 1 // in the checksum
		if _, err := unpack(bad, Limits{}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: another byte: %v", name, err)
		}
	}
}

// An error of the reader comes back as it is, wherever it happens.
func TestUnpackReaderError(t *testing.T) {
	mine := errors.New("mine")
	raw := archive(t, file("f", strings.Repeat("data", 100)))
	for _, pack := range packings {
		packed := pack(t, raw)
		for n := 0; n <= len(packed); n += 1 + n/20 {
			u, err := Unpack(io.MultiReader(bytes.NewReader(packed[:n]), iotest.ErrReader(mine)), Limits{})
			if err == nil {
				_, err = io.Copy(io.Discard, u)
				u.Close()
			}
			if err != mine {
				t.Errorf("after %d bytes of %d: %v", n, len(packed), err)
			}
		}
	}
}

// A blob unpacks to no more than is allowed, and to all of that.
func TestUnpackLimits(t *testing.T) {
	raw := archive(t, file("f", strings.Repeat("data", 1000)))
	size := int64(len(raw))
	for name, pack := range packings {
		packed := pack(t, raw)
		if got, err := unpack(packed, Limits{Bytes: size}); err != nil || int64(len(got)) != size {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		got, err := unpack(packed, Limits{Bytes: size - 1})
		if !errors.Is(err, ErrTooLarge) || int64(len(got)) > size-1 {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	for l, want := range map[Limits]int64{
		{}: 1 << 30, {Packed: 5 << 20}: 5000 << 20, {Packed: 1}: 1 << 30, {Packed: 1 << 60}: 1<<63 - 1,
		{Bytes: 7, Packed: 1 << 60}: 7, {Bytes: 1 << 40, Packed: 9}: 1 << 30,
	} {
		if got := l.most(); got != want {
			t.Errorf("%+v: %d, want %d", l, got, want)
		}
	}
}

// Close ends every goroutine of a decoder, in the midst of reading too.
func TestUnpackClose(t *testing.T) {
	raw := bytes.Repeat(archive(t, file("f", strings.Repeat("data", 1000))), 1000)
	before := runtime.NumGoroutine()
	for _, pack := range packings {
		u, err := Unpack(bytes.NewReader(pack(t, raw)), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(u, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(u.Close(), u.Close()); err != nil {
			t.Error(err)
		}
		if _, err := u.Read(make([]byte, 10)); err == nil {
			t.Error("read after Close")
		}
	}
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}
