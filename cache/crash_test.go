package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// crashBound is less than half of what crashBlobs are. The last of them is larger.
const crashBound = 400 << 10

var crashBlobs = sync.OnceValue(func() (bs [][]byte) {
	for i := range 24 {
		bs = append(bs, content(byte(100+i), 1+i*i*113))
	}
	return append(bs, content(200, crashBound+1))
})

// mortal does all that a store does, and dies at a step, when it comes to it for the nth
// time: at is "step/n".
func mortal(dir, at string) error { return mortalIn(dir, at, anything) }

// mortalIn is mortal for what chosen gives.
func mortalIn(dir, at string, chosen func(*rand.Rand) int) error {
	name, nth, _ := strings.Cut(at, "/")
	n, err := strconv.ParseInt(nth, 10, 64)
	if err != nil {
		return err
	}
	var been atomic.Int64
	step = func(s string) {
		if s == name && been.Add(1) == n {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	return busyWith(dir, nth, chosen)
}

// The things that a store does, for busyWith. What is beyond them is a Get.
const (
	toPut = iota
	toRemember
	toAdopt
	toMake
	toIndex
	allToDo = 12
)

func anything(rng *rand.Rand) int { return rng.IntN(allToDo) }

// busy does all that a store does, in an order that seed gives, and checks what it reads.
func busy(dir, seed string) error { return busyWith(dir, seed, anything) }

// busyWith is busy for what chosen gives.
func busyWith(dir, seed string, chosen func(*rand.Rand) int) error {
	n, err := strconv.ParseUint(seed, 10, 64)
	if err != nil {
		return err
	}
	s, err := Open(dir, Options{MaxBytes: crashBound})
	if err != nil {
		return err
	}
	defer s.Close()
	fmt.Println("busy")
	rng := rand.New(rand.NewPCG(n, n))
	var held []*File
	for range 20_000 {
		if len(held) > rng.IntN(4) {
			_ = held[0].Close()
			held = held[1:]
		}
		b := crashBlobs()[rng.IntN(len(crashBlobs()))]
		switch d := digest.FromBytes(b); chosen(rng) {
		case toPut:
			err = put(s, d, b)
		case toRemember:
			err = s.Remember(string(d), Pointer{Digest: d})
		case toAdopt:
			err = adopted(s, d, b)
		case toMake:
			var f *File
			if f, err = s.Make(context.Background(), flakyMaking(s, b, rng.IntN(8))); err == nil {
				held = append(held, f)
				err = same(f, b)
			} else if errors.Is(err, errFlaky) {
				err = nil
			}
		case toIndex:
			err = indexed(s, rng.IntN(40))
		default:
			var f *File
			f, err = s.Get(context.Background(), flaky(b, rng.IntN(8)))
			if err == nil {
				held = append(held, f)
				err = same(f, b)
			} else if errors.Is(err, errFlaky) || errors.Is(err, ErrMismatch) {
				err = nil
			}
		}
		if err != nil {
			return err
		}
	}
	return errors.New("it lived to the end")
}

func adopted(s *Store, d digest.Digest, b []byte) error {
	if int64(len(b)) > s.limit() {
		return nil
	}
	if err := os.MkdirAll(s.Staging(), 0o700); err != nil {
		return err
	}
	path := filepath.Join(s.Staging(), strconv.Itoa(os.Getpid()))
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return err
	}
	return s.Adopt(d, int64(len(b)), path)
}

var errFlaky = errors.New("flaky")

// flaky is an origin that breaks off where how is 0, and after wrong bytes where it is 1.
func flaky(b []byte, how int) Want {
	src := &source{b: b}
	w := src.want()
	if how > 1 {
		return w
	}
	w.Fetch = func(_ context.Context, off, _ int64) (io.ReadCloser, error) {
		part := bytes.Clone(b[off : off+(int64(len(b))-off)/2])
		if how == 1 && len(part) > 0 {
			part[0]++
		}
		return io.NopCloser(io.MultiReader(bytes.NewReader(part), failing{errFlaky})), nil
	}
	return w
}

func same(f *File, b []byte) error {
	got, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
	if err == nil && !bytes.Equal(got, b) {
		err = fmt.Errorf("%s was given with other bytes", f.Digest())
	}
	return err
}

// killed waits for a child's end, which must be a SIGKILL's.
func killed(t *testing.T, what string, cmd *exec.Cmd, says func() string) {
	t.Helper()
	last := ""
	for l := says(); l != ""; l = says() {
		last = l
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("%s: the child said %q and ended with %v", what, last, err)
	}
}

// undamaged checks that what has a blob's name is that blob, and says which there are.
func undamaged(t *testing.T, what, dir string) map[digest.Digest]bool {
	t.Helper()
	whole := map[digest.Digest]bool{}
	for _, path := range files(t, layout{dir}.blobs()) {
		b, err := os.ReadFile(path)
		if err != nil || digest.FromBytes(b).Encoded() != filepath.Base(path) {
			t.Fatalf("%s: a blob is damaged: %s (%v)", what, path, err)
		}
		whole[digest.FromBytes(b)] = true
	}
	return whole
}

// survived checks all that a process left that was killed, and what a new store makes of
// it.
func survived(t *testing.T, what, dir string) {
	t.Helper()
	whole := undamaged(t, what, dir)
	s := open(t, dir, Options{MaxBytes: crashBound})
	right(t, what, s)
	for _, b := range crashBlobs() {
		src := &source{b: b}
		w := src.want()
		f, err := s.Open(w.Digest, w.Size)
		if err == nil {
			err = same(f, b)
			_ = f.Close()
		}
		if gone := errors.Is(err, os.ErrNotExist); err != nil && (!gone || whole[w.Digest] && s.Stats().Evictions == 0) {
			t.Fatalf("%s: what was cached: %v", what, err)
		}
		if d, ok := madeBefore(s, b); ok && d != w.Digest {
			t.Fatalf("%s: an index says that %s was made, and not %s", what, d, w.Digest)
		}
		if p, ok := s.Recall(string(w.Digest)); ok && p.Digest != w.Digest {
			t.Fatalf("%s: a pointer points at %s", what, p.Digest)
		}
	}
	eventually(t, what+": nothing is left of a making once the directory was swept", func() bool {
		return !slices.ContainsFunc(files(t, s.partials()), func(path string) bool { return strings.Contains(path, madeSuffix) })
	})
	for i := range 40 {
		if x, err := s.OpenIndex(indexOf(i)); err == nil {
			_ = x.Close()
			indexHolds(t, s, indexOf(i), crashIndex(i))
		} else if !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("%s: an index: %v", what, err)
		}
	}
	for _, b := range crashBlobs() {
		f := made(t, s, flakyMaking(s, b, 2))
		if err := same(f, b); err != nil {
			t.Fatalf("%s: what is made: %v", what, err)
		}
		_ = f.Close()
		fill(t, s, b)
	}
	right(t, what, s)
	for _, path := range files(t, s.partials()) {
		if !strings.HasPrefix(filepath.Base(path), "tmp-") {
			t.Errorf("%s: left of a download that was gone on with: %s", what, path)
		}
		long := time.Now().Add(-leftFor - time.Minute)
		if err := os.Chtimes(path, long, long); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{MaxBytes: crashBound})
	eventually(t, what+": nothing temporary is left after a day", func() bool { return len(files(t, s.partials())) == 0 })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// right waits until a store counts what is on the disk, and no more than its bound.
func right(t *testing.T, what string, s *Store) {
	t.Helper()
	var st Stats
	var bytes, left int64
	var n int
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		st, bytes, left, n = s.Stats(), 0, 0, 0
		for _, path := range files(t, s.blobs()) {
			if fi, err := os.Stat(path); err == nil {
				bytes += allocated(fi)
				n++
			}
		}
		for _, size := range s.readPartials() {
			left += size
		}
		if st.Bytes == bytes && st.Entries == n && st.Partial == left && st.Indexes == len(files(t, s.indexes())) && bytes+left+st.Pointers+st.IndexBytes <= crashBound {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %d blobs of %d bytes are on the disk, and %d bytes left over; counted are %+v", what, n, bytes, left, st)
		}
	}
}

