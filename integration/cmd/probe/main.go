// Command probe does one thing to a path, as any program might, and prints what
// came of it: "ok", or the name of the errno, such as ENOENT. Tests run it to look
// at a mount from outside.
//
//	probe stat PATH          ok TYPE SIZE MODE INODE
//	probe statfs PATH        ok BLOCKSIZE BLOCKS FREE AVAILABLE INODES FREEINODES
//	probe open|read|readdir|readlink PATH
//	probe create|mkdir|remove|chmod PATH
//	probe truncate [SIZE] PATH     truncate(2), to no byte unless a size is given
//	probe setxattr|removexattr [NAME] PATH    the attribute user.probe, unless named
//	probe xattrs PATH        NAME<TAB>ATTRIBUTE<TAB>HEX of each extended attribute of all files below
//	probe readers N PATH     N threads read all of PATH at once: ok N SHA256
//	probe at OFFSET LENGTH PATH    reads there: ok SHA256
//	probe mmap PATH                maps all of it into memory: ok SHA256, or SIGBUS
//	probe steps STEP…              several steps, and what came of each
//	probe automount DIR FILE COMMAND…  an automounter: see automount
//	probe each stat|list|read N PATTERN    the same to N paths: see each
//
// Its exit code is 0 for ok, 1 for an errno.
package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: probe WHAT PATH")
		os.Exit(2)
	}
	if os.Args[1] == "automount" && len(os.Args) > 4 {
		said, err := automount(os.Args[2], os.Args[3], os.Args[4:])
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(said)
		return
	}
	if os.Args[1] == "steps" {
		fmt.Println(steps(os.Args[2:]))
		return
	}
	said, err := probe(os.Args[1], os.Args[len(os.Args)-1], os.Args[2:len(os.Args)-1])
	if err != nil {
		fmt.Println(name(err))
		os.Exit(1)
	}
	fmt.Println(said)
}

// name is the errno's, or the sentence of what isn't one.
func name(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

func probe(what, path string, args []string) (string, error) {
	switch what {
	case "stat":
		return stat(path)
	case "statfs":
		var st unix.Statfs_t
		err := unix.Statfs(path, &st)
		return fmt.Sprintf("ok %d %d %d %d %d %d", st.Bsize, st.Blocks, st.Bfree, st.Bavail, st.Files, st.Ffree), err
	case "open":
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		return "ok", f.Close()
	case "read":
		return read(path)
	case "readers":
		n, err := strconv.Atoi(args[0])
		if err != nil {
			return "", err
		}
		return readers(n, path)
	case "mmap":
		return mapped(path)
	case "at":
		return at(args[0], args[1], path)
	case "readdir":
		entries, err := os.ReadDir(path)
		return fmt.Sprintf("ok %d", len(entries)), err
	case "readlink":
		target, err := os.Readlink(path)
		return "ok " + target, err
	case "each":
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return "", err
		}
		return each(args[0], n, path)
	case "create":
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return "", err
		}
		return "ok", f.Close()
	case "mkdir":
		return "ok", os.Mkdir(path, 0o755)
	case "remove":
		return "ok", os.Remove(path)
	case "chmod":
		return "ok", os.Chmod(path, 0o777)
	case "truncate":
		return truncate(path, args)
	case "setxattr":
		return "ok", unix.Lsetxattr(path, attribute(args), []byte("x"), 0)
	case "xattrs":
		return xattrs(path)
	case "removexattr":
		return "ok", unix.Lremovexattr(path, attribute(args))
	}
	return "", fmt.Errorf("no such probe: %s", what)
}

func attribute(args []string) string {
	if len(args) == 0 {
		return "user.probe"
	}
	return args[0]
}

func truncate(path string, args []string) (string, error) {
	size := int64(0)
	if len(args) > 0 {
		var err error
		if size, err = strconv.ParseInt(args[0], 10, 64); err != nil {
			return "", err
		}
	}
	return "ok", os.Truncate(path, size)
}

func stat(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return "", err
	}
	kind := map[uint32]string{unix.S_IFDIR: "dir", unix.S_IFREG: "file", unix.S_IFLNK: "link"}[uint32(st.Mode)&unix.S_IFMT]
	return fmt.Sprintf("ok %s %d %04o %d", kind, st.Size, uint32(st.Mode)&0o7777, st.Ino), nil
}

func read(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("ok %x", h.Sum(nil)), nil
}

// readers opens the path n times and then reads all at once.
func readers(n int, path string) (string, error) {
	results := make(map[string]int)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			said, err := read(path)
			if err != nil {
				said = name(err)
			}
			mu.Lock()
			defer mu.Unlock()
			results[said]++
		})
	}
	wg.Wait()
	if len(results) != 1 {
		return "", fmt.Errorf("the readers disagree: %v", results)
	}
	for said, count := range results {
		if sum, ok := cutOK(said); ok {
			return fmt.Sprintf("ok %d %s", count, sum), nil
		}
		return "", errors.New(said)
	}
	return "", errors.New("no readers")
}

func cutOK(said string) (string, bool) {
	if len(said) > 3 && said[:3] == "ok " {
		return said[3:], true
	}
	return said, false
}

func at(offset, length, path string) (string, error) {
	off, err := strconv.ParseInt(offset, 10, 64)
	if err != nil {
		return "", err
	}
	n, err := strconv.ParseInt(length, 10, 64)
	if err != nil {
		return "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, off, n)); err != nil {
		return "", err
	}
	return fmt.Sprintf("ok %x", h.Sum(nil)), nil
}

// mapped reads a file as memory. There a read that fails is no errno but a signal.
func mapped(path string) (said string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", err
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return "", err
	}
	defer unix.Munmap(b)
	debug.SetPanicOnFault(true)
	defer func() {
		if recover() != nil {
			err = errors.New("SIGBUS")
		}
	}()
	return fmt.Sprintf("ok %x", sha256.Sum256(b)), nil
}
