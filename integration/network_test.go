package integration

import (
	"flag"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/crowd"
	"github.com/ocifs/ocifs/integration/internal/network"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

var (
	storm     = flag.Duration("storm", 12*time.Second, "how long the network of TestTwentyProgramsOnABadNetwork is bad")
	stormSeed = flag.Uint64("storm-seed", 0, "the seed of what happens on it; 0: any")
)

// Twenty programs of as many kinds read and push through one mount while their
// network is bad, and their cache too small. What they read is right, or they are
// told why not; what they push is whole or absent; none hangs; and when the network
// is good again so is everything, at once, and nothing is left of it all.
func TestTwentyProgramsOnABadNetwork(t *testing.T) {
	t.Run("distribution", func(t *testing.T) { badNetwork(t, startDistribution(t, registries.Options{}), *storm) })
	t.Run("olareg", func(t *testing.T) { badNetwork(t, startOlareg(t, registries.Options{}), *storm/2) })
}

func badNetwork(t *testing.T, s *registries.Server, lasts time.Duration) {
	seed := *stormSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("once more like this: go -C integration test -race -run '^%s$' -storm %s -storm-seed %d .", t.Name(), *storm, seed)
	p := must(network.New(s.Host, seed))(t)
	t.Cleanup(func() { p.Close() })
	m := testMount(t, mounting{flags: []string{"--tag-ttl", "1s", "--list-ttl", "1s", "--cache-size", "6MiB"}})
	c := must(crowd.New(t.Context(), t, crowd.Options{
		Registry: s, Quiet: startOlareg(t, registries.Options{}), Host: p.Host,
		Mountpoint: m.Dir, Env: m.env(), Probe: probeBin, Dir: t.TempDir(), Patience: 90 * time.Second,
	}))(t)
	if err := c.FirstLook(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := must(c.Holds(t.Context(), m.Mount))(t)

	over, through := make(chan struct{}), make(chan struct{})
	go func() { defer close(through); c.Run(t.Context(), seed, over) }()
	// Bad, then down, then bad, then up and down, then bad.
	p.Weather(network.Storm)
	parts := []struct {
		share float64 // of the time
		down  bool
	}{{.35, false}, {.1, true}, {.2, false}, {.02, true}, {.03, false}, {.02, true}, {.03, false}, {.02, true}, {.23, false}}
	for _, part := range parts {
		if part.down {
			p.Down()
		} else if err := p.Up(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Duration(part.share * float64(lasts))) // the weather is the test
	}
	bad := p.Figures()
	p.Calm()
	calmed := time.Now()
	close(over)
	<-through
	t.Logf("the network: %v", bad)
	t.Logf("the programs: %v; the last of them came to its end %s after the storm", &c.Tally, time.Since(calmed).Round(time.Millisecond))
	if ok, _ := c.Tally.Turns(); len(bad.Faults) == 0 || ok == 0 {
		t.Error("the network was too good, or too bad, to tell anything")
	}

	// When it is calm everything can be read and pushed, at once.
	t.Logf("when it was calm: %v", c.Once(t.Context(), seed))
	c.PushesAreWhole(t.Context(), nil) // there was no outage
	c.LeavesNothing(t.Context(), m.Mount, p, before, time.Time{})
}

// An unmount leaves no process and no connection, also where a download was under
// way a moment ago, whose reader is gone.
func TestUnmountLeavesNothing(t *testing.T) {
	t.Parallel()
	s := startOlareg(t, registries.Options{})
	image := must(repo(t, s, testImage).Image(t.Context(), "v1", content.Sample("v1")))(t)
	p := must(network.New(s.Host, 1))(t)
	t.Cleanup(func() { p.Close() })
	m := testMount(t, mounting{})
	dir := filepath.Join(m.Dir, strings.ReplaceAll(p.Host, ":", "_"), testImage, "tags/v1")
	m.sh("cat %s/digest", dir)
	s.Fault(registries.Fault{Path: "/blobs/" + image.Layers[0].Digest.String(), Stall: 10})
	if r := m.run("timeout 1 cat " + dir + "/layers/00-*"); r.Code != 124 {
		t.Errorf("cat of what stalls ends with %d: %s", r.Code, r.Stderr)
	}
	if open := p.Figures().Open; open == 0 {
		t.Error("no connection is open although the mount has just read")
	}
	m.unmount()
	if err := crowd.Gone(m.Mount, p); err != nil {
		t.Error(err)
	}
}
