package cache

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// flip damages a cached blob, whose size and times stay as they were.
func flip(t *testing.T, l layout, d digest.Digest) {
	t.Helper()
	path := l.blob(d)
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	replace(t, path, b)
	if err := os.Chtimes(path, st.ModTime(), st.ModTime()); err != nil {
		t.Fatal(err)
	}
}

// aged makes a blob one that was last used long ago.
func aged(t *testing.T, l layout, d digest.Digest, age time.Duration) {
	t.Helper()
	at := time.Now().Add(-age)
	if err := os.Chtimes(l.blob(d), at, at); err != nil {
		t.Fatal(err)
	}
}

// After a process was killed, what was written since it began is hashed again, and what
// fails is fetched again; what is older isn't looked at.
func TestWhatAKilledProcessWroteIsHashedAgain(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	old := fill(t, s, content(1, 1000))
	aged(t, s.layout, old, time.Hour)
	flip(t, s.layout, old)
	large := content(2, recheckFirst+1)
	recent := fill(t, s, large)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	kill(t, holder(t, dir))
	flip(t, s.layout, recent)

	s = open(t, dir, Options{})
	eventually(t, "what is damaged is set aside", func() bool { return s.Stats().Quarantined == 1 })
	eventually(t, "the end", func() bool { _, n := s.users(); return n == 0 })
	if _, err := s.Open(digest.FromBytes(childContent), -1); err != nil {
		t.Errorf("what is sound: %v", err)
	}
	if _, err := os.Stat(s.blob(old)); err != nil {
		t.Errorf("what is old: %v", err)
	}
	src := &source{b: large}
	holds(t, get(t, s, src.want()), large)
	if src.fetches.Load() != 1 {
		t.Errorf("%d fetches", src.fetches.Load())
	}
	if s.doubt.Load() != nil {
		t.Error("the doubt stays")
	}
}

// What is small and in doubt is hashed before it is served. What is large isn't, and
// neither is what was used since the cache was opened.
func TestWhatIsInDoubtAndSmallIsHashedBeforeItIsServed(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	ds := map[string]digest.Digest{}
	for name, size := range map[string]int{"small": recheckFirst, "large": recheckFirst + 1, "since": 1000, "before": 1001, "sound": 1002} {
		ds[name] = fill(t, s, content(byte(size%250), size))
		aged(t, s.layout, ds[name], 10*time.Minute)
		if name != "sound" {
			flip(t, s.layout, ds[name])
		}
	}
	aged(t, s.layout, ds["since"], 0)
	aged(t, s.layout, ds["before"], time.Hour)
	now := time.Now()
	s.doubt.Store(&suspicion{now.Add(-20 * time.Minute), now.Add(-time.Minute)})
	for name, d := range ds {
		f, err := s.Open(d, -1)
		if err == nil {
			_ = f.Close()
		}
		if want := name != "small"; (err == nil) != want || err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s.Stats().Quarantined != 1 {
		t.Errorf("%+v", s.Stats())
	}
}

// Who is interrupted leaves it to the next.
func TestAnInterruptedRecheckIsGoneOnWith(t *testing.T) {
	dir := t.TempDir()
	kill(t, holder(t, dir))
	l := layout{dir}
	flip(t, l, digest.FromBytes(childContent))
	aside := filepath.Join(l.quarantine(), digest.FromBytes(childContent).Encoded())

	s := &Store{layout: l, log: slog.New(slog.DiscardHandler), now: time.Now}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.ctx = ctx
	s.work.Add(1)
	s.recheck(s.suspect())
	if _, n := l.users(); n != 1 {
		t.Fatalf("%d are found to have ended uncleanly", n)
	}
	if _, err := os.Stat(aside); err == nil {
		t.Fatal("it wasn't interrupted")
	}
	open(t, dir, Options{})
	eventually(t, "the next one does it", func() bool { _, err := os.Stat(aside); return err == nil })
	eventually(t, "the end", func() bool { _, n := l.users(); return n == 0 })
}

// It is bounded: what is beyond is left, and told.
func TestWhatIsTooMuchToHashAgainIsTold(t *testing.T) {
	dir := t.TempDir()
	kill(t, holder(t, dir))
	l := layout{dir}
	huge := digest.FromString("huge")
	if err := os.MkdirAll(filepath.Dir(l.blob(huge)), 0o700); err != nil {
		t.Fatal(err)
	}
	replace(t, l.blob(huge), nil)
	if err := os.Truncate(l.blob(huge), recheckBytes+1); err != nil { // holes alone
		t.Fatal(err)
	}
	var log bytes.Buffer
	s := open(t, dir, Options{MaxBytes: 1 << 40, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	eventually(t, "the end", func() bool { _, n := l.users(); return n == 0 })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "ocifs cache verify") || s.Stats().Quarantined != 0 {
		t.Errorf("%+v, and the log says\n%s", s.Stats(), log.String())
	}
}
