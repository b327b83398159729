package hosts

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// table is a table of a TOML file, and where it stands.
type table struct {
	file      string
	path      []string // the keys that lead to it
	start     int      // the line of an item of an array of tables; 0: positions has the lines
	positions positions
	values    map[string]any
}

// parseTable parses the text of a file: the root table. An error is an *Error.
func parseTable(file string, text []byte) (table, error) {
	values := map[string]any{}
	if err := toml.Unmarshal(text, &values); err != nil {
		line := 0
		if d := (*toml.DecodeError)(nil); errors.As(err, &d) {
			line, _ = d.Position()
		}
		return table{}, &Error{File: file, Line: line, Err: errors.New(strings.TrimPrefix(err.Error(), "toml: "))}
	}
	return table{file: file, positions: positionsOf(text), values: values}, nil
}

// line gives the line of a key.
func (t table) line(key string) int {
	if t.start > 0 {
		return t.start
	}
	return t.positions.line(append(t.path[:len(t.path):len(t.path)], key)...)
}

// errorf says what is wrong with a key.
func (t table) errorf(key, format string, args ...any) *Error {
	return &Error{File: t.file, Line: t.line(key), Err: fmt.Errorf(format, args...)}
}

// unknownKeys gives a warning for each key that isn't known. kind is the name of the file's
// kind.
func (t table) unknownKeys(kind string, known []string) (warnings []*Error) {
	for _, k := range slices.Sorted(maps.Keys(t.values)) {
		if !slices.Contains(known, k) {
			warnings = append(warnings, t.errorf(k, "%s: %q means nothing here", kind, k))
		}
	}
	return warnings
}

// below gives the table at a key.
func (t table) below(key string) (table, bool, error) {
	sub := table{file: t.file, path: append(t.path[:len(t.path):len(t.path)], key), start: t.start, positions: t.positions}
	v, ok := t.values[key]
	if !ok {
		return sub, false, nil
	}
	if sub.values, ok = v.(map[string]any); !ok {
		return sub, false, t.errorf(key, "%s must be a table", key)
	}
	return sub, true, nil
}

// text gives the string at a key.
func (t table) text(key string) (string, bool, error) {
	v, ok := t.values[key]
	if !ok {
		return "", false, nil
	}
	s, ok := v.(string)
	if !ok {
		return "", false, t.errorf(key, "%s must be a string", key)
	}
	return s, true, nil
}

func (t table) flag(key string) (bool, error) {
	v, ok := t.values[key]
	if !ok {
		return false, nil
	}
	b, ok := v.(bool)
	if !ok {
		return false, t.errorf(key, "%s must be true or false", key)
	}
	return b, nil
}

// list gives the strings of the list at a key.
func (t table) list(key string) ([]string, error) {
	if _, lone := t.values[key].(string); lone {
		return nil, t.errorf(key, "%s must be a list of strings", key)
	}
	return t.texts(key, t.values[key])
}

// texts gives the strings of v, which is one or a list of them and stands at key.
func (t table) texts(key string, v any) ([]string, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		return []string{v}, nil
	case []any:
		all := make([]string, 0, len(v))
		for _, item := range v {
			s, ok := item.(string)
			if !ok {
				return nil, t.errorf(key, "%s must hold strings alone", key)
			}
			all = append(all, s)
		}
		return all, nil
	default:
		return nil, t.errorf(key, "%s must be a string or a list of strings", key)
	}
}

// tables gives the items of the array of tables at a key. lines has their lines, in the order
// of the text; where it has too few, as for an array in one line, the line of the key counts.
func (t table) tables(key string, lines []int) ([]table, error) {
	v, ok := t.values[key]
	if !ok {
		return nil, nil
	}
	items, ok := v.([]any)
	if !ok {
		return nil, t.errorf(key, "%s must be an array of tables: [[%s]]", key, strings.Join(append(t.path, key), "."))
	}
	var all []table
	for i, item := range items {
		values, ok := item.(map[string]any)
		if !ok {
			return nil, t.errorf(key, "%s must be an array of tables: [[%s]]", key, strings.Join(append(t.path, key), "."))
		}
		sub := table{file: t.file, path: append(t.path[:len(t.path):len(t.path)], key), start: t.line(key), positions: t.positions, values: values}
		if i < len(lines) {
			sub.start = lines[i]
		}
		all = append(all, sub)
	}
	return all, nil
}
