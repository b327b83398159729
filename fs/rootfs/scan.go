package rootfs

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// File types, as in st_mode of stat(2), which is the same on Linux and macOS.
const (
	typeMask    = 0o170000
	typeFifo    = 0o010000
	typeChar    = 0o020000
	typeDir     = 0o040000
	typeBlock   = 0o060000
	typeFile    = 0o100000
	typeSymlink = 0o120000
	permMask    = 0o7777
)

// maxNotes is how many Notes an Index has; the others are counted.
const maxNotes = 100

// maxNoteName is how many bytes of an entry's name a Note has.
const maxNoteName = 4096

// maxComponent is the longest name in a directory, in bytes: NAME_MAX of Linux.
const maxComponent = 255

// maxTarget is the longest target of a symlink that Linux has, in bytes: PATH_MAX without the NUL.
const maxTarget = 4095

// inode is a file, a directory or anything else while its archive is scanned.
type inode struct {
	size  int64 // of a file or a symlink's target, in bytes
	mtime int64 // seconds since 1970
	// data is the offset of a file's bytes in the archive. Of a sparse file it is the ref of
	// its map, of a symlink the ref of its target, of a link the ref of its target's path.
	data  int64
	nsec  uint32
	mode  uint32 // 0: a hard link whose target hasn't been found
	uid   uint32
	gid   uint32
	rdev  uint32 // of a link that leads nowhere: the number of the reason
	xattr ref    // see xattrs.go
	// name is the number of a directory's name. Of a link that was looked for it is the inode
	// that was found. Of anything else it is how many names there are, once finish counted.
	name  uint32
	flags uint8
}

const (
	described uint8 = 1 << iota // an entry describes the inode
	sparse                      // data is the ref of a map
	resolving                   // a link whose target is being looked for
	resolved                    // a link whose target was found, or can't be
	lower                       // a link whose target the archive doesn't have
)

func (n *inode) is(fileType uint32) bool { return n.mode&typeMask == fileType }

// scanner is what is known of an archive so far.
type scanner struct {
	raw     io.ReaderAt
	strings *stringTable
	inodes  table[inode]
	names   *nameTable

	notes     []Note
	noteCount int
	entries   uint32
	steps     uint32 // components that symlinks led through, see maxSteps

	// last is the directory of the last entry, by its path, for the entry that follows.
	last    string
	lastIno uint32

	stack []string // of walk, kept to be used again
}

// Scanned is what Scan found in an archive.
type Scanned struct {
	s        *scanner
	children children
}

// Scan reads an archive, plain tar, to the end of r, and lists what is in it. raw has the bytes
// that were read from r so far, at their offsets; only sparse files need it. An error of r comes
// back as it is. Scan fails with ErrNoArchive where r begins with no tar header, with ErrCorrupt
// where the archive is malformed or breaks off, and with ErrTooLarge beyond two million entries.
// A file without a single byte is an empty archive. What comes after the archive's end is read,
// and nothing else is done with it.
func Scan(r io.Reader, raw io.ReaderAt) (*Scanned, error) { return scanUpTo(maxEntries, r, raw) }

// scanUpTo is Scan with another bound of the entries.
func scanUpTo(most uint32, r io.Reader, raw io.ReaderAt) (*Scanned, error) {
	src := &source{r: bufio.NewReaderSize(r, 256<<10)}
	if err := src.begin(); err != nil {
		return nil, err
	}
	s := &scanner{raw: raw, strings: newStringTable(), names: newNameTable(most)}
	s.inodes.most = most
	// The root directory has Ino 0, and no name.
	if _, err := s.inodes.add(inode{mode: typeDir | 0o755, name: none}); err != nil {
		return nil, err
	}
	if err := s.scan(src); err != nil {
		return nil, err
	}
	if err := src.drain(); err != nil {
		return nil, err
	}
	c, err := s.finish()
	if err != nil {
		return nil, err
	}
	return &Scanned{s: s, children: c}, nil
}

// scan reads the archive to its end marker.
func (s *scanner) scan(src *source) error {
	tr := tar.NewReader(src)
	var start int64 // of the entry's first header, in the archive
	for {
		h, err := tr.Next()
		switch {
		case err == io.EOF:
			return nil
		case err != nil && src.err != nil:
			return src.err
		case err != nil && !errors.Is(err, tar.ErrInsecurePath):
			return fmt.Errorf("%w: tar entry at byte %d: %w", ErrCorrupt, start, err)
		}
		e := entry{Header: h, start: start, data: src.n, stored: h.Size}
		switch h.Typeflag {
		case tar.TypeXGlobalHeader:
			// Runtimes don't apply global headers to what follows.
			start = blockUp(src.n)
			continue
		case tar.TypeLink, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeDir, tar.TypeFifo:
			e.stored = 0
		}
		if err := e.readSparse(s.raw); err != nil {
			return err
		}
		if s.entries++; s.entries > s.inodes.most {
			return fmt.Errorf("%w: more than %d entries", ErrTooLarge, s.inodes.most)
		}
		err = s.entry(&e)
		var u unshown
		if errors.As(err, &u) {
			s.note(h.Name, u)
		} else if err != nil {
			return err
		}
		start = blockUp(e.data + e.stored)
	}
}

