package registry

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry/ref"
)

// A client of weeks, which is asked for names without end, knows of the last ones alone.
func TestWhatIsLearntIsBounded(t *testing.T) {
	c := New(Options{})
	defer c.Close()
	limits := http.Header{"Ratelimit-Limit": {"100"}, "Ratelimit-Remaining": {"1"}}
	for n := range maxLearnt + 10 {
		host := fmt.Sprintf("host%d.example", n)
		if _, err := c.host(host); err != nil {
			t.Fatal(err)
		}
		release, err := c.downloads.take(t.Context(), host)
		if err != nil {
			t.Fatal(err)
		}
		release()
		c.learnt.limited(host, limits)
		c.learnt.lacksReferrers(ref.Repository{Host: host, Path: "a"})
		c.learnt.lacksTags(host)
		c.learnt.lacksAhead(host)
		c.learnt.wantsChunks(host, 0, 1)
		c.learnt.hadWrong(host, digest.FromString(host))
		c.learnt.isNews(host, "text")
	}
	l := c.learnt
	for what, n := range map[string]int{
		"hosts": c.hosts.Len(), "healths": l.healths.Len(), "limits": l.limits.Len(), "referrers": l.noReferrers.Len(),
		"tags": l.noTagList.Len(), "ahead": l.notAhead.Len(), "chunks": l.chunked.Len(), "wrong": l.wrong.Len(),
	} {
		if n != maxLearnt {
			t.Errorf("%s: %d are kept, want %d", what, n, maxLearnt)
		}
	}
	if len(c.downloads.byHost) != 0 || len(l.warned) != maxWarnings {
		t.Errorf("%d limiters, %d warnings are kept", len(c.downloads.byHost), len(l.warned))
	}
	if c.learnt.hasReferrers(ref.Repository{Host: fmt.Sprintf("host%d.example", maxLearnt), Path: "a"}) {
		t.Error("what was learnt last is forgotten")
	}
}
