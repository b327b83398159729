package registry

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/registrytest"
)

// signed gives a schema 1 manifest as a registry serves it: its payload with signatures
// put in before the end, whose protected header tells how to get the payload back.
func signed(payload string) string {
	n := strings.LastIndex(payload, "\n}")
	return payload[:n] + "," + signatures(n, payload[n:]) + "\n}"
}

// signatures is the field of a signature over the first n bytes and a tail.
func signatures(n int, tail string) string {
	b64 := base64.RawURLEncoding.EncodeToString
	header := fmt.Sprintf(`{"formatLength":%d,"formatTail":%q,"time":"2016-05-01T00:00:00Z"}`, n, b64([]byte(tail)))
	return fmt.Sprintf("\n   \"signatures\": [\n      {\n         \"header\": {\"alg\": \"ES256\"},\n         \"signature\": %q,\n         \"protected\": %q\n      }\n   ]",
		b64([]byte("anyone's")), b64([]byte(header)))
}

// schema1Payload is a schema 1 manifest without its signatures.
const schema1Payload = "{\n   \"schemaVersion\": 1,\n   \"name\": \"a/b\",\n   \"tag\": \"v1\",\n   \"architecture\": \"amd64\",\n" +
	"   \"fsLayers\": [\n      {\"blobSum\": \"sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4\"}\n   ],\n" +
	"   \"history\": [\n      {\"v1Compatibility\": \"{\\\"id\\\":\\\"x\\\"}\"}\n   ]\n}"

// Schema 1 is shown as it came. Its digest is that of what was signed, whether the
// registry says so or not, and the signatures may be anyone's.
//
// Behaviour: manifest.schema1
func TestSchema1IsShownRaw(t *testing.T) {
	raw, payload := signed(schema1Payload), digest.FromString(schema1Payload)
	for name, test := range map[string]struct {
		reference, contentType, header string
	}{
		"tag":                       {"v1", schema1Signed, payload.String()},
		"tag, a charset":            {"v1", schema1Signed + "; charset=utf-8", payload.String()},
		"tag, the other type":       {"v1", schema1, payload.String()},
		"tag, JSON":                 {"v1", "application/json", payload.String()},
		"tag, no header":            {"v1", schema1Signed, ""},
		"tag, an unknown algorithm": {"v1", schema1Signed, "md5:00"},
		"digest":                    {payload.String(), schema1Signed, payload.String()},
		"digest, no header":         {payload.String(), schema1Signed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, c, r := reading(t, registrytest.Options{})
			s.Manifest(r.Path, test.reference, test.contentType, []byte(raw))
			s.On("* manifest", registrytest.Change(func(a *registrytest.Answer) {
				a.Header.Del("Docker-Content-Digest")
				if test.header != "" {
					a.Header.Set("Docker-Content-Digest", test.header)
				}
			}))
			m, err := c.Manifest(t.Context(), r, test.reference)
			isManifest(t, m, err, raw, payload, nil)
			if err == nil && (m.MediaType != schema1Signed || m.IsIndex() || m.Blobs() != nil) {
				t.Errorf("%s, %v", m.MediaType, m.Blobs())
			}
			if is, err := c.ResolveManifest(t.Context(), r, test.reference); err != nil || is.Digest != payload {
				t.Errorf("%s, %v", is.Digest, err)
			}
		})
	}
	t.Run("never signed", func(t *testing.T) {
		s, c, r := reading(t, registrytest.Options{})
		d := s.Manifest(r.Path, "v1", schema1, []byte(schema1Payload))
		m, err := c.Manifest(t.Context(), r, "v1")
		isManifest(t, m, err, schema1Payload, d, nil)
	})
}

// Signatures are checked by nobody here, so they are no way to serve something else
// under a digest that it hasn't got.
//
// Behaviour: manifest.schema1, manifest.digest
func TestSignaturesHideNothing(t *testing.T) {
	evil := `{"digest":"` + digest.FromString("evil").String() + `","size":4}`
	good := `{"digest":"` + digest.FromString("good").String() + `","size":4}`
	image := `{"mediaType":"` + v1.MediaTypeImageManifest + `","config":` + good + `,"layers":[` + good + "]\n}"
	index := `{"mediaType":"` + v1.MediaTypeImageIndex + `","manifests":[` + good + "]\n}"
	// after puts fields behind those of a payload, with signatures that leave them out.
	after := func(payload, fields string) string {
		n := strings.LastIndex(payload, "\n}")
		return payload[:n] + fields + "," + signatures(n, payload[n:]) + "}"
	}
	for name, test := range map[string]struct{ payload, raw string }{
		"layers of an image":       {image, after(image, `,"fsLayers":[],"layers":[`+evil+`]`)},
		"an image called schema 1": {image, after(image, `,"fsLayers":[],"config":null,"layers":null,"mediaType":"`+schema1Signed+`"`)},
		"manifests of an index":    {index, after(index, `,"fsLayers":[],"manifests":[`+evil+`]`)},
		"an index become an image": {index, after(index, `,"fsLayers":[],"manifests":null,"mediaType":"`+v1.MediaTypeImageManifest+`","config":`+evil)},
		"a field of schema 1":      {schema1Payload, after(schema1Payload, `,"extra":1`)},
		"layers of schema 1":       {schema1Payload, after(schema1Payload, `,"fsLayers":[]`)},
		"schema 1 become an image": {schema1Payload, after(schema1Payload, `,"config":`+evil)},
		"a length beyond the end":  {schema1Payload, strings.TrimSuffix(schema1Payload, "\n}") + "," + signatures(1<<30, "\n}") + "}"},
		"a negative length":        {schema1Payload, strings.TrimSuffix(schema1Payload, "\n}") + "," + signatures(-1, schema1Payload) + "}"},
		"all in the tail":          {image, `{"fsLayers":[],` + signatures(0, image) + "}"},
		"signatures of nothing":    {schema1Payload, strings.TrimSuffix(schema1Payload, "\n}") + `,"signatures":[]}`},
		"malformed signatures":     {schema1Payload, strings.TrimSuffix(schema1Payload, "\n}") + `,"signatures":[{"protected":"!"}]}`},
		"a malformed header":       {schema1Payload, strings.TrimSuffix(schema1Payload, "\n}") + `,"signatures":[{"protected":"e30x"}]}`},
		"signatures are a string":  {schema1Payload, strings.TrimSuffix(schema1Payload, "\n}") + `,"signatures":"x"}`},
		"signatures are null":      {schema1Payload, strings.TrimSuffix(schema1Payload, "\n}") + `,"signatures":null}`},
	} {
		t.Run(name, func(t *testing.T) {
			if !json.Valid([]byte(test.raw)) {
				t.Fatalf("the test's own: %s", test.raw)
			}
			s, c, r := reading(t, registrytest.Options{})
			d := digest.FromString(test.payload)
			s.Manifest(r.Path, d.String(), "application/json", []byte(test.raw))
			s.Manifest(r.Path, "v1", "application/json", []byte(test.raw))
			s.On("GET manifest v1", registrytest.With("Docker-Content-Digest", d.String()))
			for _, reference := range []string{d.String(), "v1"} {
				m, err := c.Manifest(t.Context(), r, reference)
				isManifest(t, m, err, "", "", ErrCorrupt)
			}
		})
	}
}
