package cache

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// Without options what nobody needs goes, and nothing else does. A dry run says so.
func TestPruneRemovesWhatNobodyNeeds(t *testing.T) {
	s, blob, other := cluttered(t)
	c, let, b := downloading(t, s)
	beside := s.partial(digest.FromBytes(b)) + ".beside"
	replace(t, beside, []byte("of the same download"))
	before := tree(t, s.dir)
	dir := at(t, s.dir)
	dry, err := dir.Prune(t.Context(), PruneOptions{DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	if after := tree(t, s.dir); !slices.Equal(before, after) {
		t.Errorf("a dry run changed\n%q to\n%q", before, after)
	}
	got, err := dir.Prune(t.Context(), PruneOptions{})
	if err != nil || got != dry {
		t.Errorf("removed %+v, said %+v: %v", got, dry, err)
	}
	if got.Blobs != (Held{}) || got.Left != (Held{2, 2 * 4096}) || got.Temporary != (Held{1, 4096}) || got.Quarantined != (Held{1, 4096}) || got.Pointers.Files != 1 {
		t.Errorf("removed %+v", got)
	}
	for _, d := range []digest.Digest{blob, other} {
		if _, err := os.Stat(s.blob(d)); err != nil {
			t.Error(err)
		}
	}
	for _, path := range []string{"partial/tmp-now", "partial/foreign", "blobs/foreign", "foreign", "staging/1-1/tree/file", "partial/" + filepath.Base(beside)} {
		if _, err := os.Stat(filepath.Join(s.dir, version, path)); err != nil {
			t.Error(err)
		}
	}
	for key, want := range map[string]bool{"leads": true, "led": false, "led lately": true} {
		if _, ok := s.Recall(key); ok != want {
			t.Errorf("the pointer that %s: %t", key, ok)
		}
	}
	close(let) // what was under way goes on
	o := <-c
	if o.err != nil {
		t.Fatal(o.err)
	}
	defer o.f.Close()
	holds(t, o.f, b)
	settled(t, s)
	if _, err := os.Stat(s.blob(o.f.Digest())); err != nil {
		t.Error(err)
	}
}

// Blobs go by when they were used last: down to a size, or those that weren't for a time.
func TestPruneRemovesWhatWasntUsedForLongest(t *testing.T) {
	for name, c := range map[string]struct {
		o    PruneOptions
		kept string
	}{
		"nothing asked for": {PruneOptions{}, "abcde"},
		"to what there is":  {PruneOptions{To: 5 * 4096}, "abcde"},
		"to a size":         {PruneOptions{To: 3*4096 - 1}, "ab"},
		"to nearly nothing": {PruneOptions{To: 1}, ""},
		"by age":            {PruneOptions{OlderThan: 150 * time.Minute}, "ab"},
		"by age, of none":   {PruneOptions{OlderThan: 24 * time.Hour}, "abcde"},
		"by both, the size": {PruneOptions{OlderThan: 270 * time.Minute, To: 3 * 4096}, "abc"},
		"by both, the age":  {PruneOptions{OlderThan: 90 * time.Minute, To: 3 * 4096}, "a"},
		"a dry run":         {PruneOptions{To: 1, DryRun: true}, "abcde"},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir(), Options{})
			var ds []digest.Digest
			for i := range 5 { // the age is one to five hours
				ds = append(ds, fill(t, s, content(byte(i), 1000)))
				aged(t, s.layout, ds[i], time.Duration(i+1)*time.Hour)
			}
			var last Removed
			c.o.Progress = func(r Removed) { last = r }
			got, err := at(t, s.dir).Prune(t.Context(), c.o)
			if err != nil || kept(s, ds) != c.kept || got != last {
				t.Errorf("kept %q, want %q; %+v, told %+v: %v", kept(s, ds), c.kept, got, last, err)
			}
			if want := 5 - len(c.kept); !c.o.DryRun && got.Blobs != (Held{want, int64(want) * 4096}) || c.o.DryRun && got.Blobs.Files != 5 {
				t.Errorf("removed %+v", got)
			}
		})
	}
}

