package upload

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ocifs/ocifs/registry/registrytest"
)

// die ends a mount as a kill would: its lock is gone, and its files aren't.
func (b *bench) die() (dir string) {
	b.t.Helper()
	b.ok(b.area.lock.Close())
	return b.area.dir
}

// What a mount left that was killed is told from what a mount has that lives, and what
// wasn't pushed of it from what was. It goes only for who says so.
func TestWhatWasntPushedIsNamedAndGoesOnlyByName(t *testing.T) {
	b := newBench(t)
	pushed, refused := newImage("pushed"), newImage("refused")
	b.pieces("v1", pushed)
	b.ok(b.write("v1/index.json", indexOf(pushed.descriptor("v1"))))
	clean := b.die() // all of it was pushed

	b.open(Options{})
	denied := []*registrytest.Rule{
		b.s.On("POST *", registrytest.Refuse(http.StatusForbidden, "DENIED")),
		b.s.On("PUT *", registrytest.Refuse(http.StatusForbidden, "DENIED")),
	}
	_ = b.write("blobs/model", refused.layer) // refused
	for _, d := range denied {
		d.End()
	}
	dirty := b.die()

	b.open(Options{})
	b.ok(b.write("tmp", []byte("being written")))
	alive := b.area.dir
	b.ok(os.MkdirAll(filepath.Join(b.dir, "foreign"), 0o700))
	b.ok(os.MkdirAll(filepath.Join(clean, treeName), 0o700)) // the mount that just began took it away
	b.ok(os.WriteFile(filepath.Join(clean, lockName), nil, 0o600))
	b.ok(os.WriteFile(filepath.Join(clean, journalName), nil, 0o600))

	sorted := func(stages []Stage) (dirs []string) {
		for _, s := range stages {
			dirs = append(dirs, s.Dir)
		}
		slices.Sort(dirs)
		return dirs
	}
	is := func(what string, got []Stage, want ...string) {
		t.Helper()
		slices.Sort(want)
		if !slices.Equal(sorted(got), want) {
			t.Errorf("%s: %q, want %q", what, sorted(got), want)
		}
	}
	found, err := Survey(b.dir)
	b.ok(err)
	is("found", found, clean, dirty, alive)
	for _, s := range found {
		if s.Alive != (s.Dir == alive) || (len(s.Left) > 0) != (s.Dir == dirty) || (s.Files > 0) != (s.Dir != clean) {
			t.Errorf("%+v", s)
		}
		if s.Dir == dirty && (s.Left[0].Target != "model" || s.Left[0].State != Left || s.Bytes < int64(len(refused.layer))) {
			t.Errorf("%+v", s)
		}
	}

	gone, kept, err := Clean(b.dir, true, true)
	b.ok(err)
	is("a dry run would remove", gone, clean, dirty)
	is("and keep", kept, alive)
	gone, kept, err = Clean(b.dir, false, false)
	b.ok(err)
	is("removed", gone, clean)
	is("kept", kept, dirty, alive)
	b.ok(os.WriteFile(filepath.Join(dirty, treeName, "x"), nil, 0o600)) // it is there
	gone, kept, err = Clean(b.dir, true, false)
	b.ok(err)
	is("removed", gone, dirty)
	is("kept", kept, alive)
	if _, err := os.Stat(filepath.Join(b.dir, "foreign")); err != nil {
		t.Error(err)
	}
	b.ok(b.write("blobs/more", []byte("the mount goes on")))
}

// What can't be told to be pushed isn't.
func TestAJournalThatCantBeReadIsUnpushedWork(t *testing.T) {
	b := newBench(t)
	b.ok(b.write("tmp", []byte("x")))
	dir := b.die()
	b.ok(os.Remove(filepath.Join(dir, journalName)))
	b.ok(os.Mkdir(filepath.Join(dir, journalName), 0o700)) // opens, and reads no line
	_, kept, err := Clean(b.dir, false, false)
	b.ok(err)
	if len(kept) != 1 || len(kept[0].Left) != 1 || kept[0].Left[0].Error == "" {
		t.Errorf("kept %+v", kept)
	}
	b.open(Options{}) // which looks as well
	if _, err := os.Stat(filepath.Join(dir, treeName)); err != nil {
		t.Error(err)
	}
}

// A directory that isn't there has nothing, and isn't made.
func TestNothingIsStagedWhereNothingIs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "absent")
	if found, err := Survey(dir); err != nil || len(found) != 0 {
		t.Errorf("%+v, %v", found, err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("it was made")
	}
}

// Two mounts may begin in one moment, with one process ID.
func TestTwoMountsOfOneMomentHaveTwoDirectories(t *testing.T) {
	b := newBench(t)
	now := time.Now()
	b.area.now = func() time.Time { return now }
	one, err := b.area.newDir()
	b.ok(err)
	two, err := b.area.newDir()
	b.ok(err)
	if one == two || filepath.Dir(one) != filepath.Dir(two) {
		t.Errorf("%s and %s", one, two)
	}
}
