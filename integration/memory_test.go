package integration

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocifs/ocifs/integration/internal/mount"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// million has TestMemoryHasABound name as many names as the README says, which takes some ten minutes.
var million = flag.Bool("million", false, "TestMemoryHasABound: a million names, 20,000 repositories, 100,000 tags")

// named is how much TestMemoryHasABound names.
type named struct {
	components   int // names below a host
	tags         int // the tags/ of the first of these
	hosts        int // names of hosts
	repositories int // repositories that are listed
	read         int // tags whose digest and manifest are asked for
}

// howMuch gives more than the mount holds of each kind: 24,576 nodes (a repository that is listed
// has ten), 1,024 hosts, 16,384 tags, 8 MiB of manifests (of 9 KiB here). A table that is full gives
// up what it had first: more names than that show nothing new.
func howMuch() named {
	if *million {
		return named{components: 600_000, tags: 200_000, hosts: 200_000, repositories: 20_000, read: 100_000}
	}
	return named{components: 90_000, tags: 50_000, hosts: 20_000, repositories: 5_000, read: 18_000}
}

// The most that .ocifs/stats.json may say of what is held: less than what howMuch names.
const (
	mostNames        = 150_000 // what it lists
	mostRepositories = 40_000
	mostTags         = 17_000
	mostManifests    = 1_500 // of the 1,800 of the tags that are read
	mostNodes        = 40_000
)

// remembered is what .ocifs/stats.json says that a mount holds in memory. A member that isn't
// there is nil.
type remembered struct {
	Names, Repositories, Tags, Manifests, Nodes *int
}

func (h remembered) String() string {
	b, err := json.Marshal(h)
	if err != nil {
		panic(err) // plain numbers always encode
	}
	return string(b)
}

// Memory has a bound, whatever is named: names that are entered, repositories that are listed,
// tags that are looked into. What was named first, and what a program uses all the while, is as it
// was.
//
// The kernel keeps each name that it has looked up until its own memory is short, and the
// daemon has to keep what the kernel knows. Since Linux 6.18 a daemon can ask for it back
// (FUSE_NOTIFY_PRUNE). On older kernels the nodes and so the memory can't be bounded;
// there the test checks all else, and says so.
func TestMemoryHasABound(t *testing.T) {
	t.Parallel()
	n := howMuch()
	s := must(registries.Generate(registries.Generated{Repositories: n.repositories, Tags: n.read}))(t)
	t.Cleanup(func() { s.Close() })
	m := testMount(t, mounting{plain: true})
	first := m.at(s, "tagged/tags/t000000")
	stands := m.standsIn(first)
	if !kernelPrunes(t) {
		t.Log("this kernel is older than 6.18: the memory and the nodes are not checked")
	}

	t.Run("names", func(t *testing.T) {
		m := m.forTest(t)
		before := m.probed("stat", m.at(s, "n0"))
		m.each("stat", n.components, m.at(s, "n%d"))
		m.each("stat", n.tags, m.at(s, "n%d/tags"))
		m.each("stat", n.hosts, m.Dir+"/h%d.example")
		m.isBounded()
		m.probe(before, "stat", m.at(s, "n0"))
		stands(t)
	})
	t.Run("repositories", func(t *testing.T) {
		m := m.forTest(t)
		m.each("list", n.repositories, m.at(s, "r%06d"))
		m.each("list", n.repositories, m.at(s, "r%06d/upload"))
		m.isBounded()
		m.lists(m.at(s, "r000000"), "archives", "blobs", "manifests", "referrers", "rootfs", "tags", "unpacked", "upload")
		m.lists(m.at(s, "r000000/tags"), "t000000")
		stands(t)
	})
	t.Run("tags", func(t *testing.T) {
		m := m.forTest(t)
		digest := m.sh("cat %s/digest", first)
		m.each("read", n.read, m.at(s, "tagged/tags/t%06d/digest"))
		m.isBounded()
		m.holds(first+"/digest", []byte(digest))
		stands(t)
	})
}

