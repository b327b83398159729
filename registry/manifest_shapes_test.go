package registry

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/registrytest"
)

// sized is an index of so many bytes.
func sized(n int) string {
	const end = `"}}`
	begin := `{"schemaVersion":2,"manifests":[],"annotations":{"a":"`
	return begin + strings.Repeat("x", n-len(begin)-len(end)) + end
}

// What everyone must take is read, and so is twice that; a byte more is refused with a
// sentence, and what has no end is left where that shows.
//
// Behaviour: manifest.limit
func TestManifestsAreReadUpToALimit(t *testing.T) {
	for name, test := range map[string]struct {
		size  int
		quirk registrytest.Quirk
		want  error
	}{
		"4 MiB":                    {4 << 20, nil, nil},
		"8 MiB":                    {8 << 20, nil, nil},
		"8 MiB, no length":         {8 << 20, registrytest.Length(-1), nil},
		"a byte more":              {8<<20 + 1, nil, ErrCorrupt},
		"a byte more, no length":   {8<<20 + 1, registrytest.Length(-1), ErrCorrupt},
		"much more":                {12 << 20, nil, ErrCorrupt},
		"8 MiB, and a lie of more": {8 << 20, registrytest.Length(8<<20 + 1), ErrServer},
		"8 MiB, and a lie of less": {8 << 20, registrytest.Length(8<<20 - 1), ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			s, c, r := reading(t, registrytest.Options{})
			raw := sized(test.size)
			d := s.Manifest(r.Path, "v1", v1.MediaTypeImageIndex, []byte(raw))
			if test.quirk != nil {
				s.On("GET manifest", test.quirk)
			}
			m, err := c.Manifest(t.Context(), r, "v1")
			isManifest(t, m, err, raw, d, test.want)
			if test.size > 8<<20 && (err == nil || !strings.Contains(err.Error(), "larger than the 8 MiB that are read")) {
				t.Errorf("it is told as %v", err)
			}
		})
	}
	t.Run("without end", func(t *testing.T) {
		s, c, r := reading(t, registrytest.Options{})
		s.Manifest(r.Path, "v1", v1.MediaTypeImageIndex, []byte(sized(9<<20)))
		// It goes on, however long anyone waits, and nobody does.
		s.On("GET manifest", registrytest.Length(-1), registrytest.Stall(8<<20+1))
		m, err := c.Manifest(t.Context(), r, "v1")
		isManifest(t, m, err, "", "", ErrCorrupt)
		if n := s.Count("GET manifest"); n != 1 {
			t.Errorf("it was asked for %d times", n)
		}
	})
}

