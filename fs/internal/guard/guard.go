// Package guard limits what each job may download through the mount within a minute, so that grep
// -r and virus scanners don't download everything.
//
// # Nouns
//
// A Guard has one limit for all jobs of a mount. A job is a process group. A Charge counts the
// downloads that began for one open file.
//
// # The hard part: what one job is
//
// A job is what a shell starts for one line, and everything that this starts in turn. The
// children of find, xargs, make and a script stay in the job. A scanner that a service manager or
// cron starts has a job of its own. Three other ways were rejected:
//
//   - The session has everything that a person does at a terminal, which is too much.
//   - The ancestors are too little: below a script that leads its session, nobody can tell where one
//     job ends and another begins, and a parent that has ended leads nowhere.
//   - The process alone is too little: xargs starts one for each file.
//
// Some programs make process groups for their children: timeout, setsid, and a shell at its
// prompt. Each of these groups is counted by itself.
//
// # What counts
//
// A download counts once, with its size, for the job that made it begin, before the first byte is
// requested. A job that joins a download costs the registry nothing, and neither does one that
// reads cached bytes. Manifests are free.
//
// A job with no downloads may begin a blob of any size, because a limit mustn't make files
// unreadable. A blob larger than the limit counts for several minutes: its size divided by the
// limit.
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

	"github.com/dustin/go-humanize"
	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/fs/internal/caller"
	"github.com/ocifs/ocifs/registry"
)

const (
	// window is how long a download counts, in seconds.
	window = 60
	// maxJobs is how many jobs a guard knows. It drops those without downloads for longest.
	maxJobs = 1024
)

// Guard limits the downloads of jobs. It is safe for concurrent use. A nil Guard refuses nothing.
type Guard struct {
	limit   int64 // in bytes per minute
	started time.Time
	now     func() time.Time

	mu   sync.Mutex                // guards jobs, and everything in it
	jobs *simplelru.LRU[int, *job] // by process group; Strangers are one job
}

// job is what a guard knows of one job. Guard.mu guards it.
type job struct {
	// spent has at most one entry for each second of a minute, and one for a large blob.
	spent []spending
	// told is the second, by the guard's clock, of the last refusal that was reported.
	told int64
	// refused counts the refusals since then, which weren't reported; -1: none was ever
	// refused.
	refused int
}

// spending is the bytes that a job spent within one second. until is when they stop counting, in
// seconds of the guard's clock.
type spending struct{ until, bytes int64 }

// New makes a guard with a limit in bytes per minute. For a limit of 0 or less it gives nil.
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

// Payer is a caller and its job. The job is looked up once, because the caller's thread may have
// ended when a download begins, and its number may belong to another thread. The zero value is
// the mount itself, which pays nothing: it reads metadata, or content that was paid for when it
// was written.
type Payer struct {
	by  caller.Caller
	job int
}

// PayerOf gives the payer for the downloads of a caller.
func PayerOf(by caller.Caller) Payer {
	if !by.Program {
		return Payer{}
	}
	return Payer{by, by.Job()}
}

// Charge counts the downloads that began for one payer and one blob. It is safe for concurrent
// use.
type Charge struct {
	guard *Guard // nil: nothing is counted
	payer Payer
	size  int64 // of the blob, in bytes

	// mu guards the fields below. It comes before Guard.mu in the lock order.
	mu      sync.Mutex
	spent   int64 // in bytes
	refused bool  // a download was refused
}

// Charge makes the charge of a payer for a blob of size bytes.
func (g *Guard) Charge(p Payer, size int64) *Charge {
	if !p.by.Program {
		g = nil
	}
	return &Charge{guard: g, payer: p, size: size}
}

// Begin counts a download that begins. It fails with ErrOverdrawn if the job has had too much.
func (c *Charge) Begin(context.Context) error {
	if c.guard == nil {
		return nil
	}
	err := c.guard.spend(c.payer.job, c.size)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.refused = true
		return err
	}
	c.spent += c.size
	return nil
}

// Refused says whether a download was refused to this payer. An ErrOverdrawn of a charge that
// wasn't refused is that of another payer, whose download was joined.
func (c *Charge) Refused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refused
}

// Settle notes how a read with the context ctx ended. If the blob couldn't be downloaded, Settle
// gives its bytes back to the job. A caller that tries again then gets the real error, and not
// ErrOverdrawn.
func (c *Charge) Settle(ctx context.Context, err error) {
	if c.guard == nil || err == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var o *overdrawn
	switch {
	case errors.As(err, &o):
		if !o.told && c.refused {
			o.who, o.of = c.payer.by.Describe()
		}
	case ctx.Err() != nil: // the download goes on for a while
	case errors.Is(err, cache.ErrMismatch) || errors.Is(err, registry.ErrCorrupt):
		// The bytes did come, so they count.
	default:
		c.guard.giveBack(c.payer.job, c.spent)
		c.spent = 0
	}
}

// spend counts a download of n bytes for a job, or gives an *overdrawn.
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
		return j.refuse(now, overdrawn{guard: g, job: j, size: n, had: had, limit: g.limit})
	}
	until := now + 1 + window // a whole minute after the end of this second
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

// refuse makes the error of a refusal in the second now.
func (j *job) refuse(now int64, o overdrawn) error {
	if o.told = j.toldAt(now); o.told {
		j.refused++
		return &o
	}
	o.untold = max(j.refused, 0)
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

// toldAt says whether a refusal was reported less than a minute before the second now.
func (j *job) toldAt(now int64) bool { return j.refused >= 0 && now-j.told < window }

// giveBack takes n bytes off what a job spent, the latest bytes first.
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

// ErrOverdrawn is the error of a read whose download would exceed what its job may download.
var ErrOverdrawn = errors.New("more than --max-download allows")

// overdrawn describes one refusal.
type overdrawn struct {
	guard *Guard
	job   *job
	// size is that of the blob, had is what the job had, limit is that of any job. All are in
	// bytes.
	size, had, limit int64
	wait             time.Duration // until the job has room for the blob
	told             bool          // a refusal of the job was reported less than a minute before
	untold           int           // refusals since the last report
	who, of          string        // the process and its job, in words
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

// ToldBefore is called when an error is about to be reported. It says whether the error needs no
// report, because a refusal of the same job was reported less than a minute ago. Only the first
// refusal in a minute is reported, with the number of refusals since the last report: a scanner
// goes on to the next file at once, and mustn't push other errors out of the log. A refusal that
// reaches nobody, as of a layer that is unpacked in advance, is none that was reported.
func ToldBefore(err error) bool {
	var o *overdrawn
	return errors.As(err, &o) && (o.told || o.guard.toldBefore(o.job))
}

// toldBefore notes that a refusal of a job is reported now, unless one was less than a minute ago.
func (g *Guard) toldBefore(j *job) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := int64(g.now().Sub(g.started) / time.Second)
	if j.toldAt(now) {
		j.refused++
		return true
	}
	j.told, j.refused = now, 0
	return false
}

// amount gives a number of bytes for a person, in powers of 1000, as --max-download is usually
// given.
func amount(n int64) string { return humanize.Bytes(uint64(max(n, 0))) }

// payerKey is the key of a Payer in a context.
type payerKey struct{}

// WithPayer gives a context whose downloads are charged to p, for calls that lead through packages
// that know no payers.
func WithPayer(ctx context.Context, p Payer) context.Context {
	return context.WithValue(ctx, payerKey{}, p)
}

// PayerIn gives the payer of a context. A context without one is the mount's own.
func PayerIn(ctx context.Context) Payer {
	p, _ := ctx.Value(payerKey{}).(Payer)
	return p
}