func TestWhoDiesAtAnyStepLeavesWhatIsRight(t *testing.T) {
	for _, at := range []string{
		"partial made", "partial made beside", "bytes written", "verified", "synced", "made private", "renamed", "kept", "not kept", "unlocked", "begun anew",
		"evicted", "partial evicted", "scanned", "temporary made", "temporary written", "temporary renamed",
		"taken over", "shown",
	} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for _, nth := range []int{1, 3} {
				if at == "scanned" {
					nth = 1 // the next is in half a minute
				}
				what := fmt.Sprintf("%s/%d", at, nth)
				cmd, says := process(t, dir, "mortal:"+what)
				killed(t, what, cmd, says)
				survived(t, what, dir)
			}
		})
	}
}

// OCIFS_TEST_KILLS is how many are killed at random moments; 100 where it isn't set. Each
// but the first has what the last one left.
func TestWhoDiesAtAnyMomentLeavesWhatIsRight(t *testing.T) {
	kills := 100
	if n, err := strconv.Atoi(os.Getenv("OCIFS_TEST_KILLS")); err == nil {
		kills = n
	}
	for lane := range 2 {
		t.Run(fmt.Sprint(lane), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for i := lane; i < kills; i += 2 {
				what := fmt.Sprintf("kill %d", i)
				cmd, says := process(t, dir, fmt.Sprintf("busy:%d", i))
				if l := says(); l != "busy" {
					t.Fatalf("%s: the child says %q", what, l)
				}
				time.Sleep(time.Duration(rand.IntN(30_000)) * time.Microsecond)
				_ = cmd.Process.Kill()
				killed(t, what, cmd, says)
				undamaged(t, what, dir)
				if i%40 == lane {
					survived(t, what, dir)
				}
			}
			survived(t, "in the end", dir)
		})
	}
}
