package fs

import (
	"context"
	"fmt"
	"path"
	"strings"
	"syscall"

	"github.com/ocifs/ocifs/fs/internal/node"
)

// walker follows paths in the tree, as the kernel would. It shows nothing to the kernel. What it
// downloads is charged to the payer of the context.
type walker struct {
	tree *Tree
	// here brings nothing: a name in an image that a download would have to decide is
	// layers.ErrNotHere.
	here bool
	// within is told of each tree of files that a path enters.
	within func(*treeDir)
}

// maxLinks is how many symlinks one path may lead through, as in Linux (MAXSYMLINKS).
const maxLinks = 40

// ways are the directories from the root of the mount to one of them.
type ways []node.Directory

// follow gives what is at a path that begins in a directory, and the directories on its way. A
// symlink at its end is followed. Who reports an error names the path; the error names another place
// where the path led.
func (w *walker) follow(ctx context.Context, from ways, named string) (ways, node.Entry, error) {
	at := append(ways(nil), from...)
	var last node.Entry = at[len(at)-1]
	names, links := strings.Split(named, "/"), 0
	named = node.Join(last.Path(), path.Clean(named))
	for len(names) > 0 {
		name := names[0]
		names = names[1:]
		d, ok := last.(node.Directory)
		if !ok {
			return nil, nil, syscall.ENOTDIR
		}
		switch name {
		case "", ".":
			continue
		case "..":
			if len(at) == 1 {
				return nil, nil, fmt.Errorf("it leads out of the mount: %w", node.ErrNotExist)
			}
			at = at[:len(at)-1]
			last = at[len(at)-1]
			continue
		}
		e, err := w.lookup(ctx, d, name)
		if place := node.Join(d.Path(), name); err != nil && place != named {
			err = fmt.Errorf("%s: %w", place, err)
		}
		if err != nil {
			return nil, nil, err
		}
		if l, ok := e.(node.Symlink); ok {
			if links++; links > maxLinks {
				return nil, nil, syscall.ELOOP
			}
			target := l.Target() // once: that of an image's tree keeps a manifest
			if strings.HasPrefix(target, "/") {
				return nil, nil, fmt.Errorf("the symlink %s leads out of the mount, to %s: %w", name, target, node.ErrNotExist)
			}
			names = append(strings.Split(target, "/"), names...)
			continue
		}
		if d, ok := e.(node.Directory); ok {
			at = append(at, d)
		}
		last = e
	}
	return at, last, nil
}

// lookup finds a name in a directory.
func (w *walker) lookup(ctx context.Context, d node.Directory, name string) (node.Entry, error) {
	_, inside := d.(*treeDir)
	if !inside {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, w.tree.opts.LookupBound)
		defer cancel()
	}
	c, err := d.Lookup(ctx, name)
	if err != nil {
		return nil, err
	}
	if root, ok := c.Entry.(*treeDir); ok && !inside {
		if w.here {
			root = root.whatIsHere()
		}
		w.within(root)
		return root, nil
	}
	return c.Entry, nil
}
