package rootfs

import (
	"fmt"
	"strings"
)

// maxHops is how many symlinks of the archive a path may follow, as in Linux.
const maxHops = 40

// maxSteps bounds the components that all symlinks of one archive lead through, so that no
// archive can be written to be slow. It is for each entry that an archive may have. Two million
// entries then cost some seconds.
const maxSteps = 30

const (
	errLongName = unshown("a component of its name is longer than 255 bytes")
	errHops     = unshown("its path follows more than 40 symlinks")
)

// lookup gives the number of a name in a directory, or none.
func (s *scanner) lookup(dir uint32, base string) uint32 {
	r, _ := s.strings.find(base)
	if r == 0 {
		return none
	}
	return s.names.find(dir, r)
}

// set lets a name in a directory mean an inode, and gives the number of the name.
func (s *scanner) set(dir uint32, base string, ino uint32) (uint32, error) {
	r, err := s.strings.add(base)
	if err != nil {
		return 0, err
	}
	if at := s.names.find(dir, r); at != none {
		s.names.at(at).ino = ino
		s.last = ""
		return at, nil
	}
	return s.names.add(name{dir: dir, name: r, ino: ino})
}

// mkdir makes a directory that no entry describes, in place of what has the name.
func (s *scanner) mkdir(dir uint32, base string) (uint32, error) {
	ino, err := s.inodes.add(inode{mode: typeDir | 0o755})
	if err != nil {
		return 0, err
	}
	at, err := s.set(dir, base, ino)
	s.inodes.at(ino).name = at
	return ino, err
}

// parent gives the directory above a directory. The root is above itself.
func (s *scanner) parent(dir uint32) uint32 {
	at := s.inodes.at(dir).name
	if at == none {
		return 0
	}
	return s.names.at(at).dir
}

// directory gives the directory of a clean path, and makes what isn't there.
func (s *scanner) directory(p string) (uint32, error) {
	if p == "" {
		return 0, nil
	}
	if p == s.last {
		return s.lastIno, nil
	}
	dir, _, err := s.walk(p, true)
	if err == nil {
		s.last, s.lastIno = p, dir
	}
	return dir, err
}

// walk follows a path from the root. It follows symlinks, and never leaves the root. If make is
// set, it makes directories of what is missing or is no directory. Otherwise it stops there: then
// rest is what it didn't follow.
func (s *scanner) walk(p string, make bool) (dir uint32, rest string, err error) {
	stack := append(s.stack[:0], p) // what remains to be followed, the next at the end
	defer func() {
		clear(stack)
		s.stack = stack[:0]
	}()
	for hops := 0; len(stack) > 0; {
		top := &stack[len(stack)-1]
		here := *top
		base, after, _ := strings.Cut(here, "/")
		if *top = after; after == "" {
			stack = stack[:len(stack)-1]
		}
		if hops > 0 {
			if err := s.step(); err != nil {
				return 0, "", err
			}
		}
		switch {
		case base == "" || base == ".":
			continue
		case base == "..":
			dir = s.parent(dir)
			continue
		case len(base) > maxComponent:
			return 0, "", errLongName
		}
		var n inode // nothing: neither a directory nor a symlink
		at := s.lookup(dir, base)
		if at != none {
			n = *s.inodes.at(s.names.at(at).ino)
		}
		switch {
		case n.is(typeDir):
			dir = s.names.at(at).ino
		case n.is(typeSymlink):
			if hops++; hops > maxHops {
				return 0, "", errHops
			}
			target := string(s.strings.get(ref(n.data)))
			if strings.HasPrefix(target, "/") {
				dir = 0
			}
			stack = append(stack, target)
		case make:
			if dir, err = s.mkdir(dir, base); err != nil {
				return 0, "", err
			}
		default:
			if after != "" {
				stack = stack[:len(stack)-1]
			}
			rest = here
			for i := len(stack) - 1; i >= 0; i-- {
				rest += "/" + stack[i]
			}
			return dir, rest, nil
		}
	}
	return dir, "", nil
}

// step counts a component.
func (s *scanner) step() error {
	if s.steps++; s.steps > maxSteps*s.inodes.most {
		return fmt.Errorf("%w: too many paths through symlinks", ErrTooLarge)
	}
	return nil
}

// path gives the path of a directory, and what is behind it.
func (s *scanner) path(dir uint32, rest string) (string, error) {
	parts := []string{rest}
	for dir != 0 {
		if err := s.step(); err != nil {
			return "", err
		}
		e := s.names.at(s.inodes.at(dir).name)
		parts = append(parts, string(s.strings.get(e.name)))
		dir = e.dir
	}
	for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
		parts[i], parts[j] = parts[j], parts[i]
	}
	return clean(strings.Join(parts, "/")), nil
}