// Whatever has the digest and can be understood is kept byte for byte; what can't be
// is refused, and nothing of it breaks anything.
//
// Behaviour: manifest.shapes
func TestManifestsOfAllShapes(t *testing.T) {
	d := digest.FromString("x").String()
	expand := func(s string) string {
		return strings.NewReplacer("@", `{"mediaType":"application/x","digest":"`+d+`","size":1}`, "INDEX", v1.MediaTypeImageIndex, "IMAGE", v1.MediaTypeImageManifest,
			"ARTIFACT", "application/vnd.oci.artifact.manifest.v1+json", "ORAS", "application/vnd.cncf.oras.artifact.manifest.v1+json",
			"B3", `{"mediaType":"application/x","digest":"blake3:`+strings.Repeat("0a", 32)+`","size":1}`).Replace(s)
	}
	for name, test := range map[string]struct {
		raw                      string
		layers, manifests, blobs int
		want                     error
	}{
		"nested index":            {`{"mediaType":"INDEX","manifests":[{"mediaType":"INDEX","digest":"` + d + `","size":1},@]}`, 0, 2, 0, nil},
		"empty index":             {`{"mediaType":"INDEX","manifests":[]}`, 0, 0, 0, nil},
		"null index":              {`{"mediaType":"INDEX","manifests":null}`, 0, 0, 0, nil},
		"null index, no type":     {`{"manifests":null}`, 0, 0, 0, nil},
		"a sparse index":          {`{"mediaType":"INDEX","manifests":[@,@,@]}`, 0, 3, 0, nil},
		"layers missing":          {`{"mediaType":"IMAGE","config":@}`, 0, 0, 1, nil},
		"layers null":             {`{"mediaType":"IMAGE","config":@,"layers":null}`, 0, 0, 1, nil},
		"layers empty":            {`{"mediaType":"IMAGE","config":@,"layers":[]}`, 0, 0, 1, nil},
		"a layer twice":           {`{"mediaType":"IMAGE","config":@,"layers":[@,@]}`, 2, 0, 3, nil},
		"an artifact":             {`{"mediaType":"ARTIFACT","artifactType":"a/b","blobs":[@,@],"subject":@}`, 2, 0, 2, nil},
		"an artifact of ORAS":     {`{"mediaType":"ORAS","artifactType":"a/b","blobs":[@]}`, 1, 0, 1, nil},
		"an artifact, no type":    {`{"artifactType":"a/b","blobs":[@]}`, 1, 0, 1, nil},
		"an artifact, no blobs":   {`{"mediaType":"ARTIFACT","artifactType":"a/b"}`, 0, 0, 0, nil},
		"an artifact, null blobs": {`{"mediaType":"ORAS","blobs":null}`, 0, 0, 0, nil},
		"an artifact's config":    {`{"mediaType":"ARTIFACT","config":@,"blobs":[@]}`, 0, 0, 0, ErrCorrupt},
		"an artifact's layers":    {`{"mediaType":"ARTIFACT","layers":[@],"blobs":[@]}`, 0, 0, 0, ErrCorrupt},
		"an artifact's manifests": {`{"mediaType":"ORAS","manifests":[@],"blobs":[@]}`, 0, 0, 0, ErrCorrupt},
		"an artifact's bad blobs": {`{"mediaType":"ARTIFACT","blobs":[{"digest":"sha256:00","size":1}]}`, 0, 0, 0, ErrCorrupt},
		"blobs are a string":      {`{"mediaType":"ORAS","blobs":"x"}`, 0, 0, 0, ErrCorrupt},
		"an image's blobs":        {`{"mediaType":"IMAGE","config":@,"layers":[@],"blobs":"x"}`, 1, 0, 2, nil}, // an unknown field
		"unknown algorithms":      {`{"mediaType":"IMAGE","config":B3,"layers":[@,B3],"subject":B3}`, 2, 0, 3, nil},
		"an unknown child":        {`{"mediaType":"INDEX","manifests":[B3,@]}`, 0, 2, 0, nil},
		"an upper case digest":    {`{"mediaType":"IMAGE","config":@,"layers":[{"digest":"` + "sha256:" + strings.Repeat("0A", 32) + `","size":1}]}`, 0, 0, 0, ErrCorrupt},
		"a short sha512":          {`{"mediaType":"IMAGE","config":@,"layers":[{"digest":"` + "sha512:" + strings.Repeat("0a", 32) + `","size":1}]}`, 0, 0, 0, ErrCorrupt},
		"an algorithm alone":      {`{"mediaType":"IMAGE","config":@,"layers":[{"digest":"blake3:","size":1}]}`, 0, 0, 0, ErrCorrupt},
		"a path for its digits":   {`{"mediaType":"IMAGE","config":@,"layers":[{"digest":"blake3:../x","size":1}]}`, 0, 0, 0, ErrCorrupt},
		"config missing":          {`{"mediaType":"IMAGE","layers":[@]}`, 0, 0, 0, ErrCorrupt},
		"unknown fields":          {` {"x-first":[1e400,"\u2028é",{"mediaType":7}],"mediaType" : "INDEX",` + "\t\"manifests\":[@]\r\n,\"$last\":null}\n\n", 0, 1, 0, nil},
		"unknown in descriptors":  {`{"mediaType":"IMAGE","config":@,"layers":[{"digest":"` + d + `","size":1,"x":{"y":[]}}]}`, 1, 0, 2, nil},
		"huge unknown numbers":    {`{"mediaType":"INDEX","schemaVersion":1e999999,"manifests":[]}`, 0, 0, 0, nil},
		"another spelling":        {`{"mediaType":"INDEX","manifests":[],"MediaType":"IMAGE","Manifests":[@],"CONFIG":@}`, 0, 0, 0, nil},
		"a field twice":           {`{"mediaType":"INDEX","manifests":[@],"manifests":[@,@]}`, 0, 2, 0, nil},
		"a type twice":            {`{"mediaType":"IMAGE","mediaType":"INDEX","manifests":[@]}`, 0, 1, 0, nil},
		"a type and a kind twice": {`{"mediaType":"INDEX","manifests":[@],"manifests":null,"config":@,"mediaType":"IMAGE"}`, 0, 0, 0, ErrCorrupt},
		"a size of 2^63":          {`{"mediaType":"INDEX","manifests":[{"digest":"` + d + `","size":9223372036854775808}]}`, 0, 0, 0, ErrCorrupt},
		"a size of 2^63-1":        {`{"mediaType":"INDEX","manifests":[{"digest":"` + d + `","size":9223372036854775807}]}`, 0, 1, 0, nil},
		"a size of 1e999":         {`{"mediaType":"INDEX","manifests":[{"digest":"` + d + `","size":1e999}]}`, 0, 0, 0, ErrCorrupt},
		"a broken size":           {`{"mediaType":"INDEX","manifests":[{"digest":"` + d + `","size":1.5}]}`, 0, 0, 0, ErrCorrupt},
		"a negative size":         {`{"mediaType":"IMAGE","config":{"digest":"` + d + `","size":-1}}`, 0, 0, 0, ErrCorrupt},
		"a digest missing":        {`{"mediaType":"INDEX","manifests":[{"size":1}]}`, 0, 0, 0, ErrCorrupt},
		"a null descriptor":       {`{"mediaType":"INDEX","manifests":[null]}`, 0, 0, 0, ErrCorrupt},
		"a path for a digest":     {`{"mediaType":"INDEX","manifests":[{"digest":"sha256:../../x","size":1}]}`, 0, 0, 0, ErrCorrupt},
		"a malformed subject":     {`{"mediaType":"INDEX","manifests":[],"subject":{"digest":"x","size":1}}`, 0, 0, 0, ErrCorrupt},
		"manifests are a string":  {`{"mediaType":"INDEX","manifests":"x"}`, 0, 0, 0, ErrCorrupt},
		"annotations are numbers": {`{"mediaType":"INDEX","manifests":[],"annotations":{"a":1}}`, 0, 0, 0, ErrCorrupt},
		"a list":                  {`[{"manifests":[]}]`, 0, 0, 0, ErrCorrupt},
		"two in a row":            {`{"manifests":[]}{"manifests":[]}`, 0, 0, 0, ErrCorrupt},
		"very deep":               {`{"manifests":[],"x":` + strings.Repeat("[", 200_000) + strings.Repeat("]", 200_000) + `}`, 0, 0, 0, ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			s, c, r := reading(t, registrytest.Options{})
			raw := expand(test.raw)
			of := s.Manifest(r.Path, "v1", "application/json", []byte(raw))
			for _, reference := range []string{"v1", of.String()} {
				m, err := c.Manifest(t.Context(), r, reference)
				isManifest(t, m, err, raw, of, test.want)
				if err == nil && (len(m.Layers) != test.layers || len(m.Manifests) != test.manifests || len(m.Blobs()) != test.blobs) {
					t.Errorf("%d layers, %d manifests, %d blobs", len(m.Layers), len(m.Manifests), len(m.Blobs()))
				}
			}
		})
	}
}
