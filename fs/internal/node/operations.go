package node

import (
	"iter"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ocifs/ocifs/fs/internal/metrics"
)

// operation is a kind of request of the kernel that gets an answer. FORGET gets none, and isn't one.
type operation int

const (
	opLookup operation = iota
	opGetAttr
	opSetAttr
	opMknod
	opMkdir
	opUnlink
	opRmdir
	opRename
	opLink
	opSymlink
	opReadlink
	opAccess
	opGetXAttr
	opListXAttr
	opSetXAttr
	opRemoveXAttr
	opCreate
	opTmpfile
	opOpen
	opRead
	opLseek
	opGetLk
	opSetLk
	opSetLkw
	opRelease
	opWrite
	opCopyFileRange
	opIoctl
	opFlush
	opFsync
	opFallocate
	opOpenDir
	opReadDir
	opReadDirPlus
	opReleaseDir
	opFsyncDir
	opStatFs
	opStatx
	operationKinds // how many there are
)

// operationNames are the names of the kinds, as FUSE has them.
var operationNames = [operationKinds]string{
	opLookup:        "lookup",
	opGetAttr:       "getattr",
	opSetAttr:       "setattr",
	opMknod:         "mknod",
	opMkdir:         "mkdir",
	opUnlink:        "unlink",
	opRmdir:         "rmdir",
	opRename:        "rename",
	opLink:          "link",
	opSymlink:       "symlink",
	opReadlink:      "readlink",
	opAccess:        "access",
	opGetXAttr:      "getxattr",
	opListXAttr:     "listxattr",
	opSetXAttr:      "setxattr",
	opRemoveXAttr:   "removexattr",
	opCreate:        "create",
	opTmpfile:       "tmpfile",
	opOpen:          "open",
	opRead:          "read",
	opLseek:         "lseek",
	opGetLk:         "getlk",
	opSetLk:         "setlk",
	opSetLkw:        "setlkw",
	opRelease:       "release",
	opWrite:         "write",
	opCopyFileRange: "copyfilerange",
	opIoctl:         "ioctl",
	opFlush:         "flush",
	opFsync:         "fsync",
	opFallocate:     "fallocate",
	opOpenDir:       "opendir",
	opReadDir:       "readdir",
	opReadDirPlus:   "readdirplus",
	opReleaseDir:    "releasedir",
	opFsyncDir:      "fsyncdir",
	opStatFs:        "statfs",
	opStatx:         "statx",
}

// operations counts the requests of the kernel, and how long their answers took, by their kind.
type operations [operationKinds]*metrics.Histogram

func newOperations() *operations {
	o := new(operations)
	for i := range o {
		// A request that is answered from memory takes some microseconds, one that reads
		// the disk less than a millisecond, one that asks a registry 10 ms to 1 s. What
		// takes longer waits for a blob.
		o[i] = metrics.NewHistogram(100*time.Microsecond, time.Millisecond, 10*time.Millisecond, 100*time.Millisecond, time.Second, 10*time.Second)
	}
	return o
}

// count counts a request that is answered now. began is now's at its beginning.
func (o *operations) count(kind operation, began time.Duration) { o[kind].Observe(now() - began) }

// now is a moment. time.Now costs twice as much, because it reads the wall clock too.
func now() time.Duration { return time.Since(someTime) }

var someTime = time.Now()

// Operations gives the kinds of requests that the kernel made so far, by FUSE's names, with how long
// their answers took. Reads that pass through aren't among them: the kernel makes no request for them.
func (k *Kernel) Operations() iter.Seq2[string, *metrics.Histogram] {
	return func(yield func(string, *metrics.Histogram) bool) {
		for i, h := range k.operations {
			if h.Count() > 0 && !yield(operationNames[i], h) {
				return
			}
		}
	}
}

// countedFS is the file system that go-fuse makes of the nodes, with each request counted. It is
// the one place that all requests pass. A panic in one counts as its end.
type countedFS struct {
	fuse.RawFileSystem
	operations *operations
}

func (f *countedFS) Lookup(cancel <-chan struct{}, header *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	defer f.operations.count(opLookup, now())
	return f.RawFileSystem.Lookup(cancel, header, name, out)
}

