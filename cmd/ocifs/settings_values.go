package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/pflag"

	"github.com/ocifs/ocifs/fs"
	"github.com/ocifs/ocifs/registry/ref"
)

// value is a setting's value.
type value interface {
	// Set reads a text, from wherever it is, and looks at nothing else: no file, no registry.
	// Type is the text's kind for people.
	pflag.Value
	// effective is the value for JSON: a bool, an int, an int64 (bytes), a string or a []string.
	// Its type is the one that config.toml has, where a size may be a string as well.
	effective() any
}

// boolean is true or false; 1 and 0 are the same.
type boolean bool

func (b *boolean) Set(s string) error {
	switch s {
	case "true", "1":
		*b = true
	case "false", "0":
		*b = false
	default:
		return fmt.Errorf("write true or false")
	}
	return nil
}

func (b *boolean) Type() string     { return "bool" }
func (b *boolean) String() string   { return strconv.FormatBool(bool(*b)) }
func (b *boolean) effective() any   { return bool(*b) }
func (b *boolean) IsBoolFlag() bool { return true }

// duration is a time as Go writes it: 90s, 5m, 1h30m. It isn't negative.
type duration time.Duration

func (d *duration) Set(s string) error {
	got, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("write a time as 90s, 5m or 1h30m")
	}
	if got < 0 {
		return fmt.Errorf("%s is negative", s)
	}
	*d = duration(got)
	return nil
}

func (d *duration) Type() string   { return "DURATION" }
func (d *duration) String() string { return time.Duration(*d).String() }
func (d *duration) effective() any { return d.String() }

// number is a whole number from min to max.
type number struct {
	value    *int
	min, max int
}

func (n *number) Set(s string) error {
	got, err := strconv.Atoi(s)
	if err != nil || got < n.min || got > n.max {
		return fmt.Errorf("%s isn't a number from %d to %d", s, n.min, n.max)
	}
	*n.value = got
	return nil
}

func (n *number) Type() string   { return "N" }
func (n *number) String() string { return strconv.Itoa(*n.value) }
func (n *number) effective() any { return *n.value }

// text is a path, of kind DIR or FILE.
type text struct {
	value *string
	kind  string
}

func (t *text) Set(s string) (err error) {
	*t.value, err = readPath(s)
	return err
}

func (t *text) Type() string   { return t.kind }
func (t *text) String() string { return *t.value }
func (t *text) effective() any { return *t.value }

// list is texts, of which each Set adds one.
type list struct {
	values *[]string
	kind   string // of each: HOST[:PORT], DIR
	read   func(string) (string, error)
}

func (l *list) Set(s string) error {
	s, err := l.read(s)
	if err != nil {
		return err
	}
	*l.values = append(*l.values, s)
	return nil
}

func (l *list) Type() string   { return l.kind }
func (l *list) String() string { return strings.Join(*l.values, ",") }

// effective is an array also where there are none.
func (l *list) effective() any { return append([]string{}, *l.values...) }

// readPath is a path, whose ~/ is the home. A shell expands it neither in --cache-dir=~/x nor in a unit's
// environment.
func readPath(s string) (string, error) {
	rest, ok := strings.CutPrefix(s, "~/")
	if !ok {
		return s, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("%q: %w", s, err)
	}
	return filepath.Join(home, rest), nil
}

// readHost reads HOST or HOST:PORT. Of an address that has more than a host, such as a URL, the error
// names the host alone.
func readHost(s string) (string, error) {
	host, err := ref.ParseHost(s)
	if err == nil {
		return host, nil
	}
	if a, addressErr := parseAddress(s); addressErr == nil {
		return "", fmt.Errorf("%q is more than a host: write %s", s, a.host)
	}
	return "", err
}

// enum is one word of some.
type enum[T ~string] struct {
	value *T
	of    []T
}

func (e *enum[T]) Set(s string) error {
	if !slices.Contains(e.of, T(s)) {
		words := e.words()
		last := len(words) - 1
		return fmt.Errorf("write %s or %s", strings.Join(words[:last], ", "), words[last])
	}
	*e.value = T(s)
	return nil
}

func (e *enum[T]) Type() string   { return strings.Join(e.words(), "|") }
func (e *enum[T]) String() string { return string(*e.value) }
func (e *enum[T]) effective() any { return string(*e.value) }

// words lists the values that it may have.
func (e *enum[T]) words() []string {
	words := make([]string, len(e.of))
	for i, w := range e.of {
		words[i] = string(w)
	}
	return words
}

// logLevel is the least level that is logged.
type logLevel string

var logLevels = []logLevel{"debug", "info", "warn", "error"}

// Level makes it a [slog.Leveler].
func (l logLevel) Level() slog.Level {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l)); err != nil {
		return slog.LevelInfo
	}
	return level
}

// platform is a platform as people write it: linux/amd64, linux/arm/v7.
type platform struct{ v1.Platform }

func (p *platform) Set(s string) (err error) {
	p.Platform, err = fs.ParsePlatform(s)
	return err
}

func (p *platform) Type() string   { return "OS/ARCH[/VARIANT]" }
func (p *platform) effective() any { return p.String() }
func (p *platform) String() string { return fs.FormatPlatform(p.Platform) }

// size is a number of bytes as people write it: 48MiB, 10GiB, 500MB, 4096. KB, MB, GB and TB are
// powers of 1000. KiB, MiB, GiB and TiB are powers of 1024, and so are K, M, G and T alone, as
// they are to mount(8), dd and du.
type size int64

func (s *size) Set(v string) error {
	whole := strings.TrimSpace(v)
	if whole != "" && strings.ContainsAny(whole[len(whole)-1:], "kKmMgGtTpP") {
		whole += "i"
	}
	n, err := humanize.ParseBytes(whole)
	// A comma is a decimal point to some people, and nothing to humanize.
	if err != nil || n == 0 || n >= 1<<62 || strings.Contains(v, ",") {
		return fmt.Errorf("write a size as 48MiB, 10GiB or 500MB")
	}
	*s = size(n)
	return nil
}

func (s *size) Type() string   { return "SIZE" }
func (s *size) effective() any { return int64(*s) }

// String is the shortest text that is read as exactly this size.
func (s *size) String() string {
	for _, text := range []string{bytesText(int64(*s)), humanize.Bytes(uint64(*s))} {
		text = strings.ReplaceAll(strings.ReplaceAll(text, ".0 ", " "), " ", "")
		var again size
		if again.Set(text) == nil && again == *s {
			return text
		}
	}
	return strconv.FormatInt(int64(*s), 10)
}

// bytesText is a number of bytes as people read it: 512 B, 3.2 GiB.
func bytesText(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }
