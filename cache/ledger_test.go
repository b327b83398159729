package cache

import (
	"errors"
	"io/fs"
	"os"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
)

// gate holds whoever comes to a step while it is shut.
type gate struct {
	shut    atomic.Bool
	reached chan struct{}
	opened  chan struct{}
}

// gateAt makes a gate that isn't shut yet. It is to be made before the store.
func gateAt(t *testing.T, at string) *gate {
	t.Helper()
	g := &gate{reached: make(chan struct{}, 1000), opened: make(chan struct{})}
	before := step
	step = func(name string) {
		if name == at && g.shut.Load() {
			g.reached <- struct{}{}
			<-g.opened
		}
	}
	t.Cleanup(func() { step = before })
	return g
}

// While an eviction unlinks a file, or the disk is asked, everything that readers do goes on.
func TestAnEvictionHoldsNoReaderUp(t *testing.T) {
	for _, at := range []string{"evicting", "statfs"} {
		t.Run(at, func(t *testing.T) {
			g := gateAt(t, at)
			s := open(t, t.TempDir(), Options{})
			one, two := content(1, 1000), content(2, 1000)
			d := fill(t, s, one)
			fill(t, s, two)
			s.scan()
			g.shut.Store(true)
			evicted := make(chan struct{})
			go func() { defer close(evicted); s.shrink(1) }()
			<-g.reached
			f, err := s.Open(digest.FromBytes(two), 1000)
			if err != nil {
				t.Fatal(err)
			}
			s.Transfers()
			s.ledger.sums()
			if err := f.Close(); err != nil {
				t.Error(err)
			}
			close(g.opened)
			<-evicted
			if k := kept(s, []digest.Digest{d, f.Digest()}); k != "b" {
				t.Errorf("kept %q", k)
			}
		})
	}
}

// Who opens a blob that is just being unlinked waits for that, and finds it missing: never a
// file that is open here and has no name.
func TestABlobThatIsGoingIsAMiss(t *testing.T) {
	g := gateAt(t, "evicting")
	s := open(t, t.TempDir(), Options{})
	d := fill(t, s, content(1, 1000))
	s.scan()
	g.shut.Store(true)
	evicted, opened := make(chan struct{}), make(chan error, 1)
	go func() { defer close(evicted); s.shrink(1) }()
	<-g.reached
	go func() {
		f, err := s.Open(d, 1000)
		if err == nil {
			_ = f.Close()
		}
		opened <- err
	}()
	eventually(t, "it waits", func() bool { return s.Stats().Open == 1 })
	close(g.opened)
	<-evicted
	if err := <-opened; !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opened: %v", err)
	}
	if sums := s.ledger.sums(); sums != (sums.empty()) {
		t.Errorf("something counts yet: %+v", sums)
	}
}

func (s sums) empty() sums { return sums{max: s.max} }

// A blob that is opened after an eviction began, and before its turn came, stays.
func TestABlobThatIsOpenedDuringAnEvictionStays(t *testing.T) {
	g := gateAt(t, "evicting")
	s := open(t, t.TempDir(), Options{})
	var ds []digest.Digest
	for i := range 3 {
		ds = append(ds, fill(t, s, content(byte(i), 1000)))
	}
	s.scan()
	g.shut.Store(true)
	evicted := make(chan struct{})
	go func() { defer close(evicted); s.shrink(1 << 40) }()
	<-g.reached
	f, err := s.Open(ds[1], 1000)
	if err != nil {
		t.Fatal(err)
	}
	close(g.opened)
	<-evicted
	if k := kept(s, ds); k != "b" {
		t.Errorf("kept %q", k)
	}
	holds(t, f, content(1, 1000))
	if st, err := os.Stat(s.blob(ds[1])); err != nil || st.Size() != 1000 {
		t.Error(err)
	}
	_ = f.Close()
}
