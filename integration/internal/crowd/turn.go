package crowd

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/ocifs/ocifs/integration/internal/mount"
)

// Run has every program do its work again and again until over is closed, and
// returns when the last of them is through. What is random comes from the seed.
func (c *Crowd) Run(ctx context.Context, seed uint64, over <-chan struct{}) {
	var crowd sync.WaitGroup
	for i, pr := range programs {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		crowd.Go(func() {
			for turn := 0; ; turn++ {
				select {
				case <-over:
					return
				default:
					c.turn(ctx, pr, i, turn, r, &c.Tally, false)
				}
			}
		})
	}
	crowd.Wait()
}

// Once has every program do its work once, one after another, when it is calm: then
// none may fail.
func (c *Crowd) Once(ctx context.Context, seed uint64) *Tally {
	var calm Tally
	for i, pr := range programs {
		c.turn(ctx, pr, i, 1_000_000_000, rand.New(rand.NewPCG(seed, uint64(1000+i))), &calm, true)
	}
	return &calm
}

// turn has a program do its work once.
func (c *Crowd) turn(ctx context.Context, pr program, number, turn int, r *rand.Rand, tally *Tally, calm bool) {
	w, err := os.MkdirTemp(c.o.Dir, "turn")
	if err != nil {
		c.Errorf("a turn can't begin: %v", err)
		return
	}
	env := append(slices.Clone(c.o.Env), "W="+w, "PROBE="+c.o.Probe, "QUIET="+c.o.Quiet.Host, "LC_ALL=C", "SCRIPT="+pr.script,
		fmt.Sprint("PATIENCE=", int(c.o.Patience.Seconds())))
	// Long enough for the time-out in the script to have its way first.
	limited, cancel := context.WithTimeout(ctx, c.o.Patience+30*time.Second)
	defer cancel()
	defer mount.Run(limited, env, "chmod -R u+w $W; rm -rf $W") // copies of the mount aren't writable
	var v variables
	p := push{fmt.Sprint("team/by", number), fmt.Sprint("t", turn)}
	if pr.writes {
		v, err = c.writing(r, p, w)
	} else {
		v, err = c.reading(r, pr, w)
	}
	if err != nil {
		c.Errorf("%s can't begin: %v", pr.name, err)
		return
	}
	env = append(env, v.env...)
	began := time.Now()
	got, err := mount.Run(limited, env, v.start)
	if ctx.Err() != nil {
		return // the whole crowd is to go
	}
	tally.took(pr.name, time.Since(began))
	away := c.wasAway(began, time.Now())
	switch {
	case err != nil || got.Code == 124 || got.Code == 137:
		c.Errorf("%s hangs: %v", pr.name, err)
	case got.Code != 0 && calm:
		c.Errorf("%s fails when it is calm: %s\nerrors.jsonl: %s", pr.name, got.Stderr, c.failures(limited))
	case got.Code != 0:
		errno, ok := told(pr, got.Stderr, away)
		if tally.failed(errno); !ok {
			c.Errorf("%s ends with %d after %s (outage: %t) and says\n%s", pr.name, got.Code, got.Took.Round(time.Millisecond), away, got.Stderr)
		}
	case away && pr.writes && c.tookBeside(p.repo):
		tally.failed("written beside the mount")
	default:
		if tally.went(); pr.writes {
			c.said(p, away)
		}
		if pr.right == "" {
			return
		}
		if checked, err := mount.Run(limited, env, shellFunctions+v.right+pr.right); err != nil || checked.Code != 0 {
			c.Errorf("%s says that all went well, and it is wrong: %v %s%s", pr.name, err, checked.Stdout, checked.Stderr)
		}
	}
}

// failures is the end of .ocifs/errors.jsonl.
func (c *Crowd) failures(ctx context.Context) string {
	r, err := mount.Run(ctx, c.o.Env, "tail -n 5 '"+c.o.Mountpoint+"'/.ocifs/errors.jsonl")
	if err != nil {
		return err.Error()
	}
	return r.Stdout + r.Stderr
}