func (f *countedFS) GetAttr(cancel <-chan struct{}, input *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	defer f.operations.count(opGetAttr, now())
	return f.RawFileSystem.GetAttr(cancel, input, out)
}

func (f *countedFS) SetAttr(cancel <-chan struct{}, input *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	defer f.operations.count(opSetAttr, now())
	return f.RawFileSystem.SetAttr(cancel, input, out)
}

func (f *countedFS) Mknod(cancel <-chan struct{}, input *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	defer f.operations.count(opMknod, now())
	return f.RawFileSystem.Mknod(cancel, input, name, out)
}

func (f *countedFS) Mkdir(cancel <-chan struct{}, input *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	defer f.operations.count(opMkdir, now())
	return f.RawFileSystem.Mkdir(cancel, input, name, out)
}

func (f *countedFS) Unlink(cancel <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	defer f.operations.count(opUnlink, now())
	return f.RawFileSystem.Unlink(cancel, header, name)
}

func (f *countedFS) Rmdir(cancel <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	defer f.operations.count(opRmdir, now())
	return f.RawFileSystem.Rmdir(cancel, header, name)
}

func (f *countedFS) Rename(cancel <-chan struct{}, input *fuse.RenameIn, oldName string, newName string) fuse.Status {
	defer f.operations.count(opRename, now())
	return f.RawFileSystem.Rename(cancel, input, oldName, newName)
}

func (f *countedFS) Link(cancel <-chan struct{}, input *fuse.LinkIn, filename string, out *fuse.EntryOut) fuse.Status {
	defer f.operations.count(opLink, now())
	return f.RawFileSystem.Link(cancel, input, filename, out)
}

func (f *countedFS) Symlink(cancel <-chan struct{}, header *fuse.InHeader, pointedTo string, linkName string, out *fuse.EntryOut) fuse.Status {
	defer f.operations.count(opSymlink, now())
	return f.RawFileSystem.Symlink(cancel, header, pointedTo, linkName, out)
}

func (f *countedFS) Readlink(cancel <-chan struct{}, header *fuse.InHeader) ([]byte, fuse.Status) {
	defer f.operations.count(opReadlink, now())
	return f.RawFileSystem.Readlink(cancel, header)
}

func (f *countedFS) Access(cancel <-chan struct{}, input *fuse.AccessIn) fuse.Status {
	defer f.operations.count(opAccess, now())
	return f.RawFileSystem.Access(cancel, input)
}

func (f *countedFS) GetXAttr(cancel <-chan struct{}, header *fuse.InHeader, attr string, dest []byte) (uint32, fuse.Status) {
	defer f.operations.count(opGetXAttr, now())
	return f.RawFileSystem.GetXAttr(cancel, header, attr, dest)
}

func (f *countedFS) ListXAttr(cancel <-chan struct{}, header *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	defer f.operations.count(opListXAttr, now())
	return f.RawFileSystem.ListXAttr(cancel, header, dest)
}

func (f *countedFS) SetXAttr(cancel <-chan struct{}, input *fuse.SetXAttrIn, attr string, data []byte) fuse.Status {
	defer f.operations.count(opSetXAttr, now())
	return f.RawFileSystem.SetXAttr(cancel, input, attr, data)
}

func (f *countedFS) RemoveXAttr(cancel <-chan struct{}, header *fuse.InHeader, attr string) fuse.Status {
	defer f.operations.count(opRemoveXAttr, now())
	return f.RawFileSystem.RemoveXAttr(cancel, header, attr)
}

func (f *countedFS) Create(cancel <-chan struct{}, input *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	defer f.operations.count(opCreate, now())
	return f.RawFileSystem.Create(cancel, input, name, out)
}

func (f *countedFS) Tmpfile(cancel <-chan struct{}, input *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	defer f.operations.count(opTmpfile, now())
	return f.RawFileSystem.Tmpfile(cancel, input, out)
}

func (f *countedFS) Open(cancel <-chan struct{}, input *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	defer f.operations.count(opOpen, now())
	return f.RawFileSystem.Open(cancel, input, out)
}

func (f *countedFS) Read(cancel <-chan struct{}, input *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	defer f.operations.count(opRead, now())
	return f.RawFileSystem.Read(cancel, input, buf)
}

func (f *countedFS) Lseek(cancel <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	defer f.operations.count(opLseek, now())
	return f.RawFileSystem.Lseek(cancel, in, out)
}

