package crowd

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/mount"
)

// Move points the tag with a number at another of its images, chosen by choice, at
// the registry itself.
func (c *Crowd) Move(ctx context.Context, number, choice int) error {
	tag := c.moving[number%len(c.moving)]
	repo, err := content.To(c.o.Registry.Host, Repository, "", "")
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock() // one moves at a time
	v := (c.points[tag] + 1 + choice%(versions-1)) % versions
	if err := repo.Tag(ctx, c.images[tag][v].Manifest, tag); err != nil {
		return err
	}
	c.points[tag] = v
	return nil
}

// pointsAt is the digest of what a tag points at.
func (c *Crowd) pointsAt(tag string) digest.Digest {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.images[tag][c.points[tag]].Digest
}

// TagsArrive checks that the mount shows what the tags were moved to last, once its
// time for them is over.
func (c *Crowd) TagsArrive(ctx context.Context, ttl time.Duration) {
	for _, tag := range c.moving {
		want := string(c.pointsAt(tag)) + "\n"
		var got string
		var err error
		for end := time.Now().Add(ttl + 10*time.Second); time.Now().Before(end) && got != want; time.Sleep(100 * time.Millisecond) {
			got, err = c.look(ctx, "cat "+c.at(Repository, "tags", tag, "digest"))
		}
		if got != want {
			c.Errorf("%s was moved to %s, and the mount shows %s %v", tag, want, got, err)
		}
	}
}

// ReadAll reads every image that there is by its digest, when it is calm.
func (c *Crowd) ReadAll(ctx context.Context) {
	for tag, images := range c.images {
		for _, i := range images {
			var sums strings.Builder
			for d := range i.Digests() {
				fmt.Fprintf(&sums, "%s  %s\n", d.Encoded(), d.Encoded())
			}
			script := "cd " + c.at(Repository, "manifests/sha256", i.Digest.Encoded(), "blobs/sha256") + " && echo \"$SUMS\" | sha256sum -c --quiet --strict"
			r, err := mount.Run(ctx, append(c.o.Env, "SUMS="+strings.TrimSpace(sums.String())), script)
			if err != nil || r.Code != 0 {
				c.Errorf("%s of %s can't be read when it is calm: %v %s\nerrors.jsonl: %s", i.Digest, tag, err, r.Stderr, c.failures(ctx))
			}
		}
	}
}