// What a pointer leads to may go in the same run, and a dry run knows that as well.
func TestPruneRemovesPointersToWhatItRemoves(t *testing.T) {
	s, _, _ := cluttered(t)
	for _, dry := range []bool{true, false} {
		got, err := at(t, s.dir).Prune(t.Context(), PruneOptions{To: 1, DryRun: dry})
		if err != nil || got.Blobs.Files != 2 || got.Pointers.Files != 2 {
			t.Errorf("dry %t: %+v, %v", dry, got, err)
		}
	}
}

// An index stands for its blob: what a pointer leads to is known as long as that is kept.
func TestPruneKeepsPointersToWhatHasAnIndex(t *testing.T) {
	s, blob, _ := cluttered(t)
	putIndex(t, s, blob, content(5, 100))
	got, err := at(t, s.dir).Prune(t.Context(), PruneOptions{To: 1})
	if err != nil || got.Blobs.Files != 2 || got.Pointers.Files != 1 {
		t.Errorf("removed %+v, %v", got, err)
	}
	if _, ok := s.Recall("leads"); !ok {
		t.Error("the pointer to a blob that has an index is gone")
	}
}

// All goes that can be fetched again, while what is open is read on, what is under way goes
// on, and what is staged or unknown stays.
func TestClearLeavesReadersDownloadsAndWhatIsStagedAlone(t *testing.T) {
	s, blob, _ := cluttered(t)
	reader, err := s.Open(blob, 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	c, let, b := downloading(t, s)
	got, err := at(t, s.dir).Clear(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.Blobs != (Held{2, 2 * 4096}) || got.Left != (Held{2, 2 * 4096}) || got.Quarantined != (Held{1, 4096}) || got.Pointers.Files != 3 || got.Total().Files != 9 {
		t.Errorf("removed %+v", got)
	}
	holds(t, reader, content(1, 1000))
	close(let)
	o := <-c
	if o.err != nil {
		t.Fatal(o.err)
	}
	defer o.f.Close()
	holds(t, o.f, b)
	src := &source{b: content(1, 1000)}
	holds(t, get(t, s, src.want()), src.b)
	if src.fetches.Load() != 1 {
		t.Errorf("%d fetches of what was cleared", src.fetches.Load())
	}
	var left []string
	for _, f := range files(t, s.dir) {
		rel, err := filepath.Rel(filepath.Join(s.dir, version), f)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Dir(rel) != "alive" {
			left = append(left, rel)
		}
	}
	blobPath := func(b []byte) string {
		d := digest.FromBytes(b)
		return "blobs/sha256/" + d.Encoded()[:2] + "/" + d.Encoded()
	}
	want := []string{"../" + tagName, "foreign", "blobs/foreign", "partial/foreign", "partial/tmp-now", "staging/1-1/tree/file", blobPath(b), blobPath(src.b)}
	slices.Sort(left)
	slices.Sort(want)
	if !slices.Equal(left, want) {
		t.Errorf("left are\n%q, want\n%q", left, want)
	}
}

// What another process downloads stays while that lives, and goes when it was killed.
func TestClearTellsADownloadFromWhatIsLeftOfOne(t *testing.T) {
	dir := t.TempDir()
	cmd, says := process(t, dir, "victim")
	if l := says(); l != "half" {
		t.Fatalf("the other process says %q", l)
	}
	c := at(t, dir)
	if got, err := c.Clear(t.Context(), nil); err != nil || got.Total().Files != 0 || len(files(t, c.partials())) != 1 {
		t.Errorf("alive: removed %+v, %v", got, err)
	}
	kill(t, cmd)
	if got, err := c.Clear(t.Context(), nil); err != nil || got.Left != (Held{1, int64(len(childContent) / 2)}) || len(files(t, c.partials())) != 0 {
		t.Errorf("killed: removed %+v, %v", got, err)
	}
	if users, unclean := c.users(); len(users) != 0 || unclean != 0 {
		t.Errorf("nothing is in doubt of nothing: %d, %d", len(users), unclean)
	}
}
