package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ocifs/ocifs/integration/internal/crowd"
	"github.com/ocifs/ocifs/integration/internal/mount"
	"github.com/ocifs/ocifs/integration/internal/network"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

const (
	// tagTTL is short, so that tags are asked for again and again, and cacheSize small,
	// so that blobs are.
	tagTTL    = time.Second
	cacheSize = 8 << 20
	// moving is how many tags move, and big a blob that the cache can't hold.
	moving = 4
	big    = 12 << 20
	// patience is longer than what one program may wait in a bad network and two outages.
	patience = 4 * time.Minute
	// every is how often there is a line.
	every = 10 * time.Second
)

// soak is one run.
type soak struct {
	binary, raceBinary, probe, tools, kind string

	seed         uint64
	lasts        time.Duration
	judgesMemory bool

	dir     string // for all that it makes
	report  *report
	network *network.Proxy
	crowd   *crowd.Crowd
	keeper  *keeper

	mu      sync.Mutex
	weather string
	moves   int
}

// run sets everything up, has the plan happen, and looks at what is left.
func (s *soak) run(ctx context.Context) (err error) {
	s.report.Logf("seed %d, for %s, %s, a cache of %d MiB", s.seed, s.lasts, s.kind, cacheSize>>20)
	o := mount.Options{
		Binary: s.binary, Env: []string{"GOTRACEBACK=all"},
		Dir: filepath.Join(s.dir, "mnt"), Cache: filepath.Join(s.dir, "cache"), Home: filepath.Join(s.dir, "home"),
		Flags: []string{"--tag-ttl", tagTTL.String(), "--list-ttl", tagTTL.String(), "--cache-size", fmt.Sprint(cacheSize)},
	}
	work := filepath.Join(s.dir, "work")
	for _, d := range []string{o.Dir, o.Cache, o.Home, work} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	beneath, err := os.OpenRoot(o.Dir)
	if err != nil {
		return err
	}
	defer beneath.Close()
	registry, err := s.start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, registry.Close()) }()
	quiet, err := registries.Olareg(registries.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, quiet.Close()) }()
	if s.network, err = network.New(registry.Host, s.seed); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.network.Close()) }()
	s.crowd, err = crowd.New(ctx, s.report, crowd.Options{
		Registry: registry, Quiet: quiet, Host: s.network.Host, Mountpoint: o.Dir, Env: mount.Env(o.Home, s.tools),
		Beneath: beneath, Probe: s.probe, Dir: work, Moving: moving, Big: big, Patience: patience,
	})
	if err != nil {
		return err
	}
	s.keeper = &keeper{o: o, crowd: s.crowd, report: s.report}
	if err := s.keeper.mount(ctx); err != nil {
		return err
	}
	// Whatever happens, nothing stays mounted.
	defer func() { s.keeper.now().Kill() }()
	if err := s.crowd.FirstLook(ctx); err != nil {
		return err
	}
	before, err := s.crowd.Holds(ctx, s.keeper.now())
	if err != nil {
		return err
	}
	if err := s.happen(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	return s.judge(ctx, before)
}

// start starts the registry that all is about.
func (s *soak) start(ctx context.Context) (*registries.Server, error) {
	switch s.kind {
	case "distribution":
		return registries.Distribution(context.WithoutCancel(ctx), registries.Options{Dir: filepath.Join(s.dir, "registry")})
	case "olareg":
		return registries.Olareg(registries.Options{})
	}
	return nil, fmt.Errorf("--registry is distribution or olareg, not %q", s.kind)
}

// happen has the programs work while the plan happens, and returns when the last of
// them is through and it is calm. Its error is that of a mount that couldn't be.
func (s *soak) happen(ctx context.Context) error {
	p := newPlan(s.seed, s.lasts)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	began := time.Now()
	follow := func(steps []step, do func(step)) {
		for _, st := range steps {
			if wait(ctx, time.Until(began.Add(st.at))); ctx.Err() != nil {
				return
			}
			do(st)
		}
	}
	over := make(chan struct{})
	var crowd, plans, lines sync.WaitGroup
	crowd.Go(func() { s.crowd.Run(ctx, s.seed, over) })
	lines.Go(func() { s.tell(over) })
	plans.Go(func() { follow(p.weather, func(st step) { s.becomes(ctx, st) }) })
	plans.Go(func() { follow(p.tags, func(st step) { s.moveTag(ctx, st.pick) }) })
	plans.Go(func() {
		follow(p.daemon, func(st step) {
			s.report.Logf("%s", st.do)
			if err := s.keeper.end(ctx, st); err != nil {
				cancel(err)
			}
		})
	})
	plans.Wait()
	wait(ctx, time.Until(began.Add(s.lasts)))
	s.becomes(ctx, step{do: "calm"})
	close(over)
	crowd.Wait()
	lines.Wait()
	s.keeper.leaving.Wait()
	return context.Cause(ctx)
}

// becomes changes the weather.
func (s *soak) becomes(ctx context.Context, st step) {
	s.mu.Lock()
	s.weather = st.do
	s.mu.Unlock()
	switch st.do {
	case down:
		s.network.Down()
		wait(ctx, st.pause)
		if err := s.network.Up(); err != nil {
			s.report.Errorf("%v", err)
		}
	case "calm":
		s.network.Calm()
	default:
		s.network.Weather(weathers[st.do])
	}
}

func (s *soak) moveTag(ctx context.Context, pick int) {
	if err := s.crowd.Move(ctx, pick%moving, pick/moving); err != nil {
		if ctx.Err() == nil {
			s.report.Errorf("moving a tag: %v", err)
		}
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moves++
}

// tell prints a line every now and then.
func (s *soak) tell(over <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-over:
			return
		case <-tick.C:
		}
		s.keeper.measure()
		if n%int(every/time.Second) > 0 {
			continue
		}
		ok, failed := s.crowd.Tally.Turns()
		done, tried := s.crowd.Pushes()
		f, d := s.network.Figures(), s.keeper.got()
		s.mu.Lock()
		s.report.Logf("%d turns ok, failed %v, %d of %d pushes, %d moves, %d killed, %d told, %s, %d connections, %d MiB",
			ok, failed, done, tried, s.moves, d.killed, d.told, s.weather, f.Connections, f.Bytes>>20)
		s.mu.Unlock()
	}
}
