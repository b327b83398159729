package guard

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/fs/internal/caller"
	"github.com/ocifs/ocifs/registry"
)

// newTestGuard gives a guard whose clock goes when it is told to.
func newTestGuard(t *testing.T, limit int64) (g *Guard, pass func(time.Duration)) {
	t.Helper()
	g, err := New(limit)
	if err != nil {
		t.Fatal(err)
	}
	now := g.started
	g.now = func() time.Time { return now }
	return g, func(d time.Duration) { now = now.Add(d) }
}

// Within any minute a job has no more than its limit, but for one blob of any size
// that comes first; that counts for as long as it is worth. Jobs are counted apart.
func TestAJobHasItsLimitAMinute(t *testing.T) {
	type step struct {
		after time.Duration
		job   int
		bytes int64
		ok    bool
	}
	for name, steps := range map[string][]step{
		"up to the limit":   {{0, 1, 60, true}, {0, 1, 40, true}, {0, 1, 1, false}},
		"what still fits":   {{0, 1, 60, true}, {0, 1, 50, false}, {0, 1, 40, true}},
		"another job":       {{0, 1, 100, true}, {0, 1, 1, false}, {0, 2, 100, true}, {0, 1, 1, false}, {0, 2, 1, false}},
		"strangers are one": {{0, caller.Strangers, 100, true}, {0, caller.Strangers, 1, false}},
		"the next minute":   {{0, 1, 100, true}, {59 * time.Second, 1, 1, false}, {2 * time.Second, 1, 100, true}},
		"a minute slides": {
			{0, 1, 50, true}, {30 * time.Second, 1, 50, true}, {29 * time.Second, 1, 50, false}, {2 * time.Second, 1, 50, true}, {0, 1, 1, false},
		},
		"one larger blob":   {{0, 1, 250, true}, {0, 1, 1, false}, {0, 2, 250, true}},
		"not as the second": {{0, 1, 1, true}, {0, 1, 250, false}},
		"it counts for as long as it is worth": {
			{0, 1, 250, true}, {61 * time.Second, 1, 1, false}, {88 * time.Second, 1, 1, false}, {3 * time.Second, 1, 100, true},
		},
		"sizes that no disk has": {{0, 1, 1 << 62, true}, {time.Hour, 1, 1 << 62, false}, {0, 1, 1, false}},
	} {
		g, pass := newTestGuard(t, 100)
		for i, s := range steps {
			pass(s.after)
			if err := g.spend(s.job, s.bytes); (err == nil) != s.ok || err != nil && !errors.Is(err, ErrOverdrawn) {
				t.Errorf("%s, step %d: %v", name, i, err)
			}
		}
	}
	if g, err := New(0); g != nil || err != nil {
		t.Errorf("without a limit there is %v, %v", g, err)
	}
}

// A guard forgets, so that its memory is bounded.
func TestAGuardIsBounded(t *testing.T) {
	g, pass := newTestGuard(t, 1<<40)
	for group := range 2 * maxJobs {
		_ = g.spend(group, 1)
	}
	if n := g.jobs.Len(); n != maxJobs {
		t.Errorf("it knows %d jobs, and is to know %d", n, maxJobs)
	}
	for range 10_000 {
		_ = g.spend(1, 1)
		pass(100 * time.Millisecond)
	}
	for range 10_000 {
		_ = g.spend(2, 1<<50)
		g.giveBack(2, 1<<50)
		pass(100 * time.Millisecond)
	}
	for _, group := range []int{1, 2} {
		j, _ := g.jobs.Get(group)
		if n := len(j.spent); n > window+2 {
			t.Errorf("job %d has %d entries", group, n)
		}
	}
}

// The first refusal of a minute is told with all that a person wants to know, and
// those after it with the next that is told.
func TestRefusalsAreToldOnceAMinute(t *testing.T) {
	g, pass := newTestGuard(t, 100e6)
	lines, before := 0, 0
	refused := func() *overdrawn {
		t.Helper()
		var o *overdrawn
		err := g.spend(7, 70e6)
		if !errors.As(err, &o) {
			t.Fatalf("got %v", err)
		}
		if ToldBefore(err) {
			before++
		} else {
			lines++
		}
		return o
	}
	for range 2 {
		_ = g.spend(7, 40e6)
		pass(10 * time.Second)
	}
	first := refused()
	first.who, first.of = "cat (process 8)", "the job of find (process 7)"
	const want = "cat (process 8) isn't let download 70 MB: the job of find (process 7) had 80 MB, and --max-download allows 100 MB a minute; there is room in 51s"
	if got := first.Error(); got != want {
		t.Errorf("it says\n%s, want\n%s", got, want)
	}
	for range 5 {
		if o := refused(); !o.told {
			t.Errorf("it is told again: %v", o)
		}
	}
	if lines != 1 || before != 5 {
		t.Errorf("%d are told, want 1; %d were told before", lines, before)
	}
	pass(60 * time.Second)
	_ = g.spend(7, 90e6)
	if o := refused(); o.told || !strings.Contains(o.Error(), "; 5 more reads were refused") {
		t.Errorf("after a minute it says %q", o.Error())
	}
}

