// Package guard bounds what each job makes the mount download within a minute, so that
// grep -r and virus scanners don't download the world.
//
// # Nouns
//
// A Guard has one limit for all jobs of a mount. A job is a process group. A Charge is what
// the downloads that were begun for one open file were counted as.
//
// # The hard part: what is one job
//
// A job is what a shell starts for one line, with all that this starts. The children of
// find, xargs, make and a script stay in it, and a scanner that a service manager or cron
// started has one of its own. Three other ways were rejected:
//
//   - The session holds all that a person does at a terminal: too much.
//   - The ancestors are too little: below a script that leads its session nobody can tell
//     where one job ends and another begins, and a parent that has ended leads nowhere.
//   - The process alone is too little: xargs starts one for each file.
//
// Programs that make groups for their children, as timeout, setsid and a shell at its prompt
// do, have them counted apart.
//
// # What counts
//
// A download counts once, for the job that made it begin, by its size and before the first
// byte is asked for. Who joins a download costs the registry nothing, nor does who reads
// what is cached. Manifests are free.
//
// A job that has had nothing may begin a blob of any size: a limit mustn't make files
// unreadable. A blob larger than the limit counts for as many minutes as it is worth.
package guard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/fs/internal/caller"
	"github.com/ocifs/ocifs/registry"
)

const (
	// window is how long what a job made be downloaded counts, in seconds.
	window = 60
	// maxJobs is how many jobs a guard knows. Those that downloaded nothing for longest go.
	maxJobs = 1024
)

// Guard bounds the downloads of jobs. It is safe for concurrent use. A nil Guard refuses
// nothing.
type Guard struct {
	limit   int64 // bytes a minute
	started time.Time
	now     func() time.Time

	mu   sync.Mutex                // guards jobs, and all that is in it
	jobs *simplelru.LRU[int, *job] // by process group; strangers are one
}

// job is what a guard knows of one job. Guard.mu guards it.
type job struct {
	spent   []spending // at most one for each second of a minute, and a large one
	told    int64      // the second in which a refusal was last told
	refused int        // reads since, of which nothing was told; -1: none was ever refused
}

// spending is what was spent within one second, and when it ends to count: in seconds of the
// guard's clock.
type spending struct{ until, bytes int64 }

// New gives a guard of a limit in bytes a minute. Without one (0 or less) it is nil.
func New(limit int64) (*Guard, error) {
	if limit <= 0 {
		return nil, nil
	}
	jobs, err := simplelru.NewLRU[int, *job](maxJobs, nil)
	if err != nil {
		return nil, err
	}
	return &Guard{limit: limit, started: time.Now(), now: time.Now, jobs: jobs}, nil
}

// Payer is a caller with the job that it is of. The job is asked for once: the caller's thread
// may have ended when a download begins, and its number be another's. The zero value is the
// mount itself, which pays nothing: it reads metadata, or what was let in when it was written.
type Payer struct {
	by  caller.Caller
	job int
}

// PayerOf gives the payer for what a caller makes be downloaded.
func PayerOf(by caller.Caller) Payer {
	if !by.Program {
		return Payer{}
	}
	return Payer{by, by.Job()}
}

// Charge is what the downloads that were begun for one payer were counted as. It is safe for
// concurrent use.
type Charge struct {
	guard *Guard // nil: nothing is counted
	payer Payer
	size  int64 // of the blob, in bytes

	mu    sync.Mutex // guards spent; before Guard.mu
	spent int64      // bytes
}

// Charge gives the charge of a payer for a blob of a size.
func (g *Guard) Charge(p Payer, size int64) *Charge {
	if !p.by.Program {
		g = nil
	}
	return &Charge{guard: g, payer: p, size: size}
}

// Begin lets a download begin, or gives an error of kind ErrOverdrawn.
func (c *Charge) Begin(context.Context) error {
	if c.guard == nil {
		return nil
	}
	if err := c.guard.spend(c.payer.job, c.size); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spent += c.size
	return nil
}

// Settle takes note of how a read ended, whose context is ctx. What couldn't be downloaded is
// given back: a caller that tries again is told what is wrong, and not that it had enough.
func (c *Charge) Settle(ctx context.Context, err error) {
	if c.guard == nil || err == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var o *overdrawn
	switch {
	case errors.As(err, &o):
		if !o.told {
			o.who, o.of = c.payer.by.Describe()
		}
	case ctx.Err() != nil: // the download goes on for a while
	case errors.Is(err, cache.ErrMismatch) || errors.Is(err, registry.ErrCorrupt): // it did come
	default:
		c.guard.giveBack(c.payer.job, c.spent)
		c.spent = 0
	}
}

// spend lets a job begin a download of n bytes, or gives an *overdrawn.
func (g *Guard) spend(group int, n int64) error {
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
	until := now + 1 + window // all of this second stays for a whole minute
	if n > g.limit {
		until = now + 1 + int64(math.Ceil(window*float64(n)/float64(g.limit)))
	}
	if last := len(j.spent) - 1; last >= 0 && j.spent[last].until == until {
		j.spent[last].bytes += n
	} else {
		j.spent = append(j.spent, spending{until, n})
	}
	return nil
}

// refuse gives the error of a refusal in the second now. The first of a minute is told, with
// the number of refusals since the last that was: a scanner goes on to the next file at once,
// and mustn't push out what else went wrong.
func (j *job) refuse(now int64, o overdrawn) error {
	if o.told = j.refused >= 0 && now-j.told < window; o.told {
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
func (g *Guard) giveBack(group int, n int64) {
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

// ErrOverdrawn is the kind of error of a read that would make more be downloaded than its job
// may.
var ErrOverdrawn = errors.New("more than --max-download allows")

// overdrawn is a refusal.
type overdrawn struct {
	size, had, limit int64         // bytes: of the blob, of the job, of any job
	wait             time.Duration // until there is room
	told             bool          // that the job is refused, less than a minute ago
	untold           int           // refusals before this one
	who, of          string        // the process, and its job
}

func (o *overdrawn) Unwrap() error { return ErrOverdrawn }

func (o *overdrawn) Error() string {
	if o.told {
		return ErrOverdrawn.Error()
	}
	s := fmt.Sprintf("%s isn't let download %s: %s had %s, and --max-download allows %s a minute; there is room in %s",
		o.who, amount(o.size), o.of, amount(o.had), amount(o.limit), o.wait)
	if o.untold > 0 {
		s += fmt.Sprintf("; %d more reads were refused since this was told last", o.untold)
	}
	return s
}

// ToldBefore says whether an error tells nothing new: a refusal of its job was told less than
// a minute ago.
func ToldBefore(err error) bool {
	var o *overdrawn
	return errors.As(err, &o) && o.told
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
