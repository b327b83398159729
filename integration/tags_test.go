package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// Programs that look for names of their own in tags/ cost nothing once tags are listed, and
// leave nothing in errors.jsonl; what a person asks for in vain is told where it was asked
// for. A tag that came after the list was told is there when the list's time is over.
func TestNamesThatNoListOfTagsHas(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	app := repo(t, s, testImage)
	image := must(app.Image(t.Context(), "v1", content.Small("x")))(t)
	m := testMount(t, mounting{flags: []string{"--list-ttl", "3s"}})
	tags := m.at(s, testImage, "tags")
	m.probe("ENOENT", "read", tags+"/v9/digest")
	if f := m.lastFailure("ENOENT"); !strings.HasSuffix(f.Path, "tags/v9") {
		t.Errorf("told is %+v", f)
	}
	m.probe("ENOENT", "stat", tags+"/HEAD")
	m.lists(tags, "v1")
	listed := time.Now()
	if err := app.Tag(t.Context(), image, "new"); err != nil {
		t.Fatal(err)
	}
	s.Forget()
	for _, name := range []string{"Makefile", "package.json", "new"} {
		m.probe("ENOENT", "stat", tags+"/"+name)
	}
	if took := time.Since(listed); took > 2*time.Second {
		t.Logf("the list's time is nearly over after %s: requests aren't counted", took)
	} else if got := s.Counts(); len(got) > 0 {
		t.Errorf("they cost %v", got)
	}
	told := m.sh("cat $M/.ocifs/errors.jsonl")
	if strings.Count(told, "\n") != 2 || !strings.Contains(told, "not in the list of tags") || strings.Contains(told, "Makefile") {
		t.Errorf("told is\n%s", told)
	}
	for deadline := time.Now().Add(time.Minute); m.probed("stat", tags+"/new") == "ENOENT"; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the new tag never comes")
		}
	}
	m.lists(tags, "new", "v1")
}

// Tags that were looked up or pushed are listed where the registry lists none, and the
// repository has its entries.
func TestARegistryThatListsNoTags(t *testing.T) {
	t.Parallel()
	const notOffered = "ENOTSUP" // as the probe calls EOPNOTSUPP
	for status, errno := range map[int]string{404: notOffered, 405: notOffered, 401: "EACCES"} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			s := startOlareg(t, registries.Options{})
			must(repo(t, s, testImage).Image(t.Context(), "v1", content.Small("x")))(t)
			s.Fault(registries.Fault{Path: "/tags/list", Status: status})
			m := testMount(t, mounting{flags: []string{"--tag-ttl", "1s", "--list-ttl", "1s"}})
			tags := m.at(s, testImage, "tags")
			m.probe(errno, "readdir", tags)
			m.sh("cat %s/v1/digest", tags)
			m.lists(tags, "v1")
			m.sh("cp %s/v1/manifest.json %s/upload/manifests/v2", tags, m.at(s, testImage))
			m.lists(tags, "v1", "v2")
			if got := m.sh("echo %s/*", tags); got != tags+"/v1 "+tags+"/v2\n" {
				t.Errorf("a glob gives %s", got)
			}
			f := m.lastFailure(strings.Replace(errno, notOffered, "EOPNOTSUPP", 1))
			if !strings.HasSuffix(f.Path, "tags") || !strings.Contains(f.Cause, "seen") || f.Hint == "" {
				t.Errorf("told is %+v", f)
			}
			m.lists(m.at(s, testImage), "archives", "blobs", "manifests", "referrers", "rootfs", "tags", "unpacked", "upload")
		})
	}
}
