package fs

import (
	"encoding/json"
	"net/http"
	"syscall"
	"testing"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// page is a page of a catalog, and where the next one is; "": it is the last.
func page(next string, paths ...string) registrytest.Quirk {
	whole, err := json.Marshal(map[string]any{"repositories": paths})
	if err != nil {
		panic(err) // made of plain values
	}
	header := []string{"Content-Type", "application/json"}
	if next != "" {
		header = append(header, "Link", `</v2/`+next+`>; rel="next"`)
	}
	return registrytest.Status(http.StatusOK, string(whole), header...)
}

// What a catalog that is refused, fails or breaks off costs: never the listing of a
// repository that is there, and what came is listed.
//
// Behaviour: list.catalog
func TestACatalogThatFails(t *testing.T) {
	const entries, more = "archives blobs manifests referrers rootfs tags unpacked upload", "archives blobs manifests referrers rootfs sub tags unpacked upload"
	for _, c := range []struct {
		name          string
		first, second registrytest.Quirk
		app           string // what team/app lists, which is a repository
		// What the host, team/ and nothing/ list, which are none, or with what they fail.
		host, team, nothing any
	}{
		{"whole", page("_catalog?page=2", "team/app"), page("", "team/app/sub"), more, "team", "app", registry.ErrNotFound},
		{"refused", registrytest.Status(http.StatusUnauthorized, ""), nil, entries, "", "", ""},
		{"not offered", registrytest.Status(http.StatusNotFound, ""), nil, entries, "", "", ""},
		{"refused in the middle", page("_catalog?page=2", "team/app/sub"), registrytest.Status(http.StatusForbidden, ""), more, "team", "app", ""},
		{"failing", failing, nil, entries, registry.ErrServer, registry.ErrServer, registry.ErrServer},
		{"failing in the middle", page("_catalog?page=2", "team/app/sub"), failing, more, "team", "app", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := registrytest.Start(t, registrytest.Options{})
			s.On("GET catalog", func(x *registrytest.Exchange, next func() *registrytest.Answer) *registrytest.Answer {
				if x.URL.Query().Get("page") == "2" {
					return c.second(x, next)
				}
				return c.first(x, next)
			})
			s.SetTags("team/app", "v1")
			w := walk(t, s, t.TempDir(), Options{})
			for path, want := range map[string]any{"": c.host, "team": c.team, "nothing": c.nothing} {
				if err, ok := want.(error); ok {
					w.fails(path, err)
				} else {
					w.want(path, want.(string))
				}
			}
			w.want("team/app", c.app)
			if c.host == registry.ErrServer { // it is known by now that there is something
				w.want("", "team")
				w.want("team", "app")
			}
		})
	}
}

// A repository that isn't there yet is a root all the same.
func TestARootIsThereBeforeItsRepository(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.SetCatalog("other")
	w := walk(t, s, t.TempDir(), Options{Host: s.Host, Path: "team/new"})
	if l, err := w.root.List(t.Context()); err != nil || len(l.Names) != 1 || l.Names[0] != controlName {
		t.Errorf("the root lists %q, %v", l.Names, err)
	}
	if e, err := w.root.Lookup(t.Context(), tagsName); err != nil || e.Attr().Mode&syscall.S_IFDIR == 0 {
		t.Errorf("tags/: %v", err)
	}
}
