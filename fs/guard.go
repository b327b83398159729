package fs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/sys/unix"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/registry"
)

const (
	// guarded is how long what a job made be downloaded counts, in seconds.
	guarded = 60
	// maxJobs is how many jobs a guard knows. Those that downloaded nothing for
	// longest are forgotten.
	maxJobs = 1024
)

// guard bounds what each job makes the mount download within a minute, so that
// grep -r and virus scanners don't download the world. It is safe for concurrent
// use.
//
// A job is a process group: what a shell starts for one line, with all that this
// starts. The children of find, xargs, make and a script stay in it, and a scanner
// that a service manager or cron started has one of its own. Its session would be
// too much: that holds all that a person does at a terminal. Its ancestors would be
// too little: below a script that leads its session nobody could tell where one
// job ends and another begins, and a parent that has ended leads nowhere. Who makes
// groups for its children, as timeout, setsid and a shell at its prompt do, has them
// counted apart.
//
// What counts is what is fetched, once, for the job that made the download begin, by
// its size and before the first byte is asked for. Who joins a download costs the
// registry nothing, nor does who reads what is cached. Manifests are free.
//
// A job that has had nothing may begin a blob of any size: a limit mustn't make
// files unreadable. One larger than the limit counts for as many minutes as it is
// worth.
type guard struct {
	limit   int64 // bytes a minute
	started time.Time
	now     func() time.Time

	mu   sync.Mutex
	jobs *simplelru.LRU[int, *job] // by process group; strangers are one
}

// job is what a guard knows of one. guard.mu guards it.
type job struct {
	spent   []spending // at most one for each second of a minute, and a large one
	told    int64      // the second in which a refusal was last told
	refused int        // reads since, of which nothing was told; -1: none was ever refused
}

// spending is what was spent within one second, and counts until another: in seconds
// of the guard's clock.
type spending struct{ until, bytes int64 }

// strangers is the job of all programs whose group can't be told: those of another
// PID namespace, and the kernel's own threads.
const strangers = 0

// newGuard gives nil, which refuses nothing, where there is no limit.
func newGuard(limit int64) (*guard, error) {
	if limit <= 0 {
		return nil, nil
	}
	jobs, err := simplelru.NewLRU[int, *job](maxJobs, nil)
	if err != nil {
		return nil, err
	}
	return &guard{limit: limit, started: time.Now(), now: time.Now, jobs: jobs}, nil
}

// jobOf gives the job of a thread, as a request names its caller.
func jobOf(thread uint32) int {
	if thread == 0 {
		return strangers
	}
	group, err := unix.Getpgid(int(thread))
	if err != nil { // gone
		return strangers
	}
	return group
}

// get is Store.Get, under the guard where a program asks. The mount's own reads are
// of metadata, or of what was let in when it was written.
func (t *Tree) get(ctx context.Context, w cache.Want) (*cache.File, error) {
	c := t.charge(&w)
	f, err := t.store.Get(ctx, w)
	c.settle(ctx, err)
	return f, err
}

// charge is what the downloads that were begun for one want were counted as. It is
// safe for concurrent use.
type charge struct {
	guard *guard // nil: nothing is counted

	mu    sync.Mutex
	group int
	spent int64
}

