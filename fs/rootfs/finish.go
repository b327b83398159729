package rootfs

import (
	"bytes"
	"slices"
)

// children has what is left of an archive in the order of its index.
type children struct {
	names []uint32 // numbers of names: a directory's are together, in byte order
	first []uint32 // by inode, of a directory: where its names begin
	count []uint32 // by inode, of a directory: how many names it has
	inos  []uint32 // by Ino: the inode
	ino   []uint32 // by inode: the Ino, or none
}

// finish gives Inos to what the root leads to, and finds the targets of hard links. Inos go by
// breadth: first the names in the root in byte order, then those in its first directory, and so
// on. A directory has a higher Ino than the directory above it.
func (s *scanner) finish() (children, error) {
	c := children{
		names: make([]uint32, s.names.n),
		first: make([]uint32, s.inodes.n+1),
		ino:   make([]uint32, s.inodes.n),
	}
	for at := range s.names.n {
		c.first[s.names.at(at).dir+1]++
	}
	for i := range s.inodes.n {
		c.first[i+1] += c.first[i]
		c.ino[i] = none
	}
	c.count = make([]uint32, s.inodes.n)
	for at := range s.names.n {
		d := s.names.at(at).dir
		c.names[c.first[d]+c.count[d]] = at
		c.count[d]++
	}
	c.ino[0], c.inos = 0, append(c.inos, 0)
	for i := 0; i < len(c.inos); i++ {
		d := c.inos[i]
		if !s.inodes.at(d).is(typeDir) {
			continue
		}
		names := c.names[c.first[d]:][:c.count[d]]
		slices.SortFunc(names, func(a, b uint32) int {
			return bytes.Compare(s.strings.get(s.names.at(a).name), s.strings.get(s.names.at(b).name))
		})
		kept := names[:0]
		for _, at := range names {
			ino, err := s.target(at)
			if err != nil {
				return c, err
			}
			if ino == none {
				continue
			}
			if kept = append(kept, at); int(ino) >= len(c.ino) {
				c.ino = append(c.ino, none)
			}
			if c.ino[ino] == none {
				c.ino[ino] = uint32(len(c.inos))
				c.inos = append(c.inos, ino)
			}
			if n := s.inodes.at(ino); !n.is(typeDir) {
				n.name++
			}
		}
		c.count[d] = uint32(len(kept))
	}
	return c, nil
}

// target gives the inode of a name. If it is a link, its target is found first. It gives none, and
// makes a Note, if the link leads nowhere. The name keeps the link then: others may lead to it.
func (s *scanner) target(at uint32) (uint32, error) {
	e := s.names.at(at)
	n := s.inodes.at(e.ino)
	if n.mode != 0 {
		return e.ino, nil
	}
	found, err := s.resolve(e.ino)
	if err != nil {
		return none, err
	}
	if found == none {
		p, err := s.path(e.dir, string(s.strings.get(e.name)))
		if err != nil {
			return none, err
		}
		s.note(p, reasons[n.rdev])
		return none, nil
	}
	if f := s.inodes.at(found); f.is(typeSymlink) {
		own := *f
		own.name = 0
		if found, err = s.inodes.add(own); err != nil {
			return none, err
		}
	}
	e.ino = found
	return found, nil
}
