package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
	"github.com/spf13/pflag"
)

// systemConfig is the file of settings for all users.
const systemConfig = "/etc/ocifs/config.toml"

// sources are the places beside the command line where settings are looked for.
type sources struct {
	environ []string // NAME=VALUE; of a name that comes twice, the first counts
	files   []string // config.toml files, the one that goes before others first
}

// usualSources are this process' environment, the user's file and the system's.
func usualSources() sources {
	s := sources{environ: os.Environ()}
	if dir := configDir(); dir != "" && filepath.Join(dir, "config.toml") != systemConfig {
		s.files = append(s.files, filepath.Join(dir, "config.toml"))
	}
	s.files = append(s.files, systemConfig)
	return s
}

// lookup gives a variable of the environment. An empty one counts as not set.
func (s sources) lookup(name string) (string, bool) {
	for _, pair := range s.environ {
		if n, v, _ := strings.Cut(pair, "="); n == name {
			return v, v != ""
		}
	}
	return "", false
}

// load gives each setting that the command has a flag for its value: the flag's, which is parsed
// already, else the environment's, else that of the user's file, else that of the system's file,
// else the default. All keys of the files are checked, whichever command reads them.
func (s *settings) load(f *pflag.FlagSet) error { return s.loadFrom(f, usualSources()) }

func (s *settings) loadFrom(f *pflag.FlagSet, from sources) error {
	var files []map[string]assignment
	for _, path := range from.files {
		file, err := readConfig(path)
		if err != nil {
			return usageError{err}
		}
		files = append(files, file)
	}
	for _, row := range table {
		flag := f.Lookup(row.name)
		if flag == nil {
			continue
		}
		if flag.Changed {
			s.from[row.name] = "--" + row.name
		}
		if _, ok := s.from[row.name]; ok {
			continue
		}
		if v, ok := from.lookup(row.variable()); ok && row.places&byEnvironment != 0 {
			if err := s.assign(row, assignment{row.variable(), split(row, v)}); err != nil {
				return usageError{err}
			}
			continue
		}
		for _, file := range files {
			if a, ok := file[row.name]; ok {
				if err := s.assign(row, a); err != nil {
					return usageError{err}
				}
				break
			}
		}
	}
	return nil
}

// assignment is a value for a setting, as it is written somewhere.
type assignment struct {
	from   string   // where, as errors name it
	values []string // as value.Set reads them; of all settings but lists it is one
}

// assign sets a setting.
func (s *settings) assign(row setting, a assignment) error {
	v := row.value(s)
	for _, text := range a.values {
		if err := v.Set(text); err != nil {
			return fmt.Errorf("%s: %w", a.from, err)
		}
	}
	s.from[row.name] = a.from
	return nil
}

// split gives the values of a text: a list's are separated by commas, and nothing is quoted.
func split(row setting, text string) (values []string) {
	if _, ok := row.value(&settings{}).(*list); !ok {
		return []string{text}
	}
	for _, v := range strings.Split(text, ",") {
		if v = strings.TrimSpace(v); v != "" {
			values = append(values, v)
		}
	}
	return values
}

// unknownSetting is the error of a name that no setting has.
type unknownSetting struct {
	where   string // the place where it stands
	name    string
	nearest string // the name that may be meant; "": none is like it
	// noValue says that the name is that of an option of mount(8), which has no value.
	noValue bool
}

func (e unknownSetting) Error() string {
	if e.noValue {
		return fmt.Sprintf("%s %s: it takes no value: write %[2]s alone", e.where, e.name)
	}
	s := fmt.Sprintf("%s: there is no setting %q", e.where, e.name)
	if e.nearest != "" {
		s += fmt.Sprintf(" (is %q meant?)", e.nearest)
	}
	return s
}

// maxConfig bounds a config.toml, in bytes. One that has every setting, explained, has 8 KiB.
const maxConfig = 1 << 20

// readRegular reads a regular file of at most so many bytes. A pipe may have no end, and opening one
// may wait for ever.
func readRegular(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	if info.Size() > most {
		return nil, fmt.Errorf("%s has %s; %s are allowed", path, bytesText(info.Size()), bytesText(most))
	}
	return os.ReadFile(path)
}

