package cache

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// many are blobs that are made when they are needed, of nearly whole blocks.
type many struct {
	digests []digest.Digest
	most    int // blocks of the largest
}

func newMany(n, most int) *many {
	m := &many{most: most}
	for i := range n {
		m.digests = append(m.digests, digest.FromBytes(m.blob(i)))
	}
	return m
}

func (m *many) blob(i int) []byte {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], uint64(i)+1<<32)
	b := make([]byte, 4096*(1+i*i%m.most)-i%100)
	_, _ = rand.NewChaCha8(seed).Read(b) // never fails
	return b
}

func (m *many) want(i int, fetches *atomic.Int64) Want {
	b := m.blob(i)
	return Want{Digest: m.digests[i], Size: int64(len(b)), From: "test", Fetch: func(ctx context.Context, off, n int64) (io.ReadCloser, error) {
		fetches.Add(1)
		return (&source{b: b}).fetch(ctx, off, n)
	}}
}

// usage is how many bytes of its disk a cache takes, with what is unlinked but open.
func usage(t *testing.T, dir string) int64 {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Blocks-st.Bfree) * st.Bsize
}

// Thousands of blobs go through a cache, whoever reads, breaks off or leaves: at no
// moment has the disk more than the bound and what is open, and in the end no more than
// the bound.
func TestTheBoundHoldsThroughChurn(t *testing.T) {
	const (
		bound   = 16 << 20
		readers = 8
		blobs   = 1500
		gets    = 3000
		blocks  = 16
	)
	m := newMany(blobs, blocks)
	dir := disk(t, "256m")
	s := open(t, dir, Options{MaxBytes: bound, Grace: time.Millisecond})
	apart := usage(t, dir) // the tag, the bound and the sentinel, which don't count
	var fetches, brought, got atomic.Int64
	read := func(rng *rand.Rand) error {
		i := int(float64(blobs) * rng.Float64() * rng.Float64()) // some more often than others
		w := m.want(i, &fetches)
		ctx := t.Context()
		switch rng.IntN(10) {
		case 0:
			w = flaky(m.blob(i), rng.IntN(2))
		case 1:
			limited, cancel := context.WithTimeout(ctx, time.Duration(rng.IntN(2000))*time.Microsecond)
			defer cancel()
			ctx = limited
		}
		f, err := s.Get(ctx, w)
		if err != nil {
			return nil // flaky, or left
		}
		defer f.Close()
		got.Add(1)
		brought.Add(f.Size())
		return same(f, m.blob(i))
	}
	var all sync.WaitGroup
	done := make(chan struct{})
	for r := range readers {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(r)))
			for range gets / readers {
				if err := read(rng); err != nil {
					t.Error(err)
				}
			}
		})
	}
	go func() { all.Wait(); close(done) }()
	var most int64
	for through := false; !through; {
		select {
		case <-done:
			through = true
		case <-time.After(time.Millisecond):
		}
		most = max(most, usage(t, dir))
	}
	if allowed := int64(bound*105/100 + readers*blocks*4096); most > allowed {
		t.Errorf("%d bytes were on the disk, %d are allowed", most, allowed)
	}
	eventually(t, "nothing is under way", func() bool { return len(s.Transfers()) == 0 && s.Stats().Open == 0 })
	s.scan()
	st, now := s.Stats(), usage(t, dir)-apart
	if now > bound || st.Bytes+st.Partial > now || st.Bytes < bound/2 || s.used() != st.Bytes+st.Partial+st.Pointers {
		t.Errorf("in the end %d bytes are on the disk, and %d in use: %+v", now, s.used(), st)
	}
	if st.Evictions == 0 || got.Load() < gets/2 {
		t.Errorf("%d were read: %+v", got.Load(), st)
	}
	t.Logf("%d read, %d MB, by %d fetches; %d evictions; at most %.1f %% of the bound", got.Load(), brought.Load()>>20, fetches.Load(), st.Evictions, 100*float64(most)/bound)
}

// Two processes fill one directory, each as much as the other: what both keep is within
// the bound, though neither is told what the other does.
func TestTheBoundHoldsForTwoProcesses(t *testing.T) {
	const bound = 8 << 20
	dir := disk(t, "64m")
	m := newMany(1600, 8)
	synctest.Test(t, func(t *testing.T) {
		var most int64
		var fetches atomic.Int64
		stores := []*Store{open(t, dir, Options{MaxBytes: bound}), open(t, dir, Options{MaxBytes: bound})}
		apart := usage(t, dir) // the tag, the bound and the sentinels, which don't count
		for i := range m.digests {
			f, err := stores[i%2].Get(t.Context(), m.want(i, &fetches))
			if err != nil {
				t.Fatal(err)
			}
			_ = f.Close()
			time.Sleep(100 * time.Millisecond) // 180 kB a second: a bound in less than a minute
			most = max(most, usage(t, dir))
		}
		if most > bound*105/100 {
			t.Errorf("%d bytes were on the disk, and the bound is %d", most, bound)
		}
		time.Sleep(time.Minute)
		if n := usage(t, dir) - apart; n > bound || n < bound/2 {
			t.Errorf("%d bytes are there in the end", n)
		}
		t.Logf("at most %.1f %% of the bound", 100*float64(most)/bound)
	})
}

// Whoever wants a blob, in whichever process: it is fetched once.
func TestTwoProcessesThatWantTheSameFetchEachOnce(t *testing.T) {
	dir := t.TempDir()
	m := newMany(150, 8)
	stores := []*Store{open(t, dir, Options{}), open(t, dir, Options{})}
	fetches := make([]atomic.Int64, len(m.digests))
	var all sync.WaitGroup
	for r := range 8 {
		all.Go(func() {
			order := rand.New(rand.NewPCG(2, uint64(r/4))).Perm(len(m.digests)) // four have the same
			for _, i := range order {
				f, err := stores[r%2].Get(t.Context(), m.want(i, &fetches[i]))
				if err != nil {
					t.Error(err)
					return
				}
				if err := same(f, m.blob(i)); err != nil {
					t.Error(err)
				}
				_ = f.Close()
			}
		})
	}
	all.Wait()
	for i := range fetches {
		if n := fetches[i].Load(); n != 1 {
			t.Errorf("%s: %d fetches", m.digests[i], n)
		}
	}
}

// Two processes do all that a store does in one directory, and are killed.
func TestTwoBusyProcessesDisturbNobody(t *testing.T) {
	dir := t.TempDir()
	var ends []func()
	for i := range 2 {
		cmd, says := process(t, dir, fmt.Sprintf("busy:%d", 1000+i))
		if l := says(); l != "busy" {
			t.Fatalf("a child says %q", l)
		}
		ends = append(ends, func() {
			_ = cmd.Process.Signal(syscall.SIGKILL)
			killed(t, "of two", cmd, says)
		})
	}
	time.Sleep(2 * time.Second)
	for _, end := range ends {
		end()
	}
	undamaged(t, "of two", dir)
	survived(t, "of two", dir)
}