// A refusal that reaches nobody isn't the one that is told.
func TestARefusalThatReachesNobodyIsNotTheOneThatIsTold(t *testing.T) {
	g, _ := newTestGuard(t, 100)
	_ = g.spend(7, 90)
	_ = g.spend(7, 20) // which is dropped
	err := g.spend(7, 20)
	if !errors.Is(err, ErrOverdrawn) || ToldBefore(err) {
		t.Errorf("the first refusal that is reported was told before: %v", err)
	}
	if again := g.spend(7, 20); !ToldBefore(again) {
		t.Errorf("it is told again: %v", again)
	}
}

// guarded reads under a limit.
type reader struct {
	store *cache.Store
	guard *Guard
}

func newReader(t *testing.T, limit int64) *reader {
	t.Helper()
	store, err := cache.Open(t.TempDir(), cache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	g, _ := newTestGuard(t, limit)
	return &reader{store, g}
}

func (r *reader) get(ctx context.Context, by caller.Caller, w cache.Want) (*cache.File, error) {
	c := r.guard.Charge(PayerOf(by), w.Size)
	w.Begin = c.Begin
	f, err := r.store.Get(ctx, w)
	c.Settle(ctx, err)
	return f, err
}

// by is a process; 0 is a stranger.
func by(pid int) caller.Caller { return caller.Caller{Program: true, Thread: uint32(pid)} }

func wanted(b []byte, open func() (io.ReadCloser, error)) cache.Want {
	return cache.Want{Digest: digest.FromBytes(b), Size: int64(len(b)), From: "test", Fetch: func(context.Context, int64, int64) (io.ReadCloser, error) { return open() }}
}

func served(b []byte) cache.Want {
	return wanted(b, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil })
}

// reads gets a blob, and checks whether it may.
func (r *reader) reads(t *testing.T, by caller.Caller, w cache.Want, want error) {
	t.Helper()
	f, err := r.get(t.Context(), by, w)
	if err == nil {
		f.Close()
	}
	if !errors.Is(err, want) {
		t.Errorf("reading %d bytes: %v, want %v", w.Size, err, want)
	}
}

// A blob counts once, for the job that made it be downloaded: not for those who wait
// for the same, nor for those who read it later.
func TestABlobCountsOnceForWhoBeganIt(t *testing.T) {
	r, self := newReader(t, 100), os.Getpid()
	let := make(chan struct{})
	b := bytes.Repeat([]byte("a"), 90)
	w := wanted(b, func() (io.ReadCloser, error) { <-let; return io.NopCloser(bytes.NewReader(b)), nil })
	var all sync.WaitGroup
	defer all.Wait()
	for i := range 20 {
		all.Go(func() {
			if i > 9 { // strangers join, and began nothing
				for len(r.store.Transfers()) == 0 && !t.Failed() {
					time.Sleep(time.Millisecond)
				}
			}
			f, err := r.get(t.Context(), by(self*(1-i/10)), w)
			if err != nil {
				t.Error(err)
				return
			}
			f.Close()
		})
	}
	for ts := r.store.Transfers(); len(ts) != 1 || ts[0].Waiters != 20; ts = r.store.Transfers() {
		time.Sleep(time.Millisecond)
		if t.Failed() {
			break
		}
	}
	close(let)
	all.Wait()
	more := bytes.Repeat([]byte("b"), 11)
	r.reads(t, by(self), served(more), ErrOverdrawn)
	r.reads(t, by(self), served(b), nil) // cached
	r.reads(t, by(self), served(more[:10]), nil)
	r.reads(t, caller.Caller{}, served(bytes.Repeat([]byte("c"), 100)), nil) // the mount's own
	r.reads(t, by(0), served(bytes.Repeat([]byte("d"), 100)), nil)
	r.reads(t, by(0), served(more), ErrOverdrawn)
}

// What couldn't be downloaded isn't counted, so that who tries again hears why. What
// came and was no good is.
func TestWhatFailsIsNotCounted(t *testing.T) {
	r, self := newReader(t, 100), by(os.Getpid())
	b := bytes.Repeat([]byte("a"), 90)
	down := wanted(b, func() (io.ReadCloser, error) { return nil, &registry.Error{Kind: registry.ErrUnreachable} })
	for range 3 {
		r.reads(t, self, down, registry.ErrUnreachable)
	}
	wrong := wanted(b, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(make([]byte, 90))), nil })
	r.reads(t, self, wrong, cache.ErrMismatch)
	r.reads(t, self, wrong, ErrOverdrawn)
}
