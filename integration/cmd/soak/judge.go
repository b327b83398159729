package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/ocifs/ocifs/integration/internal/crowd"
	"github.com/ocifs/ocifs/integration/internal/mount"
)

// judge looks, when it is calm, whether everything is as it should be, and prints the
// figures.
func (s *soak) judge(ctx context.Context, before crowd.Holding) error {
	var f figures
	k, c := s.keeper, s.crowd
	ok, failed := c.Tally.Turns()
	slowest, slow := c.Tally.Slowest()
	outages, away := c.Outages()
	bad := s.network.Figures()
	f.add("turns that went well", "%d", ok)
	f.add("turns that failed", "%v", failed)
	f.add("slowest turn", "%s, of %s", slowest.Round(time.Millisecond), slow)
	f.add("tags moved", "%d times", s.moves)
	f.add("network", "%v", bad)
	if ok == 0 || len(bad.Faults) == 0 {
		s.report.Errorf("the network was too good, or too bad, to tell anything")
	}

	s.report.Logf("it is calm: everything once more")
	f.add("when it was calm", "%v", c.Once(ctx, s.seed))
	c.TagsArrive(ctx, tagTTL)
	c.ReadAll(ctx)
	listed, err := c.Listed(ctx)
	if err != nil {
		return err
	}
	there := c.PushesAreWhole(ctx, listed)
	done, tried := c.Pushes()
	f.add("pushes", "%d begun, %d said to be done, %d images at the registry", tried, done, there)
	k.measure()
	m := k.now()
	c.LeavesNothing(ctx, m, s.network, before, k.since)
	k.look(m)
	kept := bytesIn(filepath.Join(k.o.Cache, "v1/blobs"))
	if kept > cacheSize {
		s.report.Errorf("the cache of at most %d bytes has %d", cacheSize, kept)
	}
	partials, err := mount.Partials(k.o.Cache)
	if err != nil {
		return err
	}

	// The next mount tells what those before it left.
	if err := k.mount(ctx); err != nil {
		return err
	}
	named := c.WhatIsLeftIsNamed(ctx, k.now())
	if err := k.now().Unmount(); err != nil {
		s.report.Errorf("%v", err)
	}
	k.look(k.now())

	d := k.got()
	if s.judgesMemory && d.peak > maxMemory {
		s.report.Errorf("a daemon had %d MiB of memory, where %d have to do", d.peak>>20, maxMemory>>20)
	}
	f.add("daemons", "%d mounted, %d killed, %d told to end, %d mounts refused as something was beneath", d.mounted, d.killed, d.told, d.refused)
	f.add("outages", "%d, together %s", outages, away.Round(time.Millisecond))
	f.add("damaged in the cache", "%d files", len(d.damaged))
	f.add("memory at its peak", "%d MiB", d.peak>>20)
	f.add("cache", "%d of %d KiB, %d partial files of killed daemons", kept>>10, cacheSize>>10, len(partials))
	f.add("left in staging", "%d, all named", named)
	fmt.Printf("\n%v\n", f)
	return nil
}

// bytesIn is how much the files below a directory have.
func bytesIn(dir string) (total int64) {
	filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				total += info.Size()
			}
		}
		return nil
	})
	return total
}
