package integration

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/mount"
	"github.com/ocifs/ocifs/integration/internal/network"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

var (
	storm     = flag.Duration("storm", 24*time.Second, "how long the network of TestTwentyProgramsOnABadNetwork is bad")
	stormSeed = flag.Uint64("storm-seed", 0, "the seed of what happens on it; 0: any")
)

// errnoTexts are the errnos that a bad network may lead to, as programs print them.
var errnoTexts = map[string]string{
	"remote i/o error": "EREMOTEIO", "no route to host": "EHOSTUNREACH",
	"connection timed out": "ETIMEDOUT", "device or resource busy": "EBUSY",
	"sigbus": "SIGBUS", // any of them, to who has mapped the file
}

// never is what nobody may be told because of it: that something isn't there, or is
// damaged, or nobody knows what.
var never = regexp.MustCompile(`(?i)no such file|not found|input/output error|bad message|\b(ENOENT|EIO|EBADMSG)\b`)

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
	c := newCrowd(t, s)
	p := must(network.New(s.Host, seed))(t)
	t.Cleanup(func() { p.Close() })
	c.host = strings.ReplaceAll(p.Host, ":", "_")
	c.m = testMount(t, mounting{flags: []string{"--tag-ttl", "1s", "--list-ttl", "1s", "--cache-size", "6MiB"}})
	tally := newTally(t)

	c.m.sh("cat %s/v1/digest", c.at(testImage, "tags"))
	before := c.m.holding(t)

	var crowd sync.WaitGroup
	over := make(chan struct{})
	for i, pr := range programs {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		crowd.Go(func() {
			for turn := 0; ; turn++ {
				select {
				case <-over:
					return
				default:
					c.turn(pr, i, turn, r, tally, false)
				}
			}
		})
	}
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
	crowd.Wait()
	t.Logf("the network: %v", bad)
	t.Logf("the programs: %v; the last of them came to its end %s after the storm", tally, time.Since(calmed).Round(time.Millisecond))
	if len(bad.Faults) == 0 || tally.ok == 0 {
		t.Error("the network was too good, or too bad, to tell anything")
	}

	// When it is calm everything can be read and pushed, at once.
	calm := newTally(t)
	for i, pr := range programs {
		c.turn(pr, i, 1_000_000, rand.New(rand.NewPCG(seed, uint64(1000+i))), calm, true)
	}
	t.Logf("when it was calm: %v", calm)
	maps.Copy(tally.told, calm.told)
	maps.Copy(tally.tried, calm.tried)
	c.pushesAreWhole(tally)
	c.nothingIsLeft(p, before, tally)
}

// turn has a program do its work once.
func (c *crowd) turn(pr program, number, turn int, r *rand.Rand, tally *tally, calm bool) {
	w, err := os.MkdirTemp(c.known, "turn")
	if err != nil {
		c.t.Error(err)
		return
	}
	env := append(c.m.env(), "W="+w, "PROBE="+probeBin, "QUIET="+c.quiet.Host, "LC_ALL=C", "SCRIPT="+pr.script)
	// Longer than any wait of the daemon's; what takes longer hangs.
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Minute)
	defer cancel()
	defer mount.Run(ctx, env, "chmod -R u+w $W; rm -rf $W") // copies of the mount aren't writable
	var pushed push
	if pr.writes {
		pushed = push{fmt.Sprintf("team/by%d", number), fmt.Sprintf("t%d", turn)}
		vars, image := c.writing(r, pushed.repo, pushed.tag, w)
		tally.tries(pushed, image)
		env = append(env, vars...)
	} else {
		env = append(env, c.reading(r)...)
	}
	got, err := mount.Run(ctx, env, `timeout -k 5 90 /bin/sh -c "$SCRIPT"`)
	switch {
	case err != nil || got.Code == 124 || got.Code == 137:
		c.t.Errorf("%s hangs: %v", pr.name, err)
	case got.Code != 0 && calm:
		c.t.Errorf("%s fails when it is calm: %s\nerrors.jsonl: %s", pr.name, got.Stderr, c.m.failures())
	case got.Code != 0:
		tally.fails(pr, got)
	default:
		tally.goesWell(pushed, pr.writes)
		if pr.right == "" {
			return
		}
		if checked, err := mount.Run(ctx, env, shellFunctions+pr.right); err != nil || checked.Code != 0 {
			c.t.Errorf("%s says that all went well, and it is wrong: %v %s%s", pr.name, err, checked.Stdout, checked.Stderr)
		}
	}
}

// push is an image that was written to upload/.
type push struct{ repo, tag string }

// tally is what came of all turns.
type tally struct {
	t      *testing.T
	mu     sync.Mutex
	ok     int
	failed map[string]int // by errno
	tried  map[push]content.Manifest
	told   map[push]bool // that were said to be pushed
}

func newTally(t *testing.T) *tally {
	return &tally{t: t, failed: map[string]int{}, tried: map[push]content.Manifest{}, told: map[push]bool{}}
}

func (y *tally) String() string {
	return fmt.Sprintf("%d turns went well, failed by errno: %v; %d of %d pushes were said to be done", y.ok, y.failed, len(y.told), len(y.tried))
}

func (y *tally) tries(p push, image content.Manifest) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.tried[p] = image
}

func (y *tally) goesWell(p push, writes bool) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.ok++; writes {
		y.told[p] = true
	}
}

