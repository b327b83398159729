package cache

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// panicking is a reader that panics.
type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("a bug in a body") }
func (panicking) Close() error             { return nil }

// A panic below a download fails those who wait for it, is told once with its stack, and
// leaves nothing behind: the blob can be had once the bug doesn't show.
func TestAPanicFailsOneDownload(t *testing.T) {
	for name, fetch := range map[string]Fetch{
		"in the request": func(context.Context, int64, int64) (io.ReadCloser, error) { panic("a bug in a request") },
		"in the body":    func(context.Context, int64, int64) (io.ReadCloser, error) { return panicking{}, nil },
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(t.TempDir(), Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			told := make(chan string, 10)
			s.OnPanic(func(_ any, stack []byte) { told <- string(stack) })
			b := []byte("a blob")
			w := Want{Digest: digest.FromBytes(b), Size: int64(len(b)), From: "test", Fetch: fetch}
			if f, err := s.Get(t.Context(), w); err == nil || !strings.Contains(err.Error(), "panic: a bug") {
				t.Fatalf("got %v, %v", f, err)
			}
			if n := len(told); n != 1 {
				t.Errorf("it was told %d times", n)
			} else if stack := <-told; !strings.Contains(stack, "panic_test.go") {
				t.Errorf("the stack doesn't show where: %s", stack)
			}
			w.Fetch = func(context.Context, int64, int64) (io.ReadCloser, error) {
				return io.NopCloser(bytes.NewReader(b)), nil
			}
			f, err := s.Get(t.Context(), w)
			if err != nil {
				t.Fatalf("afterwards: %v", err)
			}
			f.Close()
		})
	}
}
