package ingest

import "slices"

// span is the bytes of a blob from one offset up to, and not including, another.
type span struct{ from, to int64 }

func (s span) len() int64 { return s.to - s.from }

// spans are bytes of a blob: ascending, and none touches another.
type spans []span

// with gives the bytes of ss and those of s.
func (ss spans) with(s span) spans {
	if s.len() <= 0 {
		return ss
	}
	i, _ := slices.BinarySearchFunc(ss, s.from, func(a span, from int64) int {
		if a.to < from {
			return -1
		}
		return 1
	})
	j := i
	for ; j < len(ss) && ss[j].from <= s.to; j++ {
		s = span{min(s.from, ss[j].from), max(s.to, ss[j].to)}
	}
	return slices.Replace(ss, i, j, s)
}

// without gives the bytes of ss that aren't in s.
func (ss spans) without(s span) spans {
	if s.len() <= 0 {
		return ss
	}
	var out spans
	for _, a := range ss {
		if before := (span{a.from, min(a.to, s.from)}); before.len() > 0 {
			out = append(out, before)
		}
		if after := (span{max(a.from, s.to), a.to}); after.len() > 0 {
			out = append(out, after)
		}
	}
	return out
}

// meets says whether ss has a byte of s.
func (ss spans) meets(s span) bool {
	return slices.ContainsFunc(ss, func(a span) bool { return a.from < s.to && s.from < a.to })
}

// len is how many bytes those are.
func (ss spans) len() (n int64) {
	for _, a := range ss {
		n += a.len()
	}
	return n
}
