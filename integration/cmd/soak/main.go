// Command soak has twenty programs read and push through one mount for minutes, while
// all that can go wrong does: the network is bad, tags move, the cache is too small and
// gets damaged, the daemon is killed or told to end at random and mounted again. In
// the end every byte that was read has to have been right, every push whole or absent,
// and nothing left of it all; see package crowd for what is promised to whom. It prints
// its figures, and ends with an error if a promise was broken.
//
// What happens to the network, the tags and the daemon comes from a seed, which is
// printed. With the same seed the same happens at the same time, but what programs and
// daemon are doing just then is their affair.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	var s soak
	flag.StringVar(&s.binary, "ocifs", "", "the program to soak")
	flag.StringVar(&s.raceBinary, "ocifs-race", "", "the same with the race detector")
	race := flag.Bool("race", false, "soak that one; then memory isn't judged")
	flag.StringVar(&s.probe, "probe", "", "the program that maps files")
	flag.StringVar(&s.tools, "tools", "", "the directory that crane, oras, regctl and umoci are in")
	minutes := flag.Float64("minutes", 5, "how long it is bad")
	flag.Uint64Var(&s.seed, "seed", 0, "the seed of what happens; 0: any")
	flag.StringVar(&s.kind, "registry", "distribution", "distribution or olareg")
	flag.Parse()
	s.lasts = time.Duration(*minutes * float64(time.Minute))
	if s.judgesMemory = !*race; *race {
		s.binary = s.raceBinary
	}
	for s.seed == 0 {
		s.seed = rand.Uint64N(1_000_000)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := s.main(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

// main prepares a directory for it all, and removes it where no promise was broken.
func (s *soak) main(ctx context.Context) (err error) {
	for _, path := range []*string{&s.binary, &s.probe, &s.tools} {
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	if s.dir, err = os.MkdirTemp("", "ocifs-soak-"); err != nil {
		return err
	}
	s.report = newReport()
	err = errors.Join(s.run(ctx), s.report.verdict())
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w\nonce more like this: make soak MINUTES=%g SEED=%d; what there is to look at is in %s", err, s.lasts.Minutes(), s.seed, s.dir)
	}
	return errors.Join(err, context.Cause(ctx), os.RemoveAll(s.dir))
}
