package rootfs

import (
	"bytes"
	"fmt"
	"os"
	"testing"
)

// BenchmarkList lists a directory of 100,000 files, in an index that is a file.
func BenchmarkList(b *testing.B) {
	var items []item
	for i := range 100_000 {
		items = append(items, item(fmt.Sprintf("many/f%d=", (i*7919)%100_000)))
	}
	var entries []ent
	for _, e := range items {
		entries = append(entries, e.ent(b))
	}
	raw := archive(b, entries...)
	enc, err := encoded(bytes.NewReader(raw), raw)
	if err != nil {
		b.Fatal(err)
	}
	f, err := os.CreateTemp(b.TempDir(), "")
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(enc); err != nil {
		b.Fatal(err)
	}
	x, err := Open(f, int64(len(enc)))
	if err != nil {
		b.Fatal(err)
	}
	for _, n := range []int{1, 60} {
		b.Run(fmt.Sprintf("layers-%d", n), func(b *testing.B) {
			m := &image{}
			for range n {
				m.layers = append(m.layers, &layer{raw, x})
			}
			b.ReportAllocs()
			for b.Loop() {
				d := dirAt(b, NewTree(m, TreeOptions{}), "many")
				if all, err := d.List(b.Context()); err != nil || len(all) != 100_000 {
					b.Fatal(len(all), err)
				}
			}
		})
	}
}