// A name that isn't there leaves nothing behind, nor does the directory in which it was looked
// for, as git and shells look for names of their own wherever they come.
func TestMissingNamesHoldNoDirectory(t *testing.T) {
	t.Parallel()
	const dirs, most = 30_000, 20_000
	m := testMount(t, mounting{plain: true})
	person := m.shell()
	person("cd " + quote(m.Dir+"/r.example/n7"))
	const look = "/bin/pwd; stat -c %i ."
	before := person(look)
	for i := range dirs {
		dir := fmt.Sprintf("%s/r.example/n%d", m.Dir, i)
		if _, err := os.Lstat(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(dir + "/.git"); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("%s/.git: %v", dir, err)
		}
	}
	if !kernelPrunes(t) {
		t.Log("this kernel is older than 6.18: the nodes are not checked")
		return
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		h := m.remembers()
		if h.Nodes != nil && *h.Nodes < most {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the mount holds %s, want fewer than %d nodes", h, most)
		}
	}
	if after := person(look); after != before {
		t.Errorf("a program that stands in a directory sees %q, and saw %q", after, before)
	}
}

// standsIn starts a program that stands in the directory of an image and has a file of it
// open. It gives a check that both are as they were.
func (m *mounted) standsIn(image string) (check func(t *testing.T)) {
	m.t.Helper()
	person := m.shell()
	person("cd " + quote(image) + " && exec 3<manifest.json")
	const look = "stat -c '%i %s %y' . digest; cat digest manifest.json; stat -L -c '%i %s' /dev/fd/3; cat /dev/fd/3"
	before := person(look)
	return func(t *testing.T) {
		t.Helper()
		if after := person(look); after != before {
			t.Errorf("who stands in %s sees\n%s, and saw before\n%s", image, after, before)
		}
	}
}

// each does one thing to n paths, as cmd/probe has it.
func (m *mounted) each(what string, n int, pattern string) {
	m.t.Helper()
	r, err := mount.Run(limit(m.t, 15*time.Minute), m.env(), fmt.Sprintf("%s each %s %d %s", probeBin, what, n, quote(pattern)))
	m.t.Logf("%s of %d paths %s took %s", what, n, strings.TrimPrefix(pattern, m.Dir+"/"), r.Took.Round(time.Millisecond))
	if want := fmt.Sprintf("ok %d\n", n); err != nil || r.Stdout != want {
		m.t.Fatalf("%s of %d paths %s: %q, %v", what, n, pattern, r.Stdout+r.Stderr, err)
	}
}

// isBounded checks what the daemon holds, and what memory it had since the last check.
func (m *mounted) isBounded() {
	m.t.Helper()
	peak, now := must(mount.PeakMemory(m.PID()))(m.t), must(mount.Memory(m.PID()))(m.t)
	if err := mount.ForgetPeak(m.PID()); err != nil {
		m.t.Error(err)
	}
	h := m.remembers()
	m.t.Logf("the daemon has %d MiB, %d MiB at its peak, and holds %s", now>>20, peak>>20, h)
	prunes := kernelPrunes(m.t)
	if prunes && peak > 128*mib {
		m.t.Errorf("the daemon's memory peaked at %d MiB, want 128 at most", peak>>20)
	}
	bound := func(what string, got *int, most int) {
		m.t.Helper()
		switch {
		case got == nil:
			m.t.Errorf("stats.json doesn't tell how many %s are held", what)
		case *got > most:
			m.t.Errorf("%d %s are held, want %d at most", *got, what, most)
		}
	}
	bound("names", h.Names, mostNames)
	bound("repositories", h.Repositories, mostRepositories)
	bound("tags", h.Tags, mostTags)
	bound("manifests", h.Manifests, mostManifests)
	if prunes {
		bound("nodes", h.Nodes, mostNodes)
	}
}

// remembers reads what the mount holds in memory.
func (m *mounted) remembers() remembered {
	m.t.Helper()
	var stats struct{ Held remembered }
	if err := json.Unmarshal([]byte(m.sh("cat $M/.ocifs/stats.json")), &stats); err != nil {
		m.t.Fatalf("stats.json: %v", err)
	}
	return stats.Held
}

// kernelPrunes says whether the kernel can be asked to forget what it knows of names:
// FUSE_NOTIFY_PRUNE, since Linux 6.18.
func kernelPrunes(t *testing.T) bool {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	release := unix.ByteSliceToString(u.Release[:])
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		t.Fatalf("the kernel's release is %s: %v", release, err)
	}
	return major > 6 || major == 6 && minor >= 18
}
