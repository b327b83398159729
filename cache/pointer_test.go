package cache

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// A pointer is kept by any key until it is forgotten, whatever the key spells.
//
// Behaviour: names.hashes
func TestAPointerIsRememberedUntilForgotten(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	key := "registry.example/a/b:v1\n\x00/../"
	if p, ok := s.Recall(key); ok {
		t.Errorf("recalled before it was remembered: %v", p)
	}
	for _, body := range []string{"one", "two"} {
		want := Pointer{digest.FromString(body), time.Now().Round(0), time.Unix(1e9, 0), "jane"}
		if err := s.Remember(key, want); err != nil {
			t.Fatal(err)
		}
		if p, ok := open(t, dir, Options{}).Recall(key); !ok || p.Digest != want.Digest || !p.Checked.Equal(want.Checked) || !p.Modified.Equal(want.Modified) || p.Told != want.Told {
			t.Errorf("recalled %v, %v; want %v", p, ok, want)
		}
	}
	if _, ok := s.Recall("another"); ok {
		t.Error("another key was recalled")
	}
	s.Forget(key)
	s.Forget(key)
	if p, ok := s.Recall(key); ok {
		t.Errorf("recalled after Forget: %v", p)
	}
	if left := files(t, s.pointers()); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

func TestAPointerThatCantBeReadIsNone(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	d := digest.FromString("x").String()
	good := `{"key":"k","digest":"` + d + `","checked":"2026-01-02T03:04:05Z"}`
	if err := s.Remember("k", Pointer{Digest: digest.Digest(d), Checked: time.Now()}); err != nil {
		t.Fatal(err)
	}
	path := s.pointer("k")
	for content, want := range map[string]bool{
		good:                                     true,
		"":                                       false,
		"null":                                   false,
		"{}":                                     false,
		good[:len(good)/2]:                       false,
		good + "x":                               false,
		strings.Replace(good, `"k"`, `"o"`, 1):   false, // another key, the same hash
		strings.Replace(good, d, d[:20], 1):      false,
		strings.Replace(good, d, "../x", 1):      false,
		strings.Replace(good, "2026", "soon", 1): false,
		strings.Repeat(" ", maxPointer) + good:   false,
		string(bytes.Repeat([]byte{0}, 100)):     false, // what a power cut leaves
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if p, ok := s.Recall("k"); ok != want {
			t.Errorf("%.60q gives %v, %v", content, p, ok)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if p, ok := s.Recall("k"); ok {
		t.Errorf("a directory gives %v", p)
	}
}

func TestRememberMakesItsDirectoryAgain(t *testing.T) {
	dir := t.TempDir()
	s := openScanned(t, dir, Options{})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Remember("k", Pointer{Digest: digest.FromString("x"), Checked: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Recall("k"); !ok {
		t.Error("not recalled")
	}
	if err := os.RemoveAll(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

func FuzzParsePointer(f *testing.F) {
	d := digest.FromString("x").String()
	f.Add([]byte(`{"key":"k","digest":"`+d+`","checked":"2026-01-02T03:04:05Z"}`), "k")
	f.Add([]byte(`{"key":"k","digest":"sha256:","checked":1}`), "k")
	f.Add([]byte(`[]`), "")
	f.Add([]byte{}, "")
	f.Fuzz(func(t *testing.T, b []byte, key string) {
		p, ok := parsePointer(b, key)
		switch {
		case ok && p.Digest.Validate() != nil:
			t.Errorf("a digest that is none: %q", p.Digest)
		case !ok && p != Pointer{}:
			t.Errorf("none, and yet %v", p)
		}
	})
}
