package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
)

// big is a blob that is large enough to come in parts, and bigger three times as large. They are made
// and hashed once.
var (
	big          = sync.OnceValue(func() []byte { return content(7, 80<<20+4321) })
	bigger       = sync.OnceValue(func() []byte { return bytes.Repeat(big(), 3) })
	bigDigest    = sync.OnceValue(func() digest.Digest { return digest.FromBytes(big()) })
	biggerDigest = sync.OnceValue(func() digest.Digest { return digest.FromBytes(bigger()) })
)

// wire is an origin of which each connection brings so much a second.
type wire struct {
	rate    float64       // bytes a second
	first   time.Duration // until the first byte of a fetch that isn't a part
	bursts  time.Duration // what comes within so long comes at its end; 0: it comes evenly
	b       []byte
	part    func(offset int64, body io.Reader) (io.Reader, error) // what becomes of parts; nil: nothing
	fetches atomic.Int64
	parts   atomic.Int64
	sent    atomic.Int64
	open    atomic.Int64
	most    atomic.Int64 // that were open at once

	mu     sync.Mutex
	ranges [][2]int64 // offsets and lengths of the parts that were asked for; guarded by mu
}

func newWire(rate float64) *wire { return &wire{rate: rate, b: big()} }

func (w *wire) want() Want {
	return Want{Digest: w.digest(), Size: int64(len(w.b)), From: "wire",
		Fetch: func(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
			w.fetches.Add(1)
			body := w.body(ctx, w.section(offset, length))
			body.silence = w.first
			return body, nil
		},
		Part: func(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
			w.parts.Add(1)
			w.mu.Lock()
			w.ranges = append(w.ranges, [2]int64{offset, length})
			w.mu.Unlock()
			var body io.Reader = w.section(offset, length)
			if w.part != nil {
				var err error
				if body, err = w.part(offset, body); err != nil {
					return nil, err
				}
			}
			return w.body(ctx, body), nil
		},
	}
}

func (w *wire) digest() digest.Digest {
	switch len(w.b) {
	case len(big()):
		return bigDigest()
	case 3 * len(big()):
		return biggerDigest()
	}
	return digest.FromBytes(w.b)
}

func (w *wire) section(offset, length int64) io.Reader {
	if length < 0 {
		length = int64(len(w.b)) - offset
	}
	return bytes.NewReader(w.b[offset : offset+length])
}

func (w *wire) body(ctx context.Context, r io.Reader) *wireBody {
	n := w.open.Add(1)
	for most := w.most.Load(); n > most && !w.most.CompareAndSwap(most, n); most = w.most.Load() {
	}
	return &wireBody{w: w, ctx: ctx, r: r, close: sync.OnceFunc(func() { w.open.Add(-1) })}
}

type wireBody struct {
	w       *wire
	ctx     context.Context
	r       io.Reader
	silence time.Duration // before the next byte
	burst   time.Duration // how much of a burst is over
	close   func()
}

// Read gives no more than what a socket that is waited for has by then.
func (b *wireBody) Read(p []byte) (int, error) {
	n, err := b.r.Read(p[:min(len(p), 32<<10)])
	b.w.sent.Add(int64(n))
	wait := b.silence + time.Duration(float64(n)/b.w.rate*1e9)
	b.silence = 0
	if b.w.bursts > 0 {
		if b.burst += wait; b.burst < b.w.bursts {
			return n, err
		}
		wait, b.burst = b.burst, 0
	}
	select {
	case <-time.After(wait):
		return n, err
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	}
}

func (b *wireBody) Close() error {
	b.close()
	return nil
}

// alone is how long one connection takes for the blob.
func (w *wire) alone() time.Duration { return time.Duration(float64(len(w.b)) / w.rate * 1e9) }

// parted gets the blob in a bubble of its own time, and says how long that took there.
func parted(t *testing.T, w *wire, then func(t *testing.T, s *Store, took time.Duration, err error)) {
	dir := t.TempDir()
	w.digest() // outside, as it has locks of its own
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, Options{Parts: 8})
		began := time.Now()
		f, err := s.Get(t.Context(), w.want())
		took := time.Since(began)
		if err == nil {
			whole(t, f, w)
			_ = f.Close()
		}
		settled(t, s)
		if n := w.open.Load(); n != 0 {
			t.Errorf("%d bodies are open", n)
		}
		then(t, s, took, err)
	})
}

// whole checks that a file gives all that the wire has.
func whole(t *testing.T, f *File, w *wire) {
	t.Helper()
	if f.Size() != int64(len(w.b)) {
		t.Fatalf("the file has %d bytes", f.Size())
	}
	got := make([]byte, 1<<20)
	for off := 0; off < len(w.b); off += len(got) {
		want := w.b[off:min(len(w.b), off+len(got))]
		if n, err := f.ReadAt(got[:len(want)], int64(off)); n < len(want) || !bytes.Equal(got[:n], want) {
			t.Fatalf("the bytes from %d on aren't the wire's (%d came, %v)", off, n, err)
		}
	}
}

