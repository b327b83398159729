package crowd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/integration/internal/content"
)

// push is an image that was written to upload/.
type push struct{ repo, tag string }

// pushes is what the writers tried.
type pushes struct {
	mu    sync.Mutex
	tried map[push]pushed
	done  map[push]bool // that were said to be, and whether there was an outage meanwhile
}

// pushed is what an image has, by digest.
type pushed struct {
	manifest, own digest.Digest
	all           []digest.Digest
}

func (y *pushes) tries(p push, image content.Manifest) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.tried == nil {
		y.tried, y.done = map[push]pushed{}, map[push]bool{}
	}
	y.tried[p] = pushed{image.Digest, image.Layers[1].Digest, slices.Collect(maps.Keys(image.Digests()))}
}

func (y *pushes) said(p push, away bool) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.done[p] = away
}

// Pushes gives how many images were pushed by those who were said that all went well,
// and how many were begun.
func (y *pushes) Pushes() (done, tried int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	return len(y.done), len(y.tried)
}

// PushesAreWhole asks the registry, without the network, for all that was pushed. What
// was said to be pushed during an outage may have been staged by one daemon in part
// and by the next in part; then it isn't there, but somewhere it is told so: listed
// says whether it is. It gives how many images there are.
func (c *Crowd) PushesAreWhole(ctx context.Context, listed func(repository, tag string) bool) (there int) {
	c.pushes.mu.Lock()
	defer c.pushes.mu.Unlock()
	for p, away := range c.done {
		if _, err := c.fetch(ctx, p.repo+"/manifests/"+p.tag); err != nil && !(away && listed(p.repo, p.tag)) {
			c.Errorf("a program was told that %s:%s is pushed (outage: %t), but %v", p.repo, p.tag, away, err)
		}
	}
	for i, pr := range programs {
		if !pr.writes {
			continue
		}
		repo := fmt.Sprint("team/by", i)
		tags, err := c.tagsOf(ctx, repo)
		if err != nil {
			c.Errorf("%v", err)
		}
		for _, tag := range tags {
			there++
			c.isWhole(ctx, push{repo, tag})
		}
	}
	c.Logf("%d images are at the registry, %d were said to be", there, len(c.done))
	return there
}

func (c *Crowd) isWhole(ctx context.Context, p push) {
	want, ok := c.tried[p]
	if !ok {
		c.Errorf("the registry has %s:%s, which nobody pushed", p.repo, p.tag)
	}
	if b, err := c.fetch(ctx, p.repo+"/manifests/"+p.tag); err != nil || digest.FromBytes(b) != want.manifest {
		c.Errorf("%s:%s is another manifest, or none: %d bytes, %v", p.repo, p.tag, len(b), err)
	}
	for _, d := range want.all {
		from := "/blobs/"
		if d == want.manifest {
			from = "/manifests/"
		}
		if b, err := c.fetch(ctx, p.repo+from+d.String()); err != nil || digest.FromBytes(b) != d {
			c.Errorf("%s:%s isn't whole: %s has %d bytes, %v", p.repo, p.tag, d, len(b), err)
		}
	}
}

// tagsOf lists all tags of a repository; none where it isn't there.
func (c *Crowd) tagsOf(ctx context.Context, repo string) (all []string, err error) {
	for {
		q := url.Values{"n": {"500"}}
		if len(all) > 0 {
			q.Set("last", all[len(all)-1])
		}
		var page struct{ Tags []string }
		b, err := c.fetch(ctx, repo+"/tags/list?"+q.Encode())
		if err == nil {
			err = json.Unmarshal(b, &page)
		}
		if err != nil || len(page.Tags) == 0 || slices.Contains(all, page.Tags[0]) {
			return all, err
		}
		all = append(all, page.Tags...)
	}
}

// fetch gets something from the registry itself.
func (c *Crowd) fetch(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.o.Registry.Host+"/v2/"+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("the registry says %s to %s", resp.Status, path)
	}
	return b, err
}

// stillStaged gives those of the files, which are staged, that belong to what was said
// to be pushed.
func (y *pushes) stillStaged(files []string) (staged []string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for p, away := range y.done {
		own := y.tried[p].own.Encoded()
		if i := slices.IndexFunc(files, func(f string) bool { return strings.HasSuffix(f, own) }); i >= 0 && !away {
			staged = append(staged, fmt.Sprintf("%s:%s in %s", p.repo, p.tag, files[i]))
		}
	}
	return staged
}