// charge has the downloads that are begun for a want counted.
func (t *Tree) charge(w *cache.Want) *charge {
	c := &charge{guard: t.guard}
	if c.guard == nil {
		return c
	}
	size := w.Size
	w.Begin = func(ctx context.Context) error {
		caller, ok := fuse.FromContext(ctx)
		if !ok {
			return nil
		}
		group := jobOf(caller.Pid)
		if err := c.guard.spend(group, size); err != nil {
			return err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.group, c.spent = group, c.spent+size
		return nil
	}
	return c
}

// settle takes note of how a read ended.
func (c *charge) settle(ctx context.Context, err error) {
	if c.guard == nil || err == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var o *overdrawn
	switch {
	case errors.As(err, &o):
		if caller, ok := fuse.FromContext(ctx); ok && !o.told {
			o.who, o.of = describe(int(caller.Pid), jobOf(caller.Pid))
		}
	case ctx.Err() != nil: // the download goes on for a while
	case errors.Is(err, cache.ErrMismatch) || errors.Is(err, registry.ErrCorrupt): // it did come
	default: // who tries again is told what is wrong, and not that there was enough of it
		c.guard.giveBack(c.group, c.spent)
		c.spent = 0
	}
}

// spend lets a job begin a download of n bytes, or gives an *overdrawn.
func (g *guard) spend(group int, n int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	j, ok := g.jobs.Get(group)
	if !ok {
		j = &job{refused: -1}
		g.jobs.Add(group, j)
	}
	now := int64(g.now().Sub(g.started) / time.Second)
	had := int64(0)
	j.spent = slices.DeleteFunc(j.spent, func(s spending) bool { return s.until <= now || s.bytes == 0 })
	for _, s := range j.spent {
		had += s.bytes
	}
	if had > 0 && n > g.limit-had {
		return j.refuse(now, overdrawn{size: n, had: had, limit: g.limit})
	}
	until := now + 1 + guarded // all of this second stays for a whole minute
	if n > g.limit {
		until = now + 1 + int64(math.Ceil(guarded*float64(n)/float64(g.limit)))
	}
	if last := len(j.spent) - 1; last >= 0 && j.spent[last].until == until {
		j.spent[last].bytes += n
	} else {
		j.spent = append(j.spent, spending{until, n})
	}
	return nil
}

// refuse tells the first refusal of a minute, and how many there were since the
// last: a scanner goes on to the next file at once, and mustn't push out what else
// went wrong.
func (j *job) refuse(now int64, o overdrawn) error {
	if o.told = j.refused >= 0 && now-j.told < guarded; o.told {
		j.refused++
		return &o
	}
	o.untold = max(j.refused, 0)
	j.told, j.refused = now, 0
	left := o.had
	for _, s := range slices.SortedFunc(slices.Values(j.spent), func(a, b spending) int { return cmp.Compare(a.until, b.until) }) {
		left -= s.bytes
		o.wait = time.Duration(s.until-now) * time.Second
		if o.size <= o.limit-left {
			break
		}
	}
	return &o
}

// giveBack takes n bytes off what a job spent, the latest first.
func (g *guard) giveBack(group int, n int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	j, ok := g.jobs.Peek(group)
	if !ok {
		return
	}
	for i := len(j.spent) - 1; i >= 0 && n > 0; i-- {
		back := min(n, j.spent[i].bytes)
		j.spent[i].bytes -= back
		n -= back
	}
}

// errOverdrawn is of a read that would make more be downloaded than its job may.
var errOverdrawn = errors.New("more than --max-download allows")

// overdrawn is a refusal.
type overdrawn struct {
	size, had, limit int64         // of the blob, of the job, of any
	wait             time.Duration // until there is room
	told             bool          // that the job is refused, less than a minute ago
	untold           int           // refusals before this one
	who, of          string        // the process, and its job
}

func (o *overdrawn) Unwrap() error { return errOverdrawn }

func (o *overdrawn) Error() string {
	if o.told {
		return errOverdrawn.Error()
	}
	s := fmt.Sprintf("%s isn't let download %s: %s had %s, and --max-download allows %s a minute; there is room in %s",
		o.who, amount(o.size), o.of, amount(o.had), amount(o.limit), o.wait)
	if o.untold > 0 {
		s += fmt.Sprintf("; %d more reads were refused since this was told last", o.untold)
	}
	return s
}

// toldBefore says whether nothing new is told by an error.
func toldBefore(err error) bool {
	var o *overdrawn
	return errors.As(err, &o) && o.told
}

// describe names a thread's process, and its job by the process that leads it.
func describe(thread, group int) (who, of string) {
	if group == strangers {
		return "a program of another PID namespace, or one that has ended,", "all such programs together"
	}
	pid, name := processOf(thread)
	if pid == group {
		return processNamed(pid, name), "it and what it started"
	}
	leader, leads := processOf(group)
	return processNamed(pid, name), "the job of " + processNamed(leader, leads)
}

func processNamed(pid int, name string) string {
	if name == "" {
		return fmt.Sprintf("process %d", pid)
	}
	return fmt.Sprintf("%s (process %d)", name, pid)
}

// amount is a number of bytes for a person.
func amount(n int64) string {
	for _, u := range []struct {
		bytes float64
		name  string
	}{{1e9, "GB"}, {1e6, "MB"}, {1e3, "kB"}} {
		if float64(n) >= u.bytes {
			return fmt.Sprintf("%.3g %s", float64(n)/u.bytes, u.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
