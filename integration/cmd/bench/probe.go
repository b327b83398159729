package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	readSize   = 128 << 10 // as cat's
	randomSize = 4 << 10
	batches    = 5 // of stat and open; their median counts
)

// probe is a process that looks at a file and prints how many seconds that took:
//
//	read PATH                 the whole file, in order
//	random PATH COUNT THREADS COUNT reads of 4 KiB in all, anywhere
//	stat PATH COUNT           one stat
//	open PATH COUNT           one open and close
func probe(args []string) error {
	took, err := probed(args)
	if err == nil {
		_, err = fmt.Println(took.Seconds())
	}
	return err
}

func probed(args []string) (time.Duration, error) {
	var numbers [2]int
	for i := range numbers {
		if len(args) <= i+2 {
			break
		}
		var err error
		if numbers[i], err = strconv.Atoi(args[i+2]); err != nil {
			return 0, err
		}
	}
	count, threads := numbers[0], numbers[1]
	switch {
	case len(args) == 2 && args[0] == "read":
		return readAll(args[1])
	case len(args) == 4 && args[0] == "random":
		return readRandom(args[1], count, threads)
	case len(args) == 3 && args[0] == "stat":
		var st syscall.Stat_t
		return each(count, func() error { return syscall.Stat(args[1], &st) })
	case len(args) == 3 && args[0] == "open":
		return each(count, func() error {
			fd, err := syscall.Open(args[1], syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			return syscall.Close(fd)
		})
	}
	return 0, fmt.Errorf("no such probe: %q", args)
}

func readAll(path string) (time.Duration, error) {
	buf := make([]byte, readSize)
	begin := time.Now()
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for {
		if _, err := f.Read(buf); errors.Is(err, io.EOF) {
			return time.Since(begin), nil
		} else if err != nil {
			return 0, err
		}
	}
}

// readRandom reads with threads of the kernel, not of the Go runtime, so that they wait
// for the file system and not for each other.
func readRandom(path string, count, threads int) (time.Duration, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	blocks := st.Size() / randomSize
	if blocks == 0 {
		return 0, fmt.Errorf("%s is too short to read it at random", path)
	}
	fd, errs := int(f.Fd()), make([]error, threads)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for t := range threads {
		wg.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			r := rand.New(rand.NewPCG(1, uint64(t)))
			buf := make([]byte, randomSize)
			<-start
			for range count / threads {
				if _, err := syscall.Pread(fd, buf, r.Int64N(blocks)*randomSize); err != nil {
					errs[t] = err
					return
				}
			}
		})
	}
	begin := time.Now()
	close(start)
	wg.Wait()
	return time.Since(begin), errors.Join(errs...)
}

// each gives how long one do takes, as the median of batches of count. What is done
// before is on the kernel's path already.
func each(count int, do func() error) (time.Duration, error) {
	var took []float64
	for range batches + 1 {
		begin := time.Now()
		for range count {
			if err := do(); err != nil {
				return 0, err
			}
		}
		took = append(took, time.Since(begin).Seconds()/float64(count))
	}
	return seconds(median(took[1:])), nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
