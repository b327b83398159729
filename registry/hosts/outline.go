package hosts

import (
	"fmt"
	"sort"

	"github.com/pelletier/go-toml/v2/unstable"
)

// maxDepth is how deep hosts.toml goes: host, address, header, name.
const maxDepth = 4

// outline is what a map doesn't say of a TOML text: in which order the tables below
// host came, and on which lines things stand.
type outline struct {
	hosts []string
	lines map[string]int // by joined path
}

func joined(path []string) string { return fmt.Sprintf("%q", path) }

// line gives the line of path, or of what it is in; 0 for what isn't there.
func (o outline) line(path ...string) int {
	for ; len(path) > 0; path = path[:len(path)-1] {
		if n, ok := o.lines[joined(path)]; ok {
			return n
		}
	}
	return 0
}

// outlineOf walks a text that was decoded without an error.
func outlineOf(text []byte) outline {
	o := outline{lines: map[string]int{}}
	var starts []int // of lines after the first
	for i, c := range text {
		if c == '\n' {
			starts = append(starts, i+1)
		}
	}
	note := func(path []string, key *unstable.Node) []string {
		if len(path) == maxDepth {
			return path
		}
		path = append(path[:len(path):len(path)], string(key.Data))
		if _, known := o.lines[joined(path)]; !known {
			o.lines[joined(path)] = 1 + sort.SearchInts(starts, int(key.Raw.Offset)+1)
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
			for it := n.Key(); it.Next(); {
				table = note(table, it.Node())
			}
		case unstable.KeyValue:
			value(table, n)
		}
	}
	return o
}
