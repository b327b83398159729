package integration

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// shelf is a registry that has whatever it was given, as old ones do, and takes nothing.
type shelf map[string]item

type item struct {
	mediaType string
	bytes     []byte
}

func (s shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i, ok := s[strings.TrimPrefix(r.URL.Path, "/v2/team/app/")]
	if !ok && r.URL.Path != "/v2/" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", i.mediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(i.bytes)))
	w.Write(i.bytes)
}

func (s shelf) blob(mediaType, content string) ocispec.Descriptor {
	d := digest.FromString(content)
	s["blobs/"+d.String()] = item{mediaType, []byte(content)}
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(content))}
}

func (s shelf) manifest(tag, mediaType string, fields map[string]any) ocispec.Descriptor {
	fields["schemaVersion"], fields["mediaType"] = 2, mediaType
	raw, err := json.Marshal(fields)
	if err != nil {
		panic(err) // made of plain values
	}
	d := digest.FromBytes(raw)
	s["manifests/"+d.String()], s["manifests/"+tag] = item{mediaType, raw}, item{mediaType, raw}
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(raw))}
}

// cp -r ends well for images of all shapes, and the copy is what the registry has: no more,
// and with no byte that is another.
func TestCopiesOfOddImages(t *testing.T) {
	t.Parallel()
	const image, index = ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex
	const artifactType = "application/vnd.oci.artifact.manifest.v1+json"
	type ds = []ocispec.Descriptor
	titled := func(d ocispec.Descriptor, title string) ocispec.Descriptor {
		d.Annotations = map[string]string{ocispec.AnnotationTitle: title}
		return d
	}
	missing := func(mediaType, content string) ocispec.Descriptor {
		return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromString(content), Size: int64(len(content))}
	}
	s := shelf{}
	config, layer := s.blob(ocispec.MediaTypeImageConfig, "{}"), s.blob(ocispec.MediaTypeImageLayer, "a layer")
	plain := s.manifest("plain", image, map[string]any{"config": config, "layers": ds{layer}})
	plain.Platform = &ocispec.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}
	sbom := titled(s.blob("application/json", `{"sbom":1}`), "sbom.json")
	artifact := s.manifest("artifact", artifactType, map[string]any{"artifactType": "application/x", "blobs": ds{sbom}})
	mixed := s.manifest("mixed", index, map[string]any{"manifests": ds{plain, artifact}})
	absent := missing(image, "a child that nobody pushed")
	absent.Platform = &ocispec.Platform{OS: "linux", Architecture: "s390x"}
	sparse := s.manifest("sparse", index, map[string]any{"manifests": ds{absent, plain, missing("application/vnd.example.manifest+json", "x")}})
	windows := missing("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "Windows itself")
	foreign := s.manifest("foreign", image, map[string]any{"config": config, "layers": ds{titled(windows, "windows"), layer}})
	poured := titled(s.blob(ocispec.MediaTypeImageLayerGzip, "poured"), "jq--1.7.bottle.tar.gz")
	bottle := s.manifest("bottle", image, map[string]any{"config": config, "layers": ds{poured}})
	blake := missing(ocispec.MediaTypeImageLayer, "hashed by something new")
	blake.Digest = digest.Digest("blake3:" + blake.Digest.Encoded())
	newer := s.manifest("newer", image, map[string]any{"config": config, "layers": ds{blake, layer}})
	cache := s.manifest("cache", index, map[string]any{"manifests": ds{layer, s.blob("application/vnd.buildkit.cacheconfig.v0", "[]")}})
	cacheConfig := s.blob("application/vnd.buildkit.cacheconfig.v0", "[]")
	inner := s.blob(index, string(s["manifests/mixed"].bytes))
	wrapped := s.manifest("wrapped", image, map[string]any{"config": config, "layers": ds{titled(inner, "index.json")}})

	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	m := testMount(t, mounting{})
	tags := m.Dir + "/" + strings.ReplaceAll(strings.TrimPrefix(server.URL, "http://"), ":", "_") + "/team/app/tags/"
	for tag, test := range map[string]struct {
		blobs ds
		links map[string]ocispec.Descriptor // what each of these symlinks leads to
		gone  []string
	}{
		"artifact": {ds{artifact, sbom}, map[string]ocispec.Descriptor{"files/sbom.json": sbom}, []string{"config.json"}},
		"mixed":    {ds{mixed, plain, config, layer, artifact, sbom}, nil, nil},
		"sparse":   {ds{sparse, plain, config, layer}, nil, []string{"platforms/linux-s390x"}},
		"foreign": {ds{foreign, config, layer}, map[string]ocispec.Descriptor{"layers/01-" + layer.Digest.Encoded()[:12] + ".tar": layer},
			[]string{"files/windows", "layers/00-" + windows.Digest.Encoded()[:12] + ".tar.gz", "blobs/sha256/" + windows.Digest.Encoded()}},
		"bottle":  {ds{bottle, config, poured}, map[string]ocispec.Descriptor{"files/jq--1.7.bottle.tar.gz": poured}, nil},
		"newer":   {ds{newer, config, layer}, map[string]ocispec.Descriptor{"layers/01-" + layer.Digest.Encoded()[:12] + ".tar": layer}, []string{"blobs/blake3"}},
		"cache":   {ds{cache, layer, cacheConfig}, nil, nil},
		"wrapped": {ds{wrapped, config, inner}, map[string]ocispec.Descriptor{"files/index.json": inner}, nil},
	} {
		t.Run(tag, func(t *testing.T) {
			m := m.forTest(t)
			dir, out := tags+tag, t.TempDir()+"/copy"
			m.sh("cp -r %s %s && chmod -R u+w %s", dir, out, out)
			m.holds(out+"/manifest.json", s["manifests/"+tag].bytes)
			var want []string
			for _, d := range test.blobs {
				want = append(want, d.Digest.Encoded())
			}
			slices.Sort(want)
			m.lists(out+"/blobs/sha256", want...)
			if got := strings.Fields(m.sh("cd %s/blobs/sha256 && sha256sum * | awk '$1 != $2'", out)); len(got) > 0 {
				t.Errorf("of other bytes than their names say: %q", got)
			}
			if got := m.sh("cd %s && find layers files config.json -xtype l 2>/dev/null; ls -A platforms 2>/dev/null | while read p; do [ -e %s/platforms/$p/manifest.json ] || echo $p; done", out, dir); got != "" {
				t.Errorf("symlinks that lead nowhere: %q", got)
			}
			for name, d := range test.links {
				m.links(dir+"/"+name, dir+"/blobs/sha256/"+d.Digest.Encoded())
				m.holds(out+"/"+name, s["blobs/"+d.Digest.String()].bytes)
			}
			for _, name := range test.gone {
				m.probe("ENOENT", "stat", dir+"/"+name)
			}
		})
	}
	m.holds(tags+"sparse/platforms/linux-aarch64/manifest.json", s["manifests/plain"].bytes)
	m.holds(tags+"mixed/platforms/linux-arm64/layers/00-"+layer.Digest.Encoded()[:12]+".tar", []byte("a layer"))
	m.holds(tags+"mixed/platforms/unknown-"+artifact.Digest.Encoded()[:12]+"/files/sbom.json", []byte(`{"sbom":1}`))
}
