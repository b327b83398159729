package rootfs

import (
	"bytes"
	"io"
	"testing"

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

func zst(t testing.TB, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(b, nil)
}

func unpack(b []byte) ([]byte, error) {
	u, err := Unpack(bytes.NewReader(b), Limits{Packed: int64(len(b))})
	if err != nil {
		return nil, err
	}
	defer u.Close()
	return io.ReadAll(u)
}

// The bytes tell the packing.
func TestUnpackPackings(t *testing.T) {
	raw := archive(t, file("f", "data"))
	for name, packed := range map[string][]byte{
		"plain": raw, "gzip": gz(t, raw), "zstd": zst(t, raw),
	} {
		got, err := unpack(packed)
		if err != nil || !bytes.Equal(got, raw) {
			t.Errorf("%s: %d bytes of %d, %v", name, len(got), len(raw), err)
		}
	}
}
