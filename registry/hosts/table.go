package hosts

import "fmt"

// table is a table of a hosts.toml, and where it stands.
type table struct {
	file    string
	path    []string
	outline outline
	values  map[string]any
}

// errorf says what is wrong with a key.
func (t table) errorf(key, format string, args ...any) *Error {
	path := append(t.path[:len(t.path):len(t.path)], key)
	return &Error{File: t.file, Line: t.outline.line(path...), Err: fmt.Errorf(format, args...)}
}

// below gives the table at a key.
func (t table) below(key string) (table, bool, error) {
	sub := table{file: t.file, path: append(t.path[:len(t.path):len(t.path)], key), outline: t.outline}
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
