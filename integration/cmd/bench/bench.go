package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/ocifs/ocifs/integration/internal/mount"
)

// bench is what all rows share.
type bench struct {
	dir        string // of all that is written: nothing of it stays
	ram        string // the same on a RAM disk; "": there is none with room enough
	exe, ocifs string // copies in dir, which every user can run and no build replaces
	tools      string
	env        []string // of the peers
	size       int64
	rounds     int
	server     *server
	images     map[string]image
	seeds      uint64
}

// newBench starts the registry.
func newBench(s settings) (_ *bench, err error) {
	if s.rounds < 1 || s.size < imageLayers*randomSize {
		return nil, fmt.Errorf("rounds: %d, size: %d: that is too little", s.rounds, s.size)
	}
	b := &bench{size: s.size, rounds: s.rounds, images: map[string]image{}}
	if b.tools, err = filepath.Abs(s.tools); err != nil {
		return nil, err
	}
	if b.dir, err = os.MkdirTemp("", "ocifs-bench-"); err != nil {
		return nil, err
	}
	b.ram = ramDisk(ramSpace * s.size)
	defer func() {
		if err != nil {
			b.remove()
		}
	}()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	b.exe, b.ocifs = filepath.Join(b.dir, "bench"), filepath.Join(b.dir, "ocifs")
	home := filepath.Join(b.dir, "home")
	b.env = mount.Env(home, b.tools)
	err = errors.Join(os.Chmod(b.dir, 0o755), os.Mkdir(home, 0o755), copyProgram(b.exe, self), copyProgram(b.ocifs, s.ocifs))
	if err != nil {
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	b.server, err = startServer(b.exe, filepath.Join(b.dir, "registry"), b.pushDir())
	return b, err
}

// pushDir is where the registry of the push row keeps its content.
func (b *bench) pushDir() string {
	return filepath.Join(cmp.Or(b.ram, b.dir), "pushed")
}

// remove takes away what the bench wrote.
func (b *bench) remove() error {
	if b.ram == "" {
		return os.RemoveAll(b.dir)
	}
	return errors.Join(os.RemoveAll(b.dir), os.RemoveAll(b.ram))
}

func (b *bench) close() error {
	// No mount is left, or this leaves it alone: a mountpoint can't be removed.
	return errors.Join(b.server.Close(), b.remove())
}

func copyProgram(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
