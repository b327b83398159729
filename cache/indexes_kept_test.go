package cache

import (
	"os"
	"testing"

	"github.com/opencontainers/go-digest"
)

// Prune leaves the indexes, whatever it is asked for; clear removes them; a survey counts them.
func TestWhatPeopleDoWithIndexes(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	of := fill(t, s, content(1, 5000))
	putIndex(t, s, of, content(2, 5000))
	putIndex(t, s, digest.FromString("a layer"), content(3, 100))
	dir := at(t, s.dir)
	want := Held{Files: 2, Bytes: 3 * 4096}
	if sv, err := dir.Survey(t.Context()); err != nil || sv.Indexes != want {
		t.Errorf("survey: %+v, %v", sv.Indexes, err)
	}
	if r, err := dir.Prune(t.Context(), PruneOptions{To: 1, OlderThan: 1}); err != nil || r.Indexes != (Held{}) || r.Blobs.Files != 1 {
		t.Errorf("prune: %+v, %v", r, err)
	}
	indexHolds(t, s, of, content(2, 5000))
	r, err := dir.Clear(t.Context(), nil)
	if err != nil || r.Indexes != want || r.Total() != want {
		t.Errorf("clear: %+v, %v", r, err)
	}
	noIndex(t, s, of)
	s.scan()
	if st := s.Stats(); st.Indexes != 0 || st.IndexBytes != 0 {
		t.Errorf("stats: %+v", st)
	}
}

// Verify finds a damaged index, says so, and removes it.
func TestVerifyFindsADamagedIndex(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	sound, bad := digest.FromString("a layer"), digest.FromString("another")
	putIndex(t, s, sound, content(2, 5000))
	putIndex(t, s, bad, content(3, 5000))
	b, err := os.ReadFile(s.indexPath(bad))
	if err != nil {
		t.Fatal(err)
	}
	b[7] ^= 1
	if err := os.WriteFile(s.indexPath(bad), b, 0); err != nil {
		t.Fatal(err)
	}
	var done, total int64
	var told []Damage
	v, err := at(t, s.dir).Verify(t.Context(), VerifyOptions{
		Progress: func(d, t int64) { done, total = d, t },
		Damaged:  func(d Damage) { told = append(told, d) },
	})
	if err != nil || v.Indexes != (Held{Files: 1, Bytes: 5032}) || v.Sound != (Held{}) || done != total || total != 2*5032 {
		t.Errorf("found %+v, %v; %d of %d bytes", v, err, done, total)
	}
	if len(v.Damaged) != 1 || len(told) != 1 || told[0].Digest != bad || !told[0].Index || told[0].Aside != "" || told[0].Why == "" {
		t.Errorf("damaged %+v, told %+v", v.Damaged, told)
	}
	indexHolds(t, s, sound, content(2, 5000))
	noIndex(t, s, bad)
	if left := files(t, s.quarantine()); len(left) > 0 {
		t.Errorf("set aside: %q", left)
	}
}