// readConfig reads a config.toml. Of a file that isn't there, it gives nothing. It checks all
// values, and gives them by the names of their settings.
func readConfig(path string) (map[string]assignment, error) {
	b, err := readRegular(path, maxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading settings: %w", err)
	}
	var keys map[string]any
	if err := toml.Unmarshal(b, &keys); err != nil {
		if at := new(toml.DecodeError); errors.As(err, &at) {
			line, column := at.Position()
			return nil, fmt.Errorf("%s:%d:%d: %w", path, line, column, err)
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	all := map[string]assignment{}
	for _, k := range keysOf(b) {
		row, ok := settingOf(k.name)
		if !ok || row.places&byFile == 0 {
			e := unknownSetting{where: fmt.Sprintf("%s:%d", path, k.line), name: k.name}
			e.nearest = nearest(strings.ReplaceAll(k.name, "_", "-"), names(byFile))
			if strings.Contains(k.name, "_") { // as the rest of the file is spelled
				e.nearest = strings.ReplaceAll(e.nearest, "-", "_")
			}
			return nil, e
		}
		a := assignment{from: fmt.Sprintf("%s:%d: %s", path, k.line, k.name)}
		if first, again := all[row.name]; again {
			return nil, fmt.Errorf("%s: it is set already: %s", a.from, first.from)
		}
		if a.values, err = row.valuesOf(keys[k.name]); err == nil {
			err = (&settings{from: map[string]string{}}).assign(row, a)
		} else {
			err = fmt.Errorf("%s: %w", a.from, err)
		}
		if err != nil {
			return nil, err
		}
		all[row.name] = a
	}
	return all, nil
}

// key is a key of a TOML file, outside of tables, or a table's name.
type key struct {
	name string
	line int // from 1
}

// keysOf lists the first keys of a file that package toml can read.
func keysOf(b []byte) (keys []key) {
	var p unstable.Parser
	p.Reset(b)
	inTable := false
	for p.NextExpression() {
		e := p.Expression()
		if e.Kind == unstable.KeyValue && inTable {
			continue
		}
		inTable = e.Kind != unstable.KeyValue
		it := e.Key()
		if !it.Next() {
			continue
		}
		n := it.Node()
		keys = append(keys, key{string(n.Data), p.Shape(n.Raw).Start.Line})
	}
	return keys
}

// valuesOf gives the texts of a value of a config.toml, whose type has to be the setting's.
func (row setting) valuesOf(x any) ([]string, error) {
	v := row.value(&settings{})
	switch v.effective().(type) {
	case bool:
		if b, ok := x.(bool); ok {
			return []string{strconv.FormatBool(b)}, nil
		}
		return nil, errors.New("write true or false, without quotes")
	case int:
		if n, ok := x.(int64); ok {
			return []string{strconv.FormatInt(n, 10)}, nil
		}
		return nil, errors.New("write a number, without quotes")
	case int64:
		switch x := x.(type) {
		case int64:
			return []string{strconv.FormatInt(x, 10)}, nil
		case string:
			return []string{x}, nil
		}
		return nil, errors.New(`write a size in quotes, as "10GiB", or a number of bytes`)
	case []string:
		items, ok := x.([]any)
		texts := []string{}
		for _, item := range items {
			s, isText := item.(string)
			if ok = ok && isText; !ok {
				break
			}
			if err := inFile(v, s); err != nil {
				return nil, err
			}
			texts = append(texts, s)
		}
		if !ok {
			return nil, fmt.Errorf(`write a list of texts, as ["%s", "%[1]s"]`, v.Type())
		}
		return texts, nil
	default:
		s, ok := x.(string)
		if !ok {
			return nil, errors.New("write a text in quotes")
		}
		return []string{s}, inFile(v, s)
	}
}

// inFile checks a text of a config.toml or an fstab. A path there begins with / or ~/, because nobody
// knows in which directory ocifs will be started.
func inFile(v value, s string) error {
	if k := v.Type(); k != "DIR" && k != "FILE" || s == "" || filepath.IsAbs(s) || strings.HasPrefix(s, "~/") {
		return nil
	}
	return fmt.Errorf("%q: write a path that begins with / or ~/", s)
}

// setOption sets a setting from a mount option: name=value, or the name alone where has is false.
// The name is spelled with _ or -. An option of a list adds to it, and may come again; of another
// setting the last one counts. The error of a name that no setting has is an unknownSetting.
func (s *settings) setOption(name, value string, has bool) error {
	row, ok := settingOf(name)
	if !ok || row.places&byOption == 0 {
		near := nearest(strings.ReplaceAll(name, "_", "-"), names(byOption))
		return unknownSetting{"mount option", name, strings.ReplaceAll(near, "-", "_"), has && takesNoValue(name)}
	}
	v := row.value(s)
	if _, isBool := v.(*boolean); isBool && !has {
		value, has = "true", true
	}
	if !has || value == "" {
		return fmt.Errorf("mount option %s: it needs a value: %[1]s=%s", name, v.Type())
	}
	values := split(row, value)
	for _, text := range values {
		if err := inFile(v, text); err != nil {
			return fmt.Errorf("mount option %s: %w", name, err)
		}
	}
	return s.assign(row, assignment{"mount option " + name, values})
}

// arguments gives the flags that set what was set so far: by setOption, where nothing else was
// called.
func (s *settings) arguments() (args []string) {
	for _, row := range table {
		if _, ok := s.from[row.name]; !ok {
			continue
		}
		v := row.value(s)
		values := []string{v.String()}
		if l, ok := v.(*list); ok {
			values = *l.values
		}
		for _, text := range values {
			args = append(args, "--"+row.name+"="+text)
		}
	}
	return args
}

// notSettings are variables of the environment that begin with OCIFS_ and set nothing: the
// daemon's own, those of the units (OCIFS_ARGS), and those of tests.
var notSettings = []string{readyFD, "OCIFS_ARGS"}

// warnOfVariables tells of variables of the environment that look like settings and are none.
func warnOfVariables(log *slog.Logger, environ []string) {
	known := append([]string{}, notSettings...)
	var variables []string
	for _, row := range table {
		if row.places&byEnvironment != 0 {
			variables = append(variables, row.variable())
		}
	}
	known = append(known, variables...)
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, "OCIFS_") || strings.HasPrefix(name, "OCIFS_TEST_") {
			continue
		}
		if !slices.Contains(known, name) {
			log.Warn("a variable of the environment begins with OCIFS_ and is no setting", "name", name, "nearest", nearest(name, variables))
		}
	}
}