func (f *countedFS) GetLk(cancel <-chan struct{}, input *fuse.LkIn, out *fuse.LkOut) fuse.Status {
	defer f.operations.count(opGetLk, now())
	return f.RawFileSystem.GetLk(cancel, input, out)
}

func (f *countedFS) SetLk(cancel <-chan struct{}, input *fuse.LkIn) fuse.Status {
	defer f.operations.count(opSetLk, now())
	return f.RawFileSystem.SetLk(cancel, input)
}

func (f *countedFS) SetLkw(cancel <-chan struct{}, input *fuse.LkIn) fuse.Status {
	defer f.operations.count(opSetLkw, now())
	return f.RawFileSystem.SetLkw(cancel, input)
}

func (f *countedFS) Release(cancel <-chan struct{}, input *fuse.ReleaseIn) {
	defer f.operations.count(opRelease, now())
	f.RawFileSystem.Release(cancel, input)
}

func (f *countedFS) Write(cancel <-chan struct{}, input *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	defer f.operations.count(opWrite, now())
	return f.RawFileSystem.Write(cancel, input, data)
}

// Writev isn't the whole request if it answers ENOSYS: then go-fuse calls Write.
func (f *countedFS) Writev(cancel <-chan struct{}, input *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	began := now()
	n, status := f.RawFileSystem.Writev(cancel, input, data)
	if status != fuse.ENOSYS {
		f.operations.count(opWrite, began)
	}
	return n, status
}

func (f *countedFS) CopyFileRange(cancel <-chan struct{}, input *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	defer f.operations.count(opCopyFileRange, now())
	return f.RawFileSystem.CopyFileRange(cancel, input)
}

func (f *countedFS) Ioctl(cancel <-chan struct{}, input *fuse.IoctlIn, inbuf []byte, output *fuse.IoctlOut, outbuf []byte) fuse.Status {
	defer f.operations.count(opIoctl, now())
	return f.RawFileSystem.Ioctl(cancel, input, inbuf, output, outbuf)
}

func (f *countedFS) Flush(cancel <-chan struct{}, input *fuse.FlushIn) fuse.Status {
	defer f.operations.count(opFlush, now())
	return f.RawFileSystem.Flush(cancel, input)
}

func (f *countedFS) Fsync(cancel <-chan struct{}, input *fuse.FsyncIn) fuse.Status {
	defer f.operations.count(opFsync, now())
	return f.RawFileSystem.Fsync(cancel, input)
}

func (f *countedFS) Fallocate(cancel <-chan struct{}, input *fuse.FallocateIn) fuse.Status {
	defer f.operations.count(opFallocate, now())
	return f.RawFileSystem.Fallocate(cancel, input)
}

func (f *countedFS) OpenDir(cancel <-chan struct{}, input *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	defer f.operations.count(opOpenDir, now())
	return f.RawFileSystem.OpenDir(cancel, input, out)
}

func (f *countedFS) ReadDir(cancel <-chan struct{}, input *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	defer f.operations.count(opReadDir, now())
	return f.RawFileSystem.ReadDir(cancel, input, out)
}

func (f *countedFS) ReadDirPlus(cancel <-chan struct{}, input *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	defer f.operations.count(opReadDirPlus, now())
	return f.RawFileSystem.ReadDirPlus(cancel, input, out)
}

func (f *countedFS) ReleaseDir(input *fuse.ReleaseIn) {
	defer f.operations.count(opReleaseDir, now())
	f.RawFileSystem.ReleaseDir(input)
}

func (f *countedFS) FsyncDir(cancel <-chan struct{}, input *fuse.FsyncIn) fuse.Status {
	defer f.operations.count(opFsyncDir, now())
	return f.RawFileSystem.FsyncDir(cancel, input)
}

func (f *countedFS) StatFs(cancel <-chan struct{}, input *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	defer f.operations.count(opStatFs, now())
	return f.RawFileSystem.StatFs(cancel, input, out)
}

func (f *countedFS) Statx(cancel <-chan struct{}, input *fuse.StatxIn, out *fuse.StatxOut) fuse.Status {
	defer f.operations.count(opStatx, now())
	return f.RawFileSystem.Statx(cancel, input, out)
}
