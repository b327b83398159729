package registry

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
)

// signedPayload gives the bytes that the signatures of a schema 1 manifest are over,
// and its digest is of: its first so many bytes, and an end that the signature tells
// (https://github.com/distribution/distribution/blob/v2.8.3/docs/spec/manifest-v2-1.md,
// "Signed Manifests"). fields are those of raw.
//
// Nobody checks the signatures, and so they could tell any beginning of raw to be all
// of it. The payload is to say what raw does, but for them: else a manifest of another
// kind, or with other content, could hide behind a digest that isn't its own.
func signedPayload(raw []byte, fields map[string]json.RawMessage) ([]byte, bool) {
	var signatures []struct{ Protected string }
	if json.Unmarshal(fields["signatures"], &signatures) != nil || len(signatures) == 0 {
		return nil, false
	}
	header, err := base64.RawURLEncoding.DecodeString(signatures[0].Protected)
	if err != nil {
		return nil, false
	}
	var protected struct {
		FormatLength int
		FormatTail   string
	}
	if json.Unmarshal(header, &protected) != nil {
		return nil, false
	}
	tail, err := base64.RawURLEncoding.DecodeString(protected.FormatTail)
	n := protected.FormatLength
	if err != nil || n < 0 || n > len(raw) {
		return nil, false
	}
	payload := append(bytes.Clone(raw[:n]), tail...)
	var signed map[string]json.RawMessage
	if json.Unmarshal(payload, &signed) != nil || signed["fsLayers"] == nil || signed["signatures"] != nil || len(signed) != len(fields)-1 {
		return nil, false
	}
	for name, v := range signed {
		if !bytes.Equal(v, fields[name]) {
			return nil, false
		}
	}
	return payload, true
}
