package auth

import (
	"reflect"
	"testing"
)

func TestChallengesAreReadByTheGrammar(t *testing.T) {
	for name, c := range map[string]struct {
		in   []string
		want []Challenge
	}{
		"none":               {nil, nil},
		"upper case":         {[]string{`BASIC realm="x"`}, []Challenge{{"basic", map[string]string{"realm": "x"}}}},
		"several in one":     {[]string{`Negotiate, Bearer realm="https://a/t",service="s"`}, []Challenge{{"negotiate", map[string]string{}}, {"bearer", map[string]string{"realm": "https://a/t", "service": "s"}}}},
		"several headers":    {[]string{`Basic realm="x"`, `Bearer realm="y"`}, []Challenge{{"basic", map[string]string{"realm": "x"}}, {"bearer", map[string]string{"realm": "y"}}}},
		"comma within quote": {[]string{`Bearer realm="y",scope="repository:a:pull,push"`}, []Challenge{{"bearer", map[string]string{"realm": "y", "scope": "repository:a:pull,push"}}}},
		"escapes":            {[]string{`Basic realm="a\"b"`}, []Challenge{{"basic", map[string]string{"realm": `a"b`}}}},
		"no quotes":          {[]string{`Basic realm=x`}, []Challenge{{"basic", map[string]string{"realm": "x"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := ParseChallenges(c.in); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func FuzzParseChallenges(f *testing.F) {
	for _, s := range []string{"", `Bearer realm="x",service=y`, `Negotiate abc==, Basic realm="`, "\x00=,=\""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, c := range ParseChallenges([]string{s}) {
			if c.Scheme == "" || c.Params == nil {
				t.Errorf("a challenge without a scheme or parameters: %v", c)
			}
		}
	})
}
