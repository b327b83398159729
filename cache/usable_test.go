package cache

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// What can be a cache is told from what can't, and both are left as they are.
func TestUsableLeavesEverythingAsItIs(t *testing.T) {
	dir := t.TempDir()
	used := filepath.Join(dir, "used")
	s, err := Open(used, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	file, foreign := filepath.Join(dir, "file"), filepath.Join(dir, "foreign")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(foreign, "precious"), 0o700); err != nil {
		t.Fatal(err)
	}
	before := tree(t, dir)
	for path, want := range map[string]bool{
		used: true, filepath.Join(dir, "not/there/yet"): true,
		file: false, filepath.Join(file, "below"): false, foreign: false,
	} {
		free, err := Usable(path)
		if (err == nil) != want || want && free <= 0 {
			t.Errorf("%s: %d bytes are free, %v", path, free, err)
		}
	}
	if after := tree(t, dir); !slices.Equal(before, after) {
		t.Errorf("it changed\n%q to\n%q", before, after)
	}
}

// tree lists all that is below dir.
func tree(t *testing.T, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		paths = append(paths, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}
