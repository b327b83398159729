package crowd

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/integration/internal/mount"
)

// record is an entry of uploads.json.
type record struct{ Repository, Target, State, Error string }

// Listed reads uploads.json, and gives what says whether a push is in it and not done.
func (c *Crowd) Listed(ctx context.Context) (func(repository, tag string) bool, error) {
	all, err := c.records(ctx)
	return func(repository, tag string) bool {
		for _, r := range all {
			if r.State != "pushed" && r.Repository == c.o.Host+"/"+repository && r.Target == tag {
				return true
			}
		}
		return false
	}, err
}

func (c *Crowd) records(ctx context.Context) (all []record, err error) {
	text, err := c.look(ctx, "cat $MOUNTPOINT/.ocifs/uploads.json")
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return nil, fmt.Errorf("uploads.json: %w", err)
	}
	return all, nil
}

// WhatIsLeftIsNamed checks what earlier daemons staged and didn't push, on a mount that
// has just begun: it is kept, and uploads.json names all of it and nothing else. It
// gives how much is named.
func (c *Crowd) WhatIsLeftIsNamed(ctx context.Context, m *mount.Mount) (named int) {
	all, err := c.records(ctx)
	if err != nil {
		c.Errorf("%v", err)
	}
	var kept []string
	for _, r := range all {
		path, _, found := strings.Cut(strings.TrimPrefix(r.Error, "kept in "), ": ")
		if _, err := os.Lstat(path); r.State != "left" || !found || err != nil {
			c.Errorf("uploads.json of a new mount has %+v, %v", r, err)
			continue
		}
		kept = append(kept, path)
	}
	staging := filepath.Join(m.Cache, "v1/staging")
	dirs, err := filepath.Glob(filepath.Join(staging, "*"))
	if err != nil {
		c.Errorf("%v", err)
	}
	for _, dir := range dirs {
		if !coversAny(kept, dir) {
			c.Errorf("%s is kept, and nothing in it is named by uploads.json", dir)
		}
		for _, f := range filesIn(filepath.Join(dir, "tree")) {
			repo, d, ok := stagedBlob(filepath.Join(dir, "tree"), f)
			if !ok || coveredBy(kept, f) {
				continue
			}
			_, err := c.fetch(ctx, repo+"/blobs/"+d.String())
			if err != nil {
				_, err = c.fetch(ctx, repo+"/manifests/"+d.String())
			}
			if err != nil {
				c.Errorf("%s is kept, and neither named by uploads.json nor at the registry: %v", f, err)
			}
		}
	}
	return len(kept)
}

// stagedBlob reads the path of a staged file whose name says what it is to be.
func stagedBlob(tree, path string) (repo string, d digest.Digest, ok bool) {
	rel, err := filepath.Rel(tree, path)
	if err != nil {
		return "", "", false
	}
	_, rel, _ = strings.Cut(rel, "/") // the host
	repo, in, ok := strings.Cut(rel, "/upload/")
	d = digest.NewDigestFromEncoded(digest.SHA256, filepath.Base(path))
	return repo, d, ok && d.Validate() == nil && strings.HasSuffix(filepath.Dir(in), "blobs/sha256")
}

// coversAny says whether one of the paths is below dir.
func coversAny(paths []string, dir string) bool {
	for _, p := range paths {
		if strings.HasPrefix(p, dir+"/") {
			return true
		}
	}
	return false
}

// coveredBy says whether path is one of those that are kept, or below one.
func coveredBy(kept []string, path string) bool {
	for _, k := range kept {
		if k == path || strings.HasPrefix(path, k+"/") {
			return true
		}
	}
	return false
}

// filesIn are the regular files below dir; none where it isn't there.
func filesIn(dir string) (files []string) {
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return nil
	})
	return files
}
