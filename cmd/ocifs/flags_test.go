package main

import "testing"

// Sizes are read as people write them, and shown so again.
func TestSizes(t *testing.T) {
	for in, want := range map[string]int64{"48MiB": 48 << 20, "10GiB": 10 << 30, "500MB": 500e6, "4096": 4096, "1.5GiB": 3 << 29, "2G": 2 << 30, "7 kB": 7000} {
		var s size
		if err := s.Set(in); err != nil || int64(s) != want {
			t.Errorf("%q is %d, %v; want %d", in, s, err, want)
		}
		var again size
		if err := again.Set(s.String()); err != nil || again != s {
			t.Errorf("%q is shown as %q, which is %d, %v", in, s.String(), again, err)
		}
	}
	for _, in := range []string{"", "x", "-1", "0", "1XiB", "NaN", "1e99GiB"} {
		var s size
		if err := s.Set(in); err == nil {
			t.Errorf("%q is taken for %d", in, s)
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