func TestALargeBlobOfASlowWireComesInParts(t *testing.T) {
	for name, w := range map[string]*wire{
		"evenly":    newWire(10e6),
		"in bursts": {rate: 10e6, bursts: 200 * time.Millisecond, b: big()},
		"faster":    {rate: 40e6, b: bigger()}, // haste pays more there
	} {
		t.Run(name, func(t *testing.T) {
			parted(t, w, func(t *testing.T, _ *Store, took time.Duration, err error) {
				alone := w.alone()
				if err != nil || took > alone/5 {
					t.Errorf("it took %s of the %s that one connection takes, %v", took, alone, err)
				}
				if w.parts.Load() < 7 || w.most.Load() != 8 {
					t.Errorf("%d parts, %d at once", w.parts.Load(), w.most.Load())
				}
				if again := w.sent.Load() - int64(len(w.b)); again > 256<<10 {
					t.Errorf("%d bytes came twice", again)
				}
			})
		})
	}
}

// The first parts are large, as each is a request, and the last ones small, so that nobody waits
// long for one of them.
func TestPartsBecomeSmaller(t *testing.T) {
	const least = 4 << 20
	w := &wire{rate: 20e6, b: bigger()}
	parted(t, w, func(t *testing.T, _ *Store, _ time.Duration, err error) {
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(w.ranges, func(a, b [2]int64) int { return int(a[0] - b[0]) })
		first, last := w.ranges[0][1], w.ranges[len(w.ranges)-1][1]
		if first < 2*least || last > least {
			t.Errorf("the first part has %d bytes, and the last one %d", first, last)
		}
		for k, r := range w.ranges[1:] {
			if before := w.ranges[k][1]; r[1] > before || r[1] < least && k+2 < len(w.ranges) {
				t.Errorf("a part of %d bytes follows one of %d", r[1], before)
			}
		}
	})
}

func TestABlobIsAskedForOnceWhereThatIsFastOrItIsSmall(t *testing.T) {
	for name, w := range map[string]*wire{
		"fast":             newWire(500e6),
		"soon through":     newWire(200e6),
		"small":            {rate: 1e6, b: big()[: 64<<20-1 : 64<<20-1]},
		"late, and fast":   {rate: 500e6, first: 10 * time.Second, b: big()},
		"fast, and bursts": {rate: 500e6, bursts: 100 * time.Millisecond, b: big()},
	} {
		t.Run(name, func(t *testing.T) {
			parted(t, w, func(t *testing.T, _ *Store, _ time.Duration, err error) {
				if err != nil || w.fetches.Load() != 1 || w.parts.Load() != 0 {
					t.Errorf("%d fetches, %d parts, %v", w.fetches.Load(), w.parts.Load(), err)
				}
			})
		})
	}
}

func TestABlobIsAskedForOnceWhereOneConnectionIsAllowed(t *testing.T) {
	dir := t.TempDir()
	bigDigest()
	synctest.Test(t, func(t *testing.T) {
		w := newWire(10e6)
		whole(t, get(t, open(t, dir, Options{Parts: 1}), w.want()), w)
		if w.fetches.Load() != 1 || w.parts.Load() != 0 {
			t.Errorf("%d fetches, %d parts", w.fetches.Load(), w.parts.Load())
		}
	})
}

// A wire that carries no more by several connections isn't given more of them.
func TestConnectionsThatDontPayAreNotMultiplied(t *testing.T) {
	w := newWire(10e6)
	all := sync.OnceValue(func() chan struct{} { return make(chan struct{}, 1) }) // in the bubble
	w.part = func(_ int64, body io.Reader) (io.Reader, error) { return &oneAtATime{all(), body}, nil }
	parted(t, w, func(t *testing.T, _ *Store, _ time.Duration, err error) {
		if err != nil || w.most.Load() > 4 {
			t.Errorf("%d at once, %v", w.most.Load(), err)
		}
	})
}

// oneAtATime is bodies that share one wire.
type oneAtATime struct {
	all chan struct{}
	io.Reader
}

func (r *oneAtATime) Read(p []byte) (int, error) {
	r.all <- struct{}{}
	defer func() { <-r.all }()
	time.Sleep(time.Duration(len(p)) * 500) // at 2 MB/s together
	return r.Reader.Read(p)
}

func TestAnOriginThatRefusesPartsIsAskedForNone(t *testing.T) {
	w := newWire(10e6)
	w.part = func(int64, io.Reader) (io.Reader, error) { return nil, errors.New("no ranges here") }
	parted(t, w, func(t *testing.T, _ *Store, _ time.Duration, err error) {
		if err != nil || w.fetches.Load() != 1 || w.parts.Load() >= 4 || w.sent.Load() != int64(len(w.b)) {
			t.Errorf("%d fetches, %d parts, %d bytes, %v", w.fetches.Load(), w.parts.Load(), w.sent.Load(), err)
		}
	})
}

