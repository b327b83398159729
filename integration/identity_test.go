package integration

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// A registry that chose the name of a repository so that its path has the FNV-64a sum of
// another registry's path doesn't get into that one's place: each directory shows its own
// registry's image, whichever is entered first, and they have inode numbers of their own.
func TestNoRegistryTakesOverAnothersDirectory(t *testing.T) {
	t.Parallel()
	repositories := map[string]string{"evil.example": "cep4avmhyweg3f23xf", "ghcr.io": "org"}
	images, servers := map[string]content.Manifest{}, map[string]*registries.Server{}
	for host, path := range repositories {
		servers[host] = startDistribution(t, registries.Options{})
		images[host] = must(repo(t, servers[host], path).Image(t.Context(), "v1", content.Small(host)))(t)
	}
	for _, first := range []string{"evil.example", "ghcr.io"} {
		t.Run(first+" is entered first", func(t *testing.T) {
			m := testMount(t, mounting{setup: func(home string) {
				for host, s := range servers {
					writeFile(t, filepath.Join(home, ".config/containerd/certs.d", host, "hosts.toml"), fmt.Appendf(nil, "server = 'http://%s'\n", s.Host), 0o600)
				}
			}})
			at := func(host string, path ...string) string {
				return filepath.Join(append([]string{m.Dir, host, repositories[host]}, path...)...)
			}
			inodes := strings.Fields(m.sh("stat -c %%i %s; stat -c %%i %s %s", quote(at(first)), quote(at("evil.example")), quote(at("ghcr.io"))))
			if len(inodes) != 3 || inodes[1] == inodes[2] {
				t.Errorf("the inode numbers are %q", inodes)
			}
			for host, image := range images {
				m.holds(at(host, "tags/v1/digest"), []byte(image.Digest+"\n"))
				m.holds(at(host, "tags/v1/manifest.json"), image.Bytes)
			}
		})
	}
}
