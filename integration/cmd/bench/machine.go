package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machine says where and with what was measured, a line each.
func (b *bench) machine(ctx context.Context, s settings) []string {
	version := func(script string) string {
		r, err := shell(ctx, b.env, script)
		if err != nil {
			return "of no known version"
		}
		return strings.TrimSpace(r.Stdout)
	}
	who := "an ordinary user"
	if os.Geteuid() == 0 {
		who = "root"
	}
	where := "on the disk that all share, as there is no RAM disk with room enough"
	if b.ram != "" {
		where = "on a RAM disk"
	}
	return []string{
		fmt.Sprintf("%s, %d cores, %s, %s, run by %s", time.Now().UTC().Format("2006-01-02 15:04 UTC"), runtime.NumCPU(), memTotal(), kernel(), who),
		fmt.Sprintf("ocifs %s, crane %s, oras %s, regctl %s, skopeo %s, curl %s",
			version(quote(b.ocifs)+" version | head -n 1 | sed 's/^ocifs *//'"),
			version("crane version"),
			version("oras version | sed -n 's/^Version: *//p'"),
			version("regctl version | sed -n 's/^VCSTag: *//p'"),
			version("skopeo --version | sed 's/.* //'"),
			version("curl --version | sed -n '1s/^curl \\([^ ]*\\).*/\\1/p'")),
		fmt.Sprintf("a blob has %s; rounds: %d (cdn and push: %d), in each of which every program takes its turn; medians, and in spreads the least and the most of single rounds",
			mebibytes(b.size), b.rounds, min(b.rounds, slowRounds)),
		"registry, programs and ocifs share the cores and the disk; what the registry serves, and the cache file, are in the page cache for all",
		"before each turn of the rows cold, cdn, image and push, twice the memory that it fills is used once and freed",
		"the registry of the push row keeps its content " + where,
	}
}

func memTotal() string {
	n, err := meminfo("MemTotal")
	if err != nil {
		return "memory unknown"
	}
	return fmt.Sprintf("%.0f GiB", float64(n)/(1<<30))
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "kernel unknown"
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
}
