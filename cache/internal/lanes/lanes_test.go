package lanes

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"math/rand/v2"
	"sync"
	"testing"
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
	b := noise(1 << 20)
	for n := 1; n <= width; n++ {
		var ws []*write
		var want []hash.Hash
		for i := range n {
			p := b[i*4321:][:(i+2)*1024]
			ws, want = append(ws, &write{h: sha256.New(), p: p}), append(want, sha256.New())
			for _, h := range []hash.Hash{ws[i].h, want[i]} {
				h.Write(b[:i*sha256.BlockSize]) // each lane begins in another state
			}
			want[i].Write(p[:2*1024])
		}
		if !together(ws) {
			t.Fatalf("%d lanes hashed nothing", n)
		}
		for i, w := range ws {
			if len(w.p) != 2*1024 {
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
	for _, n := range []int{1, 2, least, width/2 + 1, 3 * width} {
		ts := new(turns)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(n), uint64(i)))
				got, want := &laneHash{Hash: sha256.New(), turns: ts}, sha256.New()
				for round := range 2 {
					got.Reset()
					want.Reset()
					for range 12 {
						p := b[r.IntN(1<<20):]
						p = p[:r.IntN(3*minWrite)]
						if r.IntN(4) == 0 {
							p = p[:len(p)%100]
						}
						if r.IntN(6) == 0 {
							p = b[:maxWrite+r.IntN(2*maxWrite)]
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
		if len(ts.waiting) > 0 || ts.alone != 0 || ts.together != 0 {
			t.Errorf("%d hashes: %d wait, %d and %d turns are under way after the last one", n, len(ts.waiting), ts.alone, ts.together)
		}
	}
}

// Who waits while others have their turns has one with all who wait, once there are enough.
func TestThoseWhoWaitHaveATurnTogether(t *testing.T) {
	ts := &turns{alone: 1 << 20} // all processors are taken
	wait := func() *write {
		w := &write{sha256.New(), noise(minWrite), make(chan []*write, 1)}
		ts.waiting = append(ts.waiting, w)
		ts.give()
		return w
	}
	var ws []*write
	for range least {
		for _, w := range ws {
			if len(w.turn) > 0 {
				t.Fatal("too few have a turn together")
			}
		}
		ws = append(ws, wait())
	}
	if got := <-ws[0].turn; len(got) != least || ts.together != 1 {
		t.Fatalf("a turn is of %d, want %d; %d are under way", len(got), least, ts.together)
	}
}

func BenchmarkHash(b *testing.B) {
	p := noise(maxWrite)
	for _, n := range []int{1, 2, least, width / 2, width} {
		for name, newHash := range map[string]func() hash.Hash{"lanes": New, "standard": sha256.New} {
			b.Run(fmt.Sprintf("%s=%d", name, n), func(b *testing.B) {
				b.SetBytes(int64(len(p) * n))
				var hs []hash.Hash
				for range n {
					hs = append(hs, newHash())
				}
				for b.Loop() {
					var wg sync.WaitGroup
					for _, h := range hs {
						wg.Go(func() { h.Write(p) })
					}
					wg.Wait()
				}
			})
		}
	}
}
