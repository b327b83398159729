package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
)

// settings are what the flags say.
type settings struct {
	ocifs, tools, out string
	size              int64
	rounds            int
	rows              *regexp.Regexp
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case len(os.Args) == 4 && os.Args[1] == "serve":
		err = serve(context.Background(), os.Args[2], os.Args[3]) // it ends with its parent
	case len(os.Args) == 4 && os.Args[1] == "loopback":
		err = loopback(os.Args[2], os.Args[3]) // so does this
	case len(os.Args) > 1 && os.Args[1] == "probe":
		err = probe(os.Args[2:])
	default:
		err = run(ctx, flags())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func flags() settings {
	s := settings{rows: regexp.MustCompile("")}
	flag.StringVar(&s.ocifs, "ocifs", "", "the program to measure")
	flag.StringVar(&s.tools, "tools", "", "the directory that crane, oras and regctl are in")
	flag.StringVar(&s.out, "out", ".", "the directory for bench.md, bench.json, bench.txt, bench.png and bench.svg")
	flag.Int64Var(&s.size, "size", 1<<30, "of a blob, in bytes")
	flag.IntVar(&s.rounds, "rounds", 5, "how often each program takes its turn, at most")
	flag.Func("rows", "a regular expression of the rows to measure; without it all", func(text string) (err error) {
		s.rows, err = regexp.Compile(text)
		return err
	})
	quick := flag.Bool("quick", false, "16 MiB and 2 rounds, unless they are given: to see that everything works")
	flag.Parse()
	if *quick {
		given := map[string]bool{}
		flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
		if !given["size"] {
			s.size = 16 << 20
		}
		if !given["rounds"] {
			s.rounds = 2
		}
	}
	return s
}

// run measures, and writes what came of it, also where it was interrupted.
func run(ctx context.Context, s settings) (err error) {
	b, err := newBench(s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	plans, err := chosen(b.plans(), s.rows)
	if err != nil {
		return err
	}
	p := report{Machine: b.machine(ctx, s)}
	var rows []*row
	for _, plan := range plans {
		if ctx.Err() != nil {
			break
		}
		r, err := b.measure(ctx, plan)
		if err != nil {
			p.Verdicts = append(p.Verdicts, verdict{Row: plan.name, State: unmeasured, Why: firstLine(err.Error())})
			continue
		}
		rows = append(rows, r)
		p.add(r)
	}
	if v, ok := memory(rows); ok {
		p.Verdicts = append(p.Verdicts, v)
	}
	return errors.Join(p.write(os.Stdout, s.out), ctx.Err())
}

// chosen gives the plans of the rows whose names match. A pattern of no row is an error.
func chosen(all []plan, rows *regexp.Regexp) (plans []plan, err error) {
	var names []string
	for _, p := range all {
		names = append(names, p.name)
		if rows.MatchString(p.name) {
			plans = append(plans, p)
		}
	}
	if len(plans) == 0 {
		return nil, fmt.Errorf("-rows %q: there is no such row; the rows are %s", rows, strings.Join(names, ", "))
	}
	return plans, nil
}

// measure makes a row, measures it, and ends it.
func (b *bench) measure(ctx context.Context, p plan) (_ *row, err error) {
	fmt.Fprintf(os.Stderr, "bench: %s: making what it needs\n", p.name)
	r, err := p.make(ctx)
	if err != nil {
		return nil, err
	}
	if r.done != nil {
		defer func() { err = errors.Join(err, r.done()) }()
	}
	r.name = p.name
	return r, b.turns(ctx, r)
}