// fails checks that a failure is one that a bad network leads to.
func (y *tally) fails(pr program, got mount.Result) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if never.MatchString(got.Stderr) {
		y.failed["wrong"]++
		y.t.Errorf("%s says\n%s", pr.name, got.Stderr)
		return
	}
	// A tag whose time is over may be another directory when it is listed. rsync, which
	// has just looked at the one before, takes that for an attack and says so.
	if pr.name == "rsync" && strings.Contains(got.Stderr, "Too many levels of symbolic links") {
		y.failed["ELOOP of rsync"]++
		return
	}
	for text, errno := range errnoTexts {
		if strings.Contains(strings.ToLower(got.Stderr), text) || strings.Contains(got.Stderr, errno) {
			y.failed[errno]++
			return
		}
	}
	y.failed["?"]++
	y.t.Errorf("%s ends with %d and says\n%s", pr.name, got.Code, got.Stderr)
}

// pushesAreWhole asks the registry, without the network, for all that was pushed.
func (c *crowd) pushesAreWhole(y *tally) {
	for p := range y.told {
		if _, err := c.fetch(p.repo, "manifests/"+p.tag); err != nil {
			c.t.Errorf("a program was told that %s:%s is pushed, but %v", p.repo, p.tag, err)
		}
	}
	there := 0
	for i, pr := range programs {
		if !pr.writes {
			continue
		}
		repo := fmt.Sprintf("team/by%d", i)
		var list struct{ Tags []string }
		b, err := c.fetch(repo, "tags/list")
		if err == nil {
			err = json.Unmarshal(b, &list)
		}
		if err != nil {
			c.t.Error(err)
		}
		for _, tag := range list.Tags {
			there++
			want, ok := y.tried[push{repo, tag}]
			if !ok {
				c.t.Errorf("the registry has %s:%s, which nobody pushed", repo, tag)
			}
			for d := range want.Digests() {
				from := "blobs/"
				if d == want.Digest {
					from = "manifests/"
				}
				if b, err := c.fetch(repo, from+d.String()); err != nil || digest.FromBytes(b) != d {
					c.t.Errorf("%s:%s isn't whole: %s has %d bytes, %v", repo, tag, d, len(b), err)
				}
			}
		}
	}
	c.t.Logf("%d images are at the registry, %d were said to be", there, len(y.told))
}

// fetch gets something from the registry itself.
func (c *crowd) fetch(repo, path string) ([]byte, error) {
	req := must(http.NewRequestWithContext(c.t.Context(), http.MethodGet, "http://"+c.s.Host+"/v2/"+repo+"/"+path, nil))(c.t)
	req.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("the registry says %s to %s/%s", resp.Status, repo, path)
	}
	return b, err
}

// holding is what a daemon has at a moment.
type holding struct{ goroutines, descriptors int }

func (m *mounted) holding(t *testing.T) (h holding) {
	t.Helper()
	if err := json.Unmarshal([]byte(m.sh("jq .goroutines $M/.ocifs/stats.json")), &h.goroutines); err != nil {
		t.Fatal(err)
	}
	h.descriptors = len(must(mount.OpenFiles(m.PID(), ""))(t))
	return h
}

// nothingIsLeft checks that the daemon is as it was before the storm, and that it
// ends as it should.
func (c *crowd) nothingIsLeft(p *network.Proxy, before holding, y *tally) {
	t, m := c.t, c.m
	t.Helper()
	if open := p.Figures().Open; open > 48 {
		t.Errorf("%d connections are open", open)
	}
	m.leavesNothing()
	// Connections that wait for the next request end with the network.
	p.Down()
	if err := p.Up(); err != nil {
		t.Error(err)
	}
	var after holding
	var under string
	for range 100 {
		after, under = m.holding(t), m.sh("jq -c . $M/.ocifs/transfers.json")
		if after.goroutines <= before.goroutines+10 && after.descriptors <= before.descriptors+10 && under == "[]\n" {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("goroutines and descriptors before and after: %v, %v", before, after)
	if after.goroutines > before.goroutines+10 || after.descriptors > before.descriptors+10 || under != "[]\n" {
		t.Errorf("the daemon holds %+v, and held %+v before; under way: %s", after, before, under)
	}
	if got := m.sh(`jq -c '[.panics, .errors.EIO, .errors.EBADMSG]' $M/.ocifs/stats.json`); got != "[0,null,null]\n" {
		t.Errorf("panics, EIO and EBADMSG: %s", got)
	}
	if got := m.sh(`jq -r '.[] | select(.state == "pushing")' $M/.ocifs/uploads.json`); got != "" {
		t.Errorf("uploads.json has %s", got)
	}
	staged := strings.Fields(m.sh("find %s/v1/staging -path '*/tree/*' -type f", m.Cache))
	for p := range y.told {
		own := y.tried[p].Layers[1].Digest.Encoded()
		if i := slices.IndexFunc(staged, func(f string) bool { return strings.HasSuffix(f, own) }); i >= 0 {
			t.Errorf("%s:%s was pushed and is still staged: %s", p.repo, p.tag, staged[i])
		}
	}
	m.unmount()
	m.isGone(p)
	if files := partials(t, m.Cache); len(files) > 0 {
		t.Errorf("unfinished downloads stay: %q", files)
	}
}

// isGone checks that neither the daemon nor a connection of it is left.
func (m *mounted) isGone(p *network.Proxy) {
	m.t.Helper()
	for range 50 { // the network takes a moment to notice
		if p.Figures().Open == 0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if open := p.Figures().Open; open > 0 {
		m.t.Errorf("%d connections are open after the unmount", open)
	}
	if err := syscall.Kill(m.PID(), 0); !errors.Is(err, syscall.ESRCH) {
		m.t.Errorf("the daemon is there after the unmount: %v", err)
	}
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
	m.isGone(p)
}
