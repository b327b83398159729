package main

import (
	"strings"
	"testing"
	"time"
)

// Sizes are read as people write them, and shown so that they are read as the same.
func TestSizes(t *testing.T) {
	for in, want := range map[string]struct {
		bytes int64
		shown string
	}{
		"48MiB": {48 << 20, "48MiB"}, "10GiB": {10 << 30, "10GiB"}, "500MB": {500e6, "500MB"}, "4096": {4096, "4KiB"}, "4097": {4097, "4097"},
		"1.5GiB": {3 << 29, "1.5GiB"}, "2G": {2 << 30, "2GiB"}, "2K": {2048, "2KiB"}, "3m": {3 << 20, "3MiB"}, "1T": {1 << 40, "1TiB"},
		"7 kB": {7000, "7kB"}, " 1 GB ": {1e9, "1GB"}, "64gib": {64 << 30, "64GiB"}, "1000000000001": {1e12 + 1, "1000000000001"},
	} {
		var s size
		if err := s.Set(in); err != nil || int64(s) != want.bytes || s.String() != want.shown {
			t.Errorf("%q is %d, shown as %s, %v; want %d, %s", in, int64(s), s.String(), err, want.bytes, want.shown)
		}
		var again size
		if err := again.Set(s.String()); err != nil || again != s {
			t.Errorf("%q is shown as %q, which is %d, %v", in, s.String(), int64(again), err)
		}
	}
	for _, in := range []string{"", "x", "-1", "0", "1XiB", "NaN", "1e99GiB", "8EiB", "1,5GiB", "1.2.3", "M", "10%"} {
		var s size
		if err := s.Set(in); err == nil {
			t.Errorf("%q is taken for %d", in, int64(s))
		}
	}
}

// Sizes are told as people say them.
func TestSizesAreForPeople(t *testing.T) {
	for n, want := range map[int64]string{-1: "0 B", 0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 10 << 30: "10 GiB", 1<<63 - 1: "8.0 EiB"} {
		if got := bytesText(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}

// Platforms are read as people write them, and shown so again.
func TestPlatforms(t *testing.T) {
	for _, in := range []string{"linux/amd64", "linux/arm/v7", "windows/amd64"} {
		var p platform
		if err := p.Set(in); err != nil || p.String() != in {
			t.Errorf("%q is shown as %q, %v", in, p.String(), err)
		}
	}
	for _, in := range []string{"", "linux", "linux/amd64/v1/x", "linux-amd64"} {
		var p platform
		if err := p.Set(in); err == nil {
			t.Errorf("%q is taken for %v", in, p)
		}
	}
}

// Each kind of value takes what it is for, and an error says what to write.
func TestValues(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       any    // what config.json shows; nil: it isn't taken
		says       string // the error
	}{
		{"xattr", "true", true, ""},
		{"xattr", "1", true, ""},
		{"xattr", "0", false, ""},
		{"xattr", "yes", nil, "write true or false"},
		{"tag-ttl", "90m", "1h30m0s", ""},
		{"tag-ttl", "0", "0s", ""},
		{"tag-ttl", "60", nil, "write a time as 90s"},
		{"tag-ttl", "-1s", nil, "-1s is negative"},
		{"connections", "64", 64, ""},
		{"connections", "0", nil, "0 isn't a number from 1 to 64"},
		{"connections", "65", nil, "from 1 to 64"},
		{"connections", "many", nil, "from 1 to 64"},
		{"verify", "stream", "stream", ""},
		{"verify", "half", nil, "write whole or stream"},
		{"symlinks", "verbatim", "verbatim", ""},
		{"log-level", "debug", "debug", ""},
		{"log-level", "loud", nil, "write debug, info, warn or error"},
		{"log-format", "json", "json", ""},
		{"log-format", "xml", nil, "write text or json"},
		{"unpacked-size", "2G", int64(2 << 30), ""},
		{"plain-http", "a b", nil, "a b"},
		{"plain-http", "http://a:5000/", nil, `"http://a:5000/" is more than a host: write a:5000`},
		{"plain-http", "HTTPS://A.io", nil, "write a.io"},
		{"plain-http", "a.io/team/app", nil, "write a.io"},
	} {
		row, ok := settingOf(c.name)
		if !ok {
			t.Fatalf("there is no %s", c.name)
		}
		v := row.value(newSettings())
		err := v.Set(c.text)
		switch {
		case c.want == nil && (err == nil || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%s=%s: %v, want %q", c.name, c.text, err, c.says)
		case c.want != nil && (err != nil || v.effective() != c.want):
			t.Errorf("%s=%s is %v, %v, want %v", c.name, c.text, v.effective(), err, c.want)
		}
	}
}

// The defaults are these.
func TestDefaults(t *testing.T) {
	t.Setenv("CACHE_DIRECTORY", "")
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("HOME", "/home/jane")
	s := newSettings()
	if s.cacheDir != "/home/jane/.cache/ocifs" || s.tagTTL != time.Minute || s.listTTL != time.Minute || s.retryMaxWait != 30*time.Second ||
		s.connections != 8 || s.verify != verifyWhole || s.symlinks != symlinksConfined || s.unpackedSize != 64<<30 || s.logLevel != "info" ||
		s.platform.OS != "linux" || s.cacheSize != 0 || s.maxDownload != 0 || s.uploadSize != 0 || s.logFile != "" {
		t.Errorf("the defaults are %+v", s)
	}
}
