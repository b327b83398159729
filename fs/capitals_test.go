package fs

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// A component with capitals isn't there, and a person is told how it is written, once a minute. Nobody
// is asked, and names that programs look for, tags and files are not told of.
func TestNamesWithCapitalsAreTold(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	w := walk(t, s, t.TempDir(), Options{})
	w.looksUp("", "MyOrg", syscall.ENOENT, true)
	want := fmt.Sprintf(`"path":"%[1]s/MyOrg","op":"lookup","errno":"ENOENT","cause":"there is no \"MyOrg\": repositories have no capital letters","hint":"write it in lower case: %[1]s/myorg"`, w.host)
	if got := string(w.jsonl()); !strings.Contains(got, want) {
		t.Errorf("errors.jsonl has %s\nwant %s", got, want)
	}
	w.looksUp("", "MyOrg", syscall.ENOENT, false)
	w.looksUp("myorg", "MyApp.Web", syscall.ENOENT, true)
	for _, name := range []string{"HEAD", "Makefile", "README", "README.md", "Cargo.toml", "Thumbs.db", "Tags", "-Dash", "a..B", "Ä", ".Trash"} {
		w.looksUp("myorg", name, syscall.ENOENT, false)
	}
	w.looksUp("myorg/app/blobs/sha256", strings.Repeat("A", 64), syscall.ENOENT, false)
	s.Want()
	w.passed.Add(int64(capitalsEach))
	w.looksUp("", "MyOrg", syscall.ENOENT, true)
	for i := range capitalsAtOnce - 1 {
		w.looksUp("", fmt.Sprint("Org", i), syscall.ENOENT, true)
	}
	w.looksUp("", "OneMore", syscall.ENOENT, false)
}

// However names come, at most so many are remembered.
func TestToldNamesAreBounded(t *testing.T) {
	var c capitals
	now := time.Unix(1_700_000_000, 0)
	for i := range 10 * capitalsAtOnce {
		err := c.missing("a.io", fmt.Sprint("Org", i), now)
		if told := errors.Is(err, errCapitals); !errors.Is(err, node.ErrNotExist) || told != (i < capitalsAtOnce) {
			t.Fatalf("name %d: %v", i, err)
		}
	}
	if err := c.missing("a.io", "Org0", now.Add(capitalsEach)); !errors.Is(err, errCapitals) || len(c.told) != 1 {
		t.Errorf("a minute later: %v, and %d names are remembered", err, len(c.told))
	}
}
