package cache

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/fs/failingdisk"
)

// A blob that goes while the directory is read isn't counted, though the scan saw it.
func TestWhatGoesDuringAScanIsntCounted(t *testing.T) {
	g := gateAt(t, "scanned")
	s := open(t, t.TempDir(), Options{})
	fill(t, s, content(1, 1000))
	s.scan()
	g.shut.Store(true)
	scanned := make(chan struct{})
	go func() { defer close(scanned); s.scan() }()
	<-g.reached
	s.shrink(1 << 40)
	close(g.opened)
	<-scanned
	if sums := s.ledger.sums(); sums != sums.empty() {
		t.Errorf("something counts yet: %+v", sums)
	}
}

// A miss in the moment in which the blob comes doesn't drop the blob from the count.
func TestAMissDropsNothingThatCameInThatMoment(t *testing.T) {
	s := openScanned(t, t.TempDir(), Options{}) // a scan counts what is on the disk, and d isn't
	d := digest.FromString("x")
	mark := s.ledger.mark()
	s.ledger.note(d, 4096)
	s.ledger.vanished(d, mark)
	if kept := s.ledger.sums().kept; kept != 4096 {
		t.Errorf("%d bytes are counted", kept)
	}
	s.ledger.vanished(d, s.ledger.mark())
	if sums := s.ledger.sums(); sums != sums.empty() {
		t.Errorf("something counts yet: %+v", sums)
	}
}

// The private partial file of a download is counted as reserved, and not as left over as well.
func TestAPrivatePartialFileIsCountedOnce(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	p := &gatedOrigin{b: content(5, 4*heldBack), first: 2 * heldBack, let: make(chan struct{})}
	dl, _, err := s.join(t.Context(), p.want(), true)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "half of it has come", func() bool { return dl.in.Done() == p.first })
	s.scan()
	if sums := s.ledger.sums(); sums.left != 0 || sums.used() != int64(len(p.b)) {
		t.Errorf("%+v", sums)
	}
	close(p.let)
	<-dl.ended
	s.leave(dl)
	settled(t, s)
	countedAsOnDisk(t, s)
}

// Pointers that another process removed aren't counted any more once they are looked through,
// so that they aren't looked through for each new one.
func TestPointersThatAnotherRemovedArentCounted(t *testing.T) {
	const share = 32 * 4096
	s := openScanned(t, t.TempDir(), Options{MaxBytes: share * besidesShare})
	remember := func(n int) {
		t.Helper()
		for i := range n {
			if err := s.Remember(fmt.Sprint("r/x:", i), Pointer{Digest: digest.FromString("x"), Checked: time.Now()}); err != nil {
				t.Fatal(err)
			}
		}
	}
	remember(31)
	if err := os.RemoveAll(s.pointers()); err != nil {
		t.Fatal(err)
	}
	remember(3)
	countedAsOnDisk(t, s)
}

// A pointer that several remember at once is one file, and counted once.
func TestAPointerRememberedTwiceAtOnceIsCountedOnce(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	for i := range 100 {
		var together sync.WaitGroup
		for range 4 {
			together.Go(func() {
				if err := s.Remember(fmt.Sprint("r/x:", i), Pointer{Digest: digest.FromString("x")}); err != nil {
					t.Error(err)
				}
			})
		}
		together.Wait()
		if i%2 == 0 {
			for range 2 {
				together.Go(func() { s.Forget(fmt.Sprint("r/x:", i)) })
			}
		}
		together.Wait()
	}
	countedAsOnDisk(t, s)
}

// Pointers that are remembered and forgotten during a count are counted as they are afterwards.
func TestPointersThatChangeDuringACountAreCountedAsTheyAre(t *testing.T) {
	g := gateAt(t, "pointers listed")
	s := openScanned(t, t.TempDir(), Options{})
	var keys []string // of the directory that is listed first
	for i := 0; len(keys) < 3; i++ {
		if key := fmt.Sprint("r/x:", i); nameOfPointer(key)[0] == 0 {
			keys = append(keys, key)
		}
	}
	remember := func(key string) {
		t.Helper()
		if err := s.Remember(key, Pointer{Digest: digest.FromString("x")}); err != nil {
			t.Fatal(err)
		}
	}
	remember(keys[0])
	g.shut.Store(true)
	scanned := make(chan struct{})
	go func() { defer close(scanned); s.scan() }()
	<-g.reached
	g.shut.Store(false)
	remember(keys[1])
	remember(keys[2])
	s.Forget(keys[0])
	close(g.opened)
	<-scanned
	countedAsOnDisk(t, s)
}

// A pointer that is remembered again after a trim chose it stays.
func TestAPointerThatIsRememberedAgainIsntTrimmed(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	for _, name := range []string{"one", "two"} {
		seen, _ := os.Lstat(s.pointer("r/x:1"))
		if err := s.Remember("r/x:1", Pointer{Digest: digest.FromString(name)}); err != nil {
			t.Fatal(err)
		}
		if seen != nil {
			s.removePointer(nameOfPointer("r/x:1")[0], s.pointer("r/x:1"), seen)
		}
	}
	if p, ok := s.Recall("r/x:1"); !ok || p.Digest != digest.FromString("two") {
		t.Errorf("recalled %v, %v", p, ok)
	}
	countedAsOnDisk(t, s)
}

// A damaged blob that is set aside is counted once where it takes another's place, and not at all
// where it couldn't be kept.
func TestWhatIsSetAsideIsCountedAsItIs(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	damaged := func(b []byte) {
		t.Helper()
		d := fill(t, s, b)
		f, err := s.Open(d, -1)
		if err != nil {
			t.Fatal(err)
		}
		s.setAside(d, f.s.f, "a test says so")
		_ = f.Close()
		countedAsOnDisk(t, s)
	}
	damaged(content(1, 100_000))
	damaged(content(1, 100_000))
	if err := os.RemoveAll(s.quarantine()); err != nil {
		t.Fatal(err)
	}
	_ = os.WriteFile(s.quarantine(), nil, 0o600)
	damaged(content(2, 100_000))
	if n := s.Stats().Aside; n != 0 {
		t.Errorf("%d bytes are set aside", n)
	}
}

// A blob that can't be removed counts, and the next eviction tries again.
func TestWhatCantBeEvictedCounts(t *testing.T) {
	disk := failingdisk.Mount(t)
	s := open(t, filepath.Join(disk.Dir, "cache"), Options{})
	for i := range 3 {
		fill(t, s, content(byte(i), 100_000))
	}
	disk.FailMoves()
	s.shrink(1 << 40)
	countedAsOnDisk(t, s)
	if st := s.Stats(); st.Entries != 3 || st.Evictions != 0 {
		t.Errorf("%+v", st)
	}
	disk.Mend()
	s.shrink(1 << 40)
	countedAsOnDisk(t, s)
	if st := s.Stats(); st.Entries != 0 || st.Evictions != 3 {
		t.Errorf("%+v", st)
	}
}
