package ref

import (
	"errors"
	"strings"
	"testing"
)

// Behaviour: names.local
func TestHosts(t *testing.T) {
	for in, want := range map[string]string{
		"docker.io":            "docker.io",
		"index.docker.io":      "docker.io",
		"registry-1.docker.io": "docker.io",
		"GHCR.io":              "ghcr.io",
		"localhost":            "localhost",
		"localhost:5000":       "localhost:5000",
		"registry:5000":        "registry:5000",
		"127.0.0.1:5000":       "127.0.0.1:5000",
		"[::1]:5000":           "[::1]:5000",
		"[2001:db8::1]":        "[2001:db8::1]",
		"a-b.example.com":      "a-b.example.com",
	} {
		if got, err := ParseHost(in); err != nil || got != want {
			t.Errorf("ParseHost(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", ".", "..", ".git", ".Trash", ".DS_Store", "alpine", "a..b", "-a.io", "a-.io", "a_b.io",
		"localhost:", "localhost:0", "localhost:05", "localhost:65536", "localhost:+1", "localhost:x",
		"a.io/b", "a.io:5000:1", "[::1", "[::1]5000", "[127.0.0.1]:1", "[fe80::1%eth0]:1", "a b.io", "é.io",
		strings.Repeat("a", 64) + ".io", strings.Repeat("a.", 130) + "io",
	} {
		if got, err := ParseHost(in); !errors.Is(err, ErrInvalid) {
			t.Errorf("ParseHost(%q) = %q, %v; want ErrInvalid", in, got, err)
		}
	}
}

// Behaviour: names.local
func TestComponents(t *testing.T) {
	for _, s := range []string{"a", "0", "alpine", "a.b", "a_b", "a__b", "a-b", "a---b", "a.b_c__d-e"} {
		if !ValidComponent(s) {
			t.Errorf("%q is refused", s)
		}
	}
	for _, s := range []string{"", ".", "..", ".git", "A", "a.", "a..b", "a___b", "_a", "a_", "-a", "a-", "a._b", "a/b", "a b", "a:b", "é", strings.Repeat("a", 256)} {
		if ValidComponent(s) {
			t.Errorf("%q is accepted", s)
		}
	}
}

// Behaviour: names.local
func TestTags(t *testing.T) {
	for _, s := range []string{"v1", "_", "latest", "1.0", "V1.2-rc_3", strings.Repeat("a", 128)} {
		if !ValidTag(s) {
			t.Errorf("%q is refused", s)
		}
	}
	for _, s := range []string{"", ".hidden", "-a", "a/b", "a:b", "a b", "a+b", "é", strings.Repeat("a", 129)} {
		if ValidTag(s) {
			t.Errorf("%q is accepted", s)
		}
	}
}

// Behaviour: names.digests
func TestDigests(t *testing.T) {
	hex := strings.Repeat("0a", 32)
	for _, s := range []string{"sha256:" + hex, "sha512:" + hex + hex} {
		if _, err := ParseDigest(s); err != nil {
			t.Error(err)
		}
	}
	for _, s := range []string{"", "sha256", "sha256:", "sha256:" + hex[1:], "sha256:" + strings.ToUpper(hex), "sha512:" + hex, "sha384:" + hex + hex[:32], "md5:" + hex[:32], hex, "sha256:" + hex + "\n"} {
		if _, err := ParseDigest(s); !errors.Is(err, ErrInvalid) {
			t.Errorf("ParseDigest(%q) gives %v; want ErrInvalid", s, err)
		}
	}
}

// A digest of an algorithm that isn't known here is told from a string that is no digest.
//
// Behaviour: names.digests
func TestUnknownAlgorithmsAreToldFromMalformedDigests(t *testing.T) {
	hex := strings.Repeat("0a", 32)
	for s, unknown := range map[string]bool{
		"blake3:" + hex: true, "md5:" + hex[:32]: true, "sha384:" + hex + hex[:32]: true, "sha256+b64:aGk=": true, "sha256x:" + hex: true,
		"sha256:" + hex[1:]: false, "sha256:" + strings.ToUpper(hex): false, "sha512:" + hex: false, "sha256:": false,
		"": false, hex: false, "blake3": false, "blake3:": false, ":" + hex: false, "Blake3:" + hex: false, "blake3:" + hex + "/..": false, "blake3:../x": false,
	} {
		if _, err := ParseDigest(s); !errors.Is(err, ErrInvalid) || errors.Is(err, ErrAlgorithm) != unknown {
			t.Errorf("ParseDigest(%q) gives %v", s, err)
		}
	}
}

func TestReferences(t *testing.T) {
	hex := strings.Repeat("0a", 32)
	for in, want := range map[string]string{
		"docker.io/alpine":                     "docker.io/library/alpine",
		"docker.io/alpine:3":                   "docker.io/library/alpine:3",
		"docker.io/org/app":                    "docker.io/org/app",
		"localhost:5000/a/b:v1":                "localhost:5000/a/b:v1",
		"ghcr.io/org/app@sha256:" + hex:        "ghcr.io/org/app@sha256:" + hex,
		"ghcr.io/org/app:v1@sha256:" + hex:     "ghcr.io/org/app@sha256:" + hex,
		"registry-1.docker.io/library/alpine:": "",
		"alpine":                               "",
		"ghcr.io/org/App":                      "",
		"ghcr.io/":                             "",
		"ghcr.io/a@sha256:00":                  "",
	} {
		got, err := Parse(in)
		if want == "" {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("Parse(%q) = %v, %v; want ErrInvalid", in, got, err)
			}
			continue
		}
		if err != nil || got.String() != want {
			t.Errorf("Parse(%q) = %v, %v; want %s", in, got, err, want)
		}
	}
}

func TestLoopback(t *testing.T) {
	for s, want := range map[string]bool{
		"localhost": true, "localhost:5000": true, "127.0.0.1:80": true, "127.1.2.3": true, "[::1]:5000": true,
		"registry.localhost:5000": true, "[::ffff:127.0.0.1]:1": true,
		"docker.io": false, "10.0.0.1:5000": false, "localhost.example.com": false, "[2001:db8::1]:5000": false,
	} {
		if IsLoopback(s) != want {
			t.Errorf("IsLoopback(%q) is %v", s, !want)
		}
	}
}

// FuzzParse: whatever parses is written back to something that parses to the
// same reference.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"docker.io/alpine", "localhost:5000/a/b:v1", "[::1]:1/a", "a.b/c@sha256:" + strings.Repeat("0", 64), "a.b/c:d@sha256:" + strings.Repeat("0", 64)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := Parse(s)
		if err != nil {
			return
		}
		again, err := Parse(r.String())
		if err != nil || again != r {
			t.Fatalf("%q parses to %q, and that to %q, %v", s, r, again, err)
		}
	})
}
