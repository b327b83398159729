package main

// nearest gives the name that a misspelt one may mean: the one that the fewest changes of a
// character lead to, if those are a third of its characters at most; else "".
func nearest(misspelt string, names []string) string {
	best, least := "", 0
	for _, name := range names {
		d := distance(misspelt, name)
		if d <= max(1, len(name)/3) && (best == "" || d < least) {
			best, least = name, d
		}
	}
	return best
}

// distance is how many characters have to be put in, left out or replaced to make b of a
// (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1) // the distances of a[:i] to b[:j]
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			d := before
			if a[i] != b[j] {
				d = 1 + min(before, row[j], row[j+1])
			}
			before, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}
