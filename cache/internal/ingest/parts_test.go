package ingest

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
)

// Parts are for where the line is slow. They don't help where the disk is, or where nobody reads.
func TestPartsAreForASlowLineOnly(t *testing.T) {
	const slow = 20e6 // bytes a second
	b := make([]byte, partsFrom+partsFrom/4)
	d := digest.FromBytes(b)
	pass := func(n int) { time.Sleep(time.Duration(float64(n) / slow * 1e9)) }
	for name, c := range map[string]struct {
		line, disk func(n int)
		held       time.Duration // how long the reader holds the ingest after the first bytes
		parts      bool
	}{
		"a slow line":               {line: pass, parts: true},
		"a slow disk":               {disk: pass},
		"a fast line, held":         {held: 10 * time.Second},
		"a line that is silent":     {line: silentOnce(10 * time.Second)},
		"a slow line that stutters": {line: stutter(pass), parts: true},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := os.Create(filepath.Join(t.TempDir(), "blob"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			synctest.Test(t, func(t *testing.T) {
				var parts atomic.Int64
				fetch := func(_ context.Context, offset, length int64) (io.ReadCloser, error) {
					if length < 0 {
						length = int64(len(b)) - offset
					}
					return io.NopCloser(&passing{bytes.NewReader(b[offset : offset+length]), c.line}), nil
				}
				in := New(Blob{Digest: d, Size: int64(len(b)), Fetch: fetch, Part: func(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
					parts.Add(1)
					return fetch(ctx, offset, length)
				}}, Options{Parts: 8, Write: func(f *os.File, p []byte, offset int64) error {
					if c.disk != nil {
						c.disk(len(p))
					}
					_, err := f.WriteAt(p, offset)
					return err
				}})
				_, err := in.Run(t.Context(), f, func() {
					if c.held > 0 {
						in.Hold()
						time.AfterFunc(c.held, in.Resume)
					}
				})
				if err != nil || parts.Load() > 0 != c.parts {
					t.Errorf("%d parts, %v", parts.Load(), err)
				}
			})
		})
	}
}

// passing is a body whose bytes pass a line.
type passing struct {
	io.Reader
	line func(n int) // waits until n bytes have passed; nil: they pass at once
}

func (p *passing) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b[:min(len(b), 32<<10)])
	if p.line != nil {
		p.line(n)
	}
	return n, err
}

// silentOnce is a line that is fast but for one silence.
func silentOnce(long time.Duration) func(int) {
	var passed atomic.Int64
	return func(n int) {
		if before := passed.Add(int64(n)) - int64(n); before < 8<<20 && before+int64(n) >= 8<<20 {
			time.Sleep(long)
		}
	}
}

// stutter is a line that is silent for longer than a moment ever after each MiB.
func stutter(line func(int)) func(int) {
	var passed atomic.Int64
	return func(n int) {
		if line(n); passed.Add(int64(n))%(1<<20) == 0 {
			time.Sleep(2 * mostMoment)
		}
	}
}
