package fs

import (
	"encoding/json"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// listsWith lists a directory and checks its names, or the errno that is told in their
// place.
func (w *walked) listsWith(path, names string, want syscall.Errno) {
	w.t.Helper()
	got, err := w.shows(path)
	errno := syscall.Errno(0)
	if err != nil {
		errno = w.kernel.Judge(w.t.Context(), err).Errno
	}
	if got != names || errno != want {
		w.t.Errorf("%s lists %q, %v (%v); want %q, %v", path, got, errno, err, names, want)
	}
}

// lines gives the lines of errors.jsonl on the tags of a repository.
func (w *walked) lines(repo string) (lines []node.Failure) {
	w.t.Helper()
	for line := range strings.Lines(string(w.jsonl())) {
		var f node.Failure
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			w.t.Fatal(err)
		}
		if f.Path == w.host+"/"+repo+"/tags" {
			lines = append(lines, f)
		}
	}
	return lines
}

// Tags that were looked up or pushed are listed where the registry lists none, and a person is
// told once. The registry isn't asked again for a moment. Where no tag was seen, the errno
// is that of the registry's answer.
func TestTagsThatWereSeenAreListed(t *testing.T) {
	for name, test := range map[string]struct {
		quirk registrytest.Quirk
		errno syscall.Errno
	}{
		"404": {registrytest.Status(http.StatusNotFound, "404 page not found"), syscall.EOPNOTSUPP},
		"405": {registrytest.Status(http.StatusMethodNotAllowed, ""), syscall.EOPNOTSUPP},
		"501": {registrytest.Status(http.StatusNotImplemented, ""), syscall.EOPNOTSUPP},
		"401": {registrytest.Status(http.StatusUnauthorized, ""), syscall.EACCES},
		"403": {registrytest.Refuse(http.StatusForbidden, "DENIED"), syscall.EACCES},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, registrytest.Options{})
			s.Image("team/app", "v1", []byte("one"))
			s.Image("team/app", "v2", []byte("one"))
			refuses := s.On("GET tags", test.quirk)
			w := walk(t, s, t.TempDir(), Options{ListTTL: time.Hour, TagTTL: time.Hour})
			const tags, entries = "team/app/tags", "archives blobs manifests referrers rootfs tags unpacked upload"
			w.listsWith(tags, "", test.errno)

			w.looksUp(tags, "v1", 0, false)
			w.listsWith(tags, "v1", 0)
			w.listsWith("team/app", entries, 0)
			s.Forget()
			w.listsWith(tags, "v1", 0)
			w.looksUp(tags, "v1", 0, false)
			m, err := registry.ParseManifest(s.ReadManifest("team/app", "v1"), "", "")
			if err != nil {
				t.Fatal(err)
			}
			pushTree{w.Tree}.PushedManifest(ref.Repository{Host: s.Host, Path: "team/app"}, m, "pushed")
			w.listsWith(tags, "pushed v1", 0)
			s.Want()
			w.looksUp(tags, "v2", 0, false) // what isn't listed may be there
			w.listsWith(tags, "pushed v1 v2", 0)
			s.Want("GET manifest v2")
			lines := w.lines("team/app")
			if len(lines) != 1 || lines[0].Op != "opendir" || lines[0].Errno != node.ErrnoName(test.errno) || !strings.Contains(lines[0].Cause, name) || lines[0].Hint == "" {
				t.Errorf("told: %+v", lines)
			}

			w.ages() // the registry is asked once more
			s.Forget()
			w.listsWith("team/app", entries, 0)
			w.listsWith(tags, "pushed v1 v2", 0)
			if s.Count("GET tags") == 0 {
				t.Error("it isn't asked again")
			}
			w.ages()
			refuses.End()
			w.listsWith(tags, "v1 v2", 0) // what was pushed here never came there
		})
	}
}

// A repository that its registry denies isn't there, unless the registry still has a tag of
// it.
func TestADeniedRepositoryIsThereWhileItAnswers(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Image("team/app", "v1", []byte("one"))
	s.On("GET tags", registrytest.Refuse(http.StatusNotFound, "NAME_UNKNOWN"))
	w := walkAt(t, s, t.TempDir())
	w.listsWith("team/app/tags", "", syscall.ENOENT)
	w.looksUp("team/app/tags", "v1", 0, false)
	w.ages()
	w.listsWith("team/app/tags", "v1", 0)
	w.ages()
	w.listsWith("team/app", "archives blobs manifests referrers rootfs tags unpacked upload", 0)
	if lines := w.lines("team/app"); len(lines) != 1 || lines[0].Errno != "ENOENT" {
		t.Errorf("told: %+v", lines)
	}
	w.ages()
	s.On("* manifest", registrytest.Refuse(http.StatusNotFound, "NAME_UNKNOWN"))
	w.listsWith("team/app/tags", "", syscall.ENOENT)
	w.ages()
	w.listsWith("team/app", "", syscall.ENOENT)
}

// A repository that a catalog names is there, whether its tags can be listed or not.
func TestACatalogTellsOfARepositoryWithoutAList(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Image("team/app", "v1", []byte("one"))
	s.On("GET tags", registrytest.Status(http.StatusMethodNotAllowed, ""))
	w := walkAt(t, s, t.TempDir())
	w.listsWith("team/app", "archives blobs manifests referrers rootfs tags unpacked upload", 0)
	w.listsWith("team/none", "", syscall.ENOENT)
}
