package registry

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
)

// A list of names is decoded as encoding/json does it, whatever stands in the array.
func FuzzDecodeNames(f *testing.F) {
	for _, s := range []string{
		`["v1","v2"]`, "[ \"v1\"\t,\r\n\"v2\" ]", `[]`, `[""]`, `["",""]`, `null`, `[null]`, `["v1",null]`, `"v1"`, `[["v1"]]`, `["v1",["v2"]]`,
		`["\"","v\\"]`, `["\u0041"]`, `["é"]`, "[\"\xff\"]", `[1]`, `["v1",1]`, `[true]`, `[{"a":"b"}]`, `{"a":"b"}`, `["a,b","[c]"," d "]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var raw json.RawMessage
		if json.Unmarshal(b, &raw) != nil || raw == nil {
			return // the page isn't JSON
		}
		var want []string
		wantErr := json.Unmarshal(raw, &want)
		got, err := decodeNames(raw)
		if (err == nil) != (wantErr == nil) || err == nil && !slices.Equal(got, want) {
			t.Errorf("%q is %q, %v; want %q, %v", raw, got, err, want, wantErr)
		}
	})
}

// BenchmarkDecodeNames is a page of 1000 tags.
func BenchmarkDecodeNames(b *testing.B) {
	names := make([]string, 1000)
	for i := range names {
		names[i] = fmt.Sprintf("build-%06d", i)
	}
	raw, err := json.Marshal(names)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := decodeNames(raw); err != nil {
			b.Fatal(err)
		}
	}
}
