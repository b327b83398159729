package fs

import "testing"

// A host is written without a colon, and read in both spellings.
func TestHostNames(t *testing.T) {
	for host, name := range map[string]string{
		"localhost:5000": "localhost_5000",
		"127.0.0.1:5000": "127.0.0.1_5000",
		"docker.io":      "docker.io",
		"[::1]:5000":     "[::1]_5000",
		"[::1]":          "[::1]",
	} {
		if got := hostName(host); got != name {
			t.Errorf("hostName(%q) = %q, want %q", host, got, name)
		}
		for _, spelled := range []string{host, name} {
			if got, err := parseHostName(spelled); err != nil || got != host {
				t.Errorf("parseHostName(%q) = %q, %v; want %q", spelled, got, err, host)
			}
		}
	}
	for _, name := range []string{"", ".git", "alpine", "a_b", "localhost_", "localhost_x", "localhost_70000", "a.io_1_2", "Makefile"} {
		if got, err := parseHostName(name); err == nil {
			t.Errorf("parseHostName(%q) = %q, want an error", name, got)
		}
	}
}

// A component that is spelled like an entry gives way to it.
func TestComponentNames(t *testing.T) {
	for component, name := range map[string]string{"alpine": "alpine", "tags": "_tags", "upload": "_upload", "rootfs": "_rootfs", "tags2": "tags2"} {
		if got := componentName(component); got != name {
			t.Errorf("componentName(%q) = %q, want %q", component, got, name)
		}
		if got, ok := parseComponentName(name); !ok || got != component {
			t.Errorf("parseComponentName(%q) = %q, %v; want %q", name, got, ok, component)
		}
	}
	for _, name := range []string{"tags", "_alpine", "__tags", "_", ".git", "Upper", ""} {
		if got, ok := parseComponentName(name); ok {
			t.Errorf("parseComponentName(%q) = %q, want none", name, got)
		}
	}
}

// Every name reads back as what it was written for, and nothing else does.
func FuzzComponentName(f *testing.F) {
	for _, s := range []string{"alpine", "tags", "_tags", "", "..", "a_b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if c, ok := parseComponentName(name); ok && componentName(c) != name {
			t.Fatalf("%q reads as %q, which is written %q", name, c, componentName(c))
		}
	})
}
