// Command bench measures reads through ocifs against the wire and the disk: a
// cold blob against curl to a file, and a cached one against the cache file
// itself; and what is pushed through it against the programs that push. The peers take turns in one run; what counts is the ratio of the
// medians, as machines differ and are noisy.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/mount"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

func main() {
	binary := flag.String("ocifs", "", "the program to measure")
	tools := flag.String("tools", "", "the directory that crane and oras are in")
	size := flag.Int64("size", 1<<30, "of the blob, in bytes")
	rounds := flag.Int("rounds", 5, "how often each is measured")
	flag.Parse()
	if err := run(context.Background(), *binary, *tools, *size, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, binary, tools string, size int64, rounds int) (err error) {
	if binary, err = filepath.Abs(binary); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "ocifs-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	registry, err := registries.Distribution(ctx, registries.Options{Dir: filepath.Join(dir, "registry")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, registry.Close()) }()
	repo, err := content.To(registry.Host, "bench/blob", "", "")
	if err != nil {
		return err
	}
	blob, err := repo.Stream(ctx, "application/octet-stream", size, func() io.Reader { return content.Noise(1, size) })
	if err != nil {
		return err
	}
	b := &bench{dir: dir, binary: binary, tools: tools, size: size, hex: blob.Digest.Encoded(), host: registry.Host}
	var curl, cold, file, warm []time.Duration
	var peak int64
	for range rounds {
		url := "http://" + registry.Host + "/v2/bench/blob/blobs/" + blob.Digest.String()
		d, err := b.time(ctx, "curl -sf -o "+filepath.Join(dir, "curl.out")+" "+url)
		if err != nil {
			return err
		}
		curl = append(curl, d)
		round, err := b.mounted(ctx)
		if err != nil {
			return err
		}
		cold, file, warm, peak = append(cold, round.cold), append(file, round.file), append(warm, round.warm), max(peak, round.peak)
	}
	fmt.Printf("a blob of %d MiB, %d rounds in turns, medians (least to most)\n\n", size>>20, rounds)
	b.table([]row{{"curl to a file", curl}, {"cold: cat through ocifs, verified", cold}, {"the cache file itself", file}, {"cached: cat through ocifs", warm}})
	fmt.Printf("\ncold against curl to a file:       %.2f\n", float64(median(curl))/float64(median(cold)))
	fmt.Printf("cached against the cache file:     %.2f\n", float64(median(file))/float64(median(warm)))
	fmt.Printf("memory of the daemon at its peak:  %d MiB\n\n", peak>>20)
	return b.pushes(ctx, rounds)
}

// row is how long one way took, round by round.
type row struct {
	what string
	took []time.Duration
}

// table prints rows, and sorts their times.
func (b *bench) table(rows []row) {
	fmt.Printf("%-36s %10s  %s\n", "what", "MB/s", "spread")
	for _, r := range rows {
		slices.Sort(r.took)
		fmt.Printf("%-36s %10.0f  %.0f to %.0f\n", r.what, b.speed(median(r.took)), b.speed(r.took[len(r.took)-1]), b.speed(r.took[0]))
	}
}

func median(sorted []time.Duration) time.Duration { return sorted[len(sorted)/2] }

type bench struct {
	dir, binary, tools, hex, host string
	size                          int64
}

func (b *bench) speed(d time.Duration) float64 { return float64(b.size) / 1e6 / d.Seconds() }

// time runs a script and says how long it took.
func (b *bench) time(ctx context.Context, script string) (time.Duration, error) {
	r, err := mount.Run(ctx, nil, script)
	if err == nil && r.Code != 0 {
		err = fmt.Errorf("%s: exit code %d: %s", script, r.Code, r.Stderr)
	}
	return r.Took, err
}

// options are those of a mount with an empty cache.
func (b *bench) options() (mount.Options, error) {
	o := mount.Options{Binary: b.binary, Dir: filepath.Join(b.dir, "mnt"), Cache: filepath.Join(b.dir, "cache"), Home: filepath.Join(b.dir, "home")}
	for _, d := range []string{o.Dir, o.Cache, o.Home} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return o, err
		}
	}
	return o, nil
}

// round is what one mount with an empty cache gave.
type round struct {
	cold, file, warm time.Duration
	peak             int64
}

func (b *bench) mounted(ctx context.Context) (r round, err error) {
	o, err := b.options()
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(o.Cache)
	m, err := mount.Start(ctx, o)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, m.Unmount()) }()
	path := filepath.Join(o.Dir, strings.ReplaceAll(b.host, ":", "_"), "bench/blob/blobs/sha256", b.hex)
	cached := filepath.Join(o.Cache, "v1/blobs/sha256", b.hex[:2], b.hex)
	read := func(path string) (time.Duration, error) { return b.time(ctx, "cat "+path+" >/dev/null") }
	if r.cold, err = read(path); err != nil {
		return r, err
	}
	if r.file, err = read(cached); err != nil {
		return r, err
	}
	if r.warm, err = read(path); err != nil {
		return r, err
	}
	r.peak, err = mount.PeakMemory(m.PID())
	return r, err
}