// The first fetch isn't cut off before a part has come. Who learns late that there are no parts
// has not lost what was under way.
func TestTheFirstFetchGoesOnUntilPartsAreAnswered(t *testing.T) {
	w := newWire(10e6)
	w.part = func(int64, io.Reader) (io.Reader, error) {
		time.Sleep(5 * time.Second)
		return nil, errors.New("no ranges here")
	}
	parted(t, w, func(t *testing.T, _ *Store, took time.Duration, err error) {
		if err != nil || w.fetches.Load() != 1 || w.sent.Load() != int64(len(w.b)) || took > w.alone()+time.Second {
			t.Errorf("%d fetches, %d bytes in %s, %v", w.fetches.Load(), w.sent.Load(), took, err)
		}
	})
}

// A part that is answered after another fetch was there isn't read.
func TestAPartThatIsAnsweredTooLateIsntRead(t *testing.T) {
	w := newWire(10e6)
	var n atomic.Int64
	w.part = func(_ int64, body io.Reader) (io.Reader, error) {
		if n.Add(1) <= 3 {
			time.Sleep(2 * time.Second)
		}
		return body, nil
	}
	parted(t, w, func(t *testing.T, _ *Store, took time.Duration, err error) {
		if again := w.sent.Load() - int64(len(w.b)); err != nil || again > 256<<10 || took > w.alone()*2/3 {
			t.Errorf("%d bytes came twice, in %s of %s, %v", again, took, w.alone(), err)
		}
	})
}

func TestPartsAreAskedForAgainWhereNoConnectionWasFree(t *testing.T) {
	w := newWire(10e6)
	var asked atomic.Int64
	w.part = func(_ int64, body io.Reader) (io.Reader, error) {
		if asked.Add(1) < 6 {
			return nil, ErrNoPlace
		}
		return body, nil
	}
	parted(t, w, func(t *testing.T, _ *Store, took time.Duration, err error) {
		if err != nil || took > w.alone()/2 {
			t.Errorf("it took %s of %s, %v", took, w.alone(), err)
		}
	})
}

func TestWhatAPartDoesntBringOthersDo(t *testing.T) {
	for name, broken := range map[string]func(io.Reader) io.Reader{
		"broken":  func(r io.Reader) io.Reader { return io.MultiReader(io.LimitReader(r, 1<<20+5), brokenWire{}) },
		"shorter": func(r io.Reader) io.Reader { return io.LimitReader(r, 12345) },
		"nothing": func(io.Reader) io.Reader { return brokenWire{} },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWire(10e6)
			var n atomic.Int64
			w.part = func(_ int64, r io.Reader) (io.Reader, error) {
				if n.Add(1)%2 == 0 {
					r = broken(r)
				}
				return r, nil
			}
			parted(t, w, func(t *testing.T, _ *Store, _ time.Duration, err error) {
				if again := w.sent.Load() - int64(len(w.b)); err != nil || again > 1<<20 {
					t.Errorf("%v; %d bytes came twice", err, again)
				}
			})
		})
	}
}

type brokenWire struct{}

func (brokenWire) Read([]byte) (int, error) { return 0, errors.New("the wire broke") }

// What parts gave that didn't fit is fetched as a whole, once.
func TestPartsThatDontFitAreFetchedAsAWhole(t *testing.T) {
	w := newWire(10e6)
	w.part = func(_ int64, r io.Reader) (io.Reader, error) {
		return io.MultiReader(bytes.NewReader([]byte("wrong")), &io.LimitedReader{R: r, N: 1 << 40}), nil
	}
	parted(t, w, func(t *testing.T, _ *Store, _ time.Duration, err error) {
		if err != nil || w.fetches.Load() < 2 {
			t.Errorf("%d fetches, %v", w.fetches.Load(), err)
		}
	})
}

// What was there in parts when a download ended isn't fetched again, but for a block at
// the end of each.
func TestPartsOfAnUnfinishedDownloadAreKept(t *testing.T) {
	dir := t.TempDir()
	bigDigest()
	synctest.Test(t, func(t *testing.T) {
		w := newWire(5e6)
		s, err := Open(dir, Options{Parts: 8})
		if err != nil {
			t.Fatal(err)
		}
		c := start(t.Context(), s, w.want(), 1)
		time.Sleep(2 * time.Second)
		if w.parts.Load() < 7 {
			t.Fatalf("%d parts", w.parts.Load())
		}
		_ = s.Close()
		if o := <-c; !errors.Is(o.err, ErrClosed) {
			t.Fatal(o.err)
		}
		name := s.partial(bigDigest())
		st, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		had := allocated(st)
		next := &wire{rate: 500e6, b: w.b}
		whole(t, get(t, open(t, dir, Options{Parts: 8}), next.want()), w)
		if brought := next.sent.Load(); brought > int64(len(w.b))-had+(1<<20) || had < 20<<20 {
			t.Errorf("of %d bytes %d were there, and %d were fetched", len(w.b), had, brought)
		}
	})
}
