package rootfs

import "strings"

// link gives the inode that a hard link with this target names: the target's, if it is there. A
// symlink is copied. Otherwise it is a new inode without a mode: it stands for what the target
// will be when the archive is over. See resolve.
func (s *scanner) link(target string) (uint32, error) {
	if target == "" {
		return none, errLinkDir
	}
	ino, _, err := s.find(target)
	if err != nil {
		return none, err
	}
	if ino == none {
		r, err := s.strings.add(target)
		if err != nil {
			return none, err
		}
		return s.inodes.add(inode{data: int64(r)})
	}
	n := *s.inodes.at(ino)
	switch {
	case n.is(typeDir):
		return none, errLinkDir
	case n.is(typeSymlink):
		return s.inodes.add(n)
	}
	return ino, nil
}

// find gives the inode at a clean path, other than the root. A symlink at its end isn't followed.
// If nothing is there it gives none, and the path that the symlinks above it lead to.
func (s *scanner) find(p string) (ino uint32, missing string, err error) {
	above, base := "", p
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		above, base = p[:i], p[i+1:]
	}
	if len(base) > maxComponent {
		return none, "", errLongName
	}
	dir, rest := s.lastIno, ""
	if above != s.last || above == "" {
		if dir, rest, err = s.walk(above, false); err != nil {
			return none, "", err
		}
	}
	if rest == "" {
		if at := s.lookup(dir, base); at != none {
			return s.names.at(at).ino, "", nil
		}
	}
	missing, err = s.path(dir, rest+"/"+base)
	return none, missing, err
}

// Reasons why a hard link isn't shown.
const (
	errLinkDir    = unshown("a hard link to a directory")
	errLinkCircle = unshown("a hard link to itself, or in a circle")
)

// reasons has what inode.rdev means of a link that leads nowhere.
var reasons = [...]unshown{errLinkDir, errLinkCircle, errLongName, errHops}

// resolve looks for the target of a link in the whole archive, and gives the inode that was
// found: the link itself if it is a LowerLink, and none if it leads nowhere. Links may lead to
// links. Each is looked for once.
func (s *scanner) resolve(link uint32) (uint32, error) {
	var chain []uint32
	found, reason, isLower := none, uint32(0), false
	for at := link; ; {
		n := s.inodes.at(at)
		if n.mode != 0 {
			if found = at; n.is(typeDir) {
				found = none
			}
			break
		}
		if n.flags&lower != 0 {
			found = at
			break
		}
		if n.flags&resolved != 0 {
			found, reason = n.name, n.rdev
			break
		}
		if n.flags&resolving != 0 {
			reason = reasonOf(errLinkCircle)
			break
		}
		n.flags |= resolving
		chain = append(chain, at)
		target := string(s.strings.get(ref(n.data)))
		next, missing, err := s.find(target)
		if u, ok := err.(unshown); ok {
			reason = reasonOf(u)
			break
		} else if err != nil {
			return none, err
		}
		if next == none {
			r, err := s.strings.add(missing)
			if err != nil {
				return none, err
			}
			n.size, n.data, found, isLower = int64(len(missing)), int64(r), at, true
			break
		}
		at = next
	}
	for _, at := range chain {
		n := s.inodes.at(at)
		n.flags |= resolved
		n.name, n.rdev = found, reason
		if isLower && at == found {
			n.flags |= lower
			n.name = 0
		}
	}
	return found, nil
}

func reasonOf(u unshown) uint32 {
	for i, r := range reasons {
		if r == u {
			return uint32(i)
		}
	}
	return 0
}