// entry is one entry of an archive.
type entry struct {
	*tar.Header
	start   int64    // of the first header, in the archive
	data    int64    // where the bytes are, in the archive
	stored  int64    // how many bytes the archive has
	sparse  bool     // the file has holes
	extents []Extent // of a sparse file
}

// unshown says why an entry isn't shown.
type unshown string

func (u unshown) Error() string { return string(u) }

func (s *scanner) note(name string, why unshown) {
	if s.noteCount++; len(s.notes) < maxNotes {
		s.notes = append(s.notes, Note{Name: strings.Clone(name[:min(len(name), maxNoteName)]), Why: string(why)})
	}
}

// clean gives the path below the root that a name in an archive means, without a slash at its
// start; "" is the root. It resolves ".." by the name alone, as runtimes do, and no higher than
// the root.
func clean(name string) string { return path.Clean("/" + name)[1:] }

// entry puts an entry into the tree.
func (s *scanner) entry(e *entry) error {
	n, err := s.inode(e)
	if err != nil {
		return err
	}
	p := clean(e.Name)
	if strings.IndexByte(p, 0) >= 0 {
		// The record GNU.sparse.name is the only one in which archive/tar lets it pass.
		return unshown("its name has a NUL")
	}
	if p == "" {
		if e.Typeflag != tar.TypeDir {
			return unshown("it would replace the root directory")
		}
		n.name = none
		*s.inodes.at(0) = n
		return nil
	}
	above, base := "", p
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		above, base = p[:i], p[i+1:]
	}
	if len(base) > maxComponent {
		return errLongName
	}
	var target uint32
	if e.Typeflag == tar.TypeLink {
		// The target first: a parent that is made may take its place.
		if target, err = s.link(clean(e.Linkname)); err != nil {
			return err
		}
	}
	dir, err := s.directory(above)
	if err != nil {
		return err
	}
	switch e.Typeflag {
	case tar.TypeDir:
		if at := s.lookup(dir, base); at != none {
			ino := s.names.at(at).ino
			if old := s.inodes.at(ino); old.is(typeDir) {
				n.name = old.name
				*old = n
				return nil
			}
		}
	case tar.TypeLink:
		_, err = s.set(dir, base, target)
		return err
	}
	ino, err := s.inodes.add(n)
	if err != nil {
		return err
	}
	at, err := s.set(dir, base, ino)
	if n.is(typeDir) {
		s.inodes.at(ino).name = at
	}
	return err
}

// inode gives what an entry says of its inode.
func (s *scanner) inode(e *entry) (inode, error) {
	n := inode{
		mode:  uint32(e.Mode) & permMask,
		uid:   uint32(e.Uid),
		gid:   uint32(e.Gid),
		mtime: e.ModTime.Unix(),
		nsec:  uint32(e.ModTime.Nanosecond()),
		flags: described,
	}
	var err error
	switch e.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		n.mode |= typeFile
		n.size, n.data = e.Size, e.data
		if e.sparse {
			n.flags |= sparse
			var r ref
			r, err = s.strings.add(encodeExtents(e.extents))
			n.data = int64(r)
		}
	case tar.TypeDir:
		n.mode |= typeDir
	case tar.TypeSymlink:
		switch {
		case e.Linkname == "":
			return n, unshown("a symlink without a target")
		case len(e.Linkname) > maxTarget:
			return n, unshown("a symlink whose target is longer than 4095 bytes")
		}
		n.mode |= typeSymlink
		n.size = int64(len(e.Linkname))
		var r ref
		r, err = s.strings.add(e.Linkname)
		n.data = int64(r)
	case tar.TypeChar:
		n.mode |= typeChar
		n.rdev = deviceNumber(e.Devmajor, e.Devminor)
	case tar.TypeBlock:
		n.mode |= typeBlock
		n.rdev = deviceNumber(e.Devmajor, e.Devminor)
	case tar.TypeFifo:
		n.mode |= typeFifo
	case tar.TypeLink:
		return n, nil // its header says nothing
	default:
		return n, unshown(fmt.Sprintf("an entry of the unknown type %q", e.Typeflag))
	}
	if err != nil {
		return n, err
	}
	n.xattr, err = s.xattrs(e)
	return n, err
}

// deviceNumber encodes a device as Linux does it in 32 bits (new_encode_dev of
// include/linux/kdev_t.h): 12 bits of the major number, 20 of the minor.
func deviceNumber(major, minor int64) uint32 {
	ma, mi := uint32(major)&0xfff, uint32(minor)&0xfffff
	return mi&0xff | ma<<8 | mi&^0xff<<12
}
