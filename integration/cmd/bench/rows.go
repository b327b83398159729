package main

import (
	"context"
	"fmt"
	"slices"
)

// plan makes a row: what it needs is pushed and mounted then, and not before.
type plan struct {
	name string
	make func(context.Context) (*row, error)
}

// plans are the rows in the order of the table.
func (b *bench) plans() []plan {
	as := func(u owner, f func(context.Context, owner) (*row, error)) func(context.Context) (*row, error) {
		return func(ctx context.Context) (*row, error) { return f(ctx, u) }
	}
	return []plan{
		{"cached", as(self, b.cachedRead)},
		{"cached-unprivileged", as(unprivileged, b.cachedRead)},
		{"random", as(self, b.cachedRandom)},
		{"random-unprivileged", as(unprivileged, b.cachedRandom)},
		{"entries", b.cachedEntries},
		{"cold", b.cold},
		{"cdn", b.cdn},
		{"image", b.layers},
		{"stream", b.firstByte},
		{"tags", b.tags},
		{"rootfs-base", b.baseFile},
		{"rootfs-top", b.topFile},
		{"rootfs-find", b.coldFind},
		{"rootfs-walk", b.warmWalk},
		{"rootfs-read", b.layerFile},
		{"rootfs-listing", b.firstListing},
		{"rootfs-entries", b.manyEntries},
		{"push", b.push},
	}
}

// memoryLimit is what a daemon may have in memory, in bytes.
const memoryLimit = 96 << 20

// memory is the verdict on the memory of all rows.
func memory(rows []*row) (verdict, bool) {
	v := verdict{Row: "memory", Goal: "<= " + mebibytes(memoryLimit), Mark: 1, Budget: true}
	var peaks []float64
	var where string
	for _, r := range rows {
		for _, w := range r.ways {
			if w.peak == 0 {
				continue
			}
			peaks = append(peaks, float64(w.peak)/memoryLimit)
			if peaks[len(peaks)-1] == slices.Max(peaks) {
				where = r.name + ", " + w.name
			}
		}
	}
	if len(peaks) == 0 {
		return v, false
	}
	v.Value, v.Least, v.Most = slices.Max(peaks), slices.Min(peaks), slices.Max(peaks)
	text := func(part float64) string { return mebibytes(int64(part * memoryLimit)) }
	v.Ours, v.Result = text(v.Most), text(v.Most)
	v.Spread = text(v.Least) + " to " + text(v.Most)
	v.Against = "at its peak in " + where
	v.State = stateOf(v.Value <= 1)
	return v, true
}

func mebibytes(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }
