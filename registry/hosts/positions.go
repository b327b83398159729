package hosts

import (
	"fmt"
	"sort"

	"github.com/pelletier/go-toml/v2/unstable"
)

// maxDepth is how many keys deep a hosts.toml goes: host, address, header, name.
const maxDepth = 4

// positions are the order and the lines of a TOML text, which its values don't tell.
type positions struct {
	hosts  []string         // the keys below host, in the order of the text
	lines  map[string]int   // the first line of a key, by its joined path
	arrays map[string][]int // the lines of [[KEY]], by its joined path
}

func joined(path []string) string { return fmt.Sprintf("%q", path) }

// line gives the line of a key, or of the table that it would be in; 0 if there is neither.
func (o positions) line(path ...string) int {
	for ; len(path) > 0; path = path[:len(path)-1] {
		if n, ok := o.lines[joined(path)]; ok {
			return n
		}
	}
	return 0
}

// positionsOf walks a text that was parsed without an error.
func positionsOf(text []byte) positions {
	o := positions{lines: map[string]int{}, arrays: map[string][]int{}}
	var starts []int // of lines after the first
	for i, c := range text {
		if c == '\n' {
			starts = append(starts, i+1)
		}
	}
	lineOf := func(key *unstable.Node) int { return 1 + sort.SearchInts(starts, int(key.Raw.Offset)+1) }
	note := func(path []string, key *unstable.Node) []string {
		if len(path) == maxDepth {
			return path
		}
		path = append(path[:len(path):len(path)], string(key.Data))
		if _, known := o.lines[joined(path)]; !known {
			o.lines[joined(path)] = lineOf(key)
			if len(path) == 2 && path[0] == "host" {
				o.hosts = append(o.hosts, path[1])
			}
		}
		return path
	}
	var value func(path []string, n *unstable.Node)
	value = func(path []string, n *unstable.Node) {
		for it := n.Key(); it.Next(); {
			path = note(path, it.Node())
		}
		if n.Value().Kind == unstable.InlineTable && len(path) < maxDepth {
			for it := n.Value().Children(); it.Next(); {
				if it.Node().Kind == unstable.KeyValue {
					value(path, it.Node())
				}
			}
		}
	}
	var table []string
	p := unstable.Parser{}
	p.Reset(text)
	for p.NextExpression() {
		switch n := p.Expression(); n.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = nil
			line := 0
			for it := n.Key(); it.Next(); {
				table = note(table, it.Node())
				line = lineOf(it.Node())
			}
			if n.Kind == unstable.ArrayTable {
				o.arrays[joined(table)] = append(o.arrays[joined(table)], line)
			}
		case unstable.KeyValue:
			value(table, n)
		}
	}
	return o
}
