package lanes

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// noise gives n bytes that are the same each time.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// Each number of lanes gives what the standard library gives, whatever the messages are beside it. Where
// the processor has no lanes, none are used.
func TestLanesHashAsTheStandardLibraryDoes(t *testing.T) {
	if !capable() {
		if Usable() {
			t.Fatal("lanes are used on a processor that has none")
		}
		return
	}
	if !right() {
		t.Fatal("the lanes don't give what the standard library gives")
	}
	const shortest = 2*pieceLen + 1024
	b := noise(1 << 20)
	for n := 1; n <= width; n++ {
		var ws []*write
		var want []hash.Hash
		for i := range n {
			p := b[i*4321:][:shortest+(i+1)%n*1024] // that of the last lane is the shortest
			ws, want = append(ws, &write{h: sha256.New(), p: p}), append(want, sha256.New())
			for _, h := range []hash.Hash{ws[i].h, want[i]} {
				h.Write(b[:i*sha256.BlockSize]) // each lane begins in another state
			}
			want[i].Write(p[:shortest])
		}
		if !together(ws) {
			t.Fatalf("%d lanes hashed nothing", n)
		}
		for i, w := range ws {
			if len(w.p) != shortest {
				t.Errorf("%d lanes: lane %d took %d bytes, want those of the shortest", n, i, len(w.p))
			}
			if !bytes.Equal(w.h.Sum(nil), want[i].Sum(nil)) {
				t.Errorf("%d lanes: lane %d is wrong", n, i)
			}
		}
	}
}

// Hashes that are written at once, in pieces of any length, are what the standard library makes of the
// same bytes. Where the processor has no lanes, the turns hash one after the other.
func TestHashesThatAreWrittenAtOnceAreRight(t *testing.T) {
	b := noise(4 << 20)
	for _, n := range []int{1, 2, least, width + 1, 3 * width} {
		ts := new(turns)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(n), uint64(i)))
				got, want := newHash(ts), sha256.New()
				for round := range 2 {
					got.Reset()
					want.Reset()
					for range 12 {
						p := b[r.IntN(1<<20):]
						switch r.IntN(6) {
						case 0:
							p = p[:r.IntN(100)]
						case 1:
							p = p[:maxWrite+r.IntN(2*maxWrite)]
						case 2:
							p = p[:minWrite-1+r.IntN(3)]
						case 3:
							p = p[:maxWrite-1+r.IntN(3)]
						default:
							p = p[:r.IntN(3*minWrite)]
						}
						if k, err := got.Write(p); k != len(p) || err != nil {
							t.Errorf("%d of %d bytes, %v", k, len(p), err)
						}
						want.Write(p)
						if !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
							t.Errorf("hash %d of %d is wrong in round %d", i, n, round)
							return
						}
					}
				}
			})
		}
		wg.Wait()
		if len(ts.waiting) > 0 || ts.single != 0 || ts.shared != 0 {
			t.Errorf("%d hashes: %d wait, %d and %d turns are under way after the last one", n, len(ts.waiting), ts.single, ts.shared)
		}
		if slices.ContainsFunc(ts.waiting[:cap(ts.waiting)], func(w *write) bool { return w != nil }) {
			t.Errorf("%d hashes: one is held that nobody hashes any more", n)
		}
	}
}

// Who waits is given a turn with others once there are enough, and alone where a processor has nothing
// to do. A second shared turn begins once half of its lanes are taken.
func TestThoseWhoWaitShareTurns(t *testing.T) {
	const processors = 2
	for name, c := range map[string]struct {
		waiting, single, shared int
		want                    []int // the writes of each turn that begins
	}{
		"one":                       {waiting: 1, want: []int{1}},
		"two":                       {waiting: 2, want: []int{1, 1}},
		"enough":                    {waiting: least, want: []int{least}},
		"too few while all work":    {waiting: least - 1, single: processors},
		"enough while all work":     {waiting: least, single: processors, want: []int{least}},
		"one beside a shared turn":  {waiting: 1, shared: 1},
		"few beside a shared turn":  {waiting: width/2 - 1, shared: 1},
		"half beside a shared turn": {waiting: width / 2, shared: 1, want: []int{width / 2}},
		"many":                      {waiting: 3 * width, want: []int{width, width}},
		"many, and few more":        {waiting: width + least, want: []int{width}},
	} {
		t.Run(name, func(t *testing.T) {
			ts := &turns{single: c.single, shared: c.shared}
			var ws []*write
			for range c.waiting {
				ws = append(ws, &write{turn: make(chan []*write, 1)})
			}
			ts.waiting = slices.Clone(ws)
			ts.give(processors)
			var got []int
			for _, w := range ws {
				select {
				case turn := <-w.turn:
					got = append(got, len(turn))
				default:
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("turns of %v writes begin, want %v", got, c.want)
			}
		})
	}
}

// A hash that isn't the standard library's is written to, as it is.
func TestAHashThatLanesDontKnowIsWrittenTo(t *testing.T) {
	ts := new(turns)
	b := noise(1024)
	var ws []*write
	for range least {
		ws = append(ws, &write{h: struct{ hash.Hash }{sha256.New()}, p: b, turn: make(chan []*write, 1)})
	}
	if together(ws) {
		t.Fatal("lanes took it")
	}
	ts.shared = 1
	ts.run(ws)
	want := sha256.Sum256(b)
	for i, w := range ws {
		if !bytes.Equal(w.h.Sum(nil), want[:]) {
			t.Errorf("hash %d is wrong", i)
		}
		if i > 0 {
			<-w.turn // it is told
		}
	}
}

// Each blob is written by a goroutine of its own, as fast as it can be hashed.
func BenchmarkHash(b *testing.B) {
	p := noise(maxWrite)
	for _, n := range []int{1, 2, least, width, 10, 2 * width} {
		for name, newHash := range map[string]func() hash.Hash{"lanes": New, "standard": sha256.New} {
			b.Run(fmt.Sprintf("%s=%d", name, n), func(b *testing.B) {
				b.SetBytes(int64(len(p) * n))
				before := processorTime(b)
				var wg sync.WaitGroup
				for range n {
					wg.Go(func() {
						h := newHash()
						for range b.N {
							h.Write(p)
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(len(p)*n*b.N)/1e6/(processorTime(b)-before).Seconds(), "MB/processor-s")
			})
		}
	}
}

// processorTime is the time that processors have worked for this process.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
