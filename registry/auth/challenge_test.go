package auth

import (
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
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

// inTheWild are challenges as registries send them.
var inTheWild = []string{
	`Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/alpine:pull"`, // Docker Hub
	`Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull",error="invalid_token"`,
	`Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:user/image:pull"`,                 // GHCR, for anything
	`Bearer realm="https://harbor.example/service/token",service="harbor-registry",scope="repository:a/b:pull"`, // Harbor
	`Basic realm="harbor"`,
	`Basic realm="https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/",service="ecr.amazonaws.com"`, // ECR
	`Bearer realm="https://public.ecr.aws/token/",service="public.ecr.aws",scope="aws"`,               // ECR Public
	`Bearer realm="https://quay.io/v2/auth",service="quay.io"`,                                        // Quay
	`Bearer realm="https://quay.io/v2/auth",service="quay.io",scope="repository:a/b:pull,push"`,
	`Bearer realm="https://europe-docker.pkg.dev/v2/token",service="europe-docker.pkg.dev",scope="repository:p/r/i:pull"`,            // GAR
	`Bearer realm="https://gitlab.com/jwt/auth",service="container_registry",scope="repository:g/p:pull",error="insufficient_scope"`, // GitLab
	`Bearer realm="https://x.jfrog.io/artifactory/api/docker/r/v2/token",service="x.jfrog.io",scope="repository:a/b:pull"`,           // Artifactory
	`Basic realm="Artifactory Realm"`,
	`BASIC realm="Sonatype Nexus Repository Manager"`, // Nexus
	`Bearer realm="https://x.azurecr.io/oauth2/token",service="x.azurecr.io",scope="repository:a/b:metadata_read"`, // ACR
	`Negotiate, Basic realm="x"`,
	`Negotiate YIIabc==`,
	`Digest realm="x", qop="auth, auth-int", nonce="a\"b", opaque=`,
	`Bearer realm="/token"`,
	`Bearer error="invalid_token", error_description="it's over, \"really\""`,
}

// What is written by the grammar is read as it was meant.
func FuzzParseChallenges(f *testing.F) {
	for _, s := range append(inTheWild, "", `Bearer realm="x",service=y`, `Negotiate abc==, Basic realm="`, "\x00=,=\"") {
		f.Add(s, "")
		f.Add(s, `Basic realm="x"`)
	}
	f.Fuzz(func(t *testing.T, s, more string) {
		all := ParseChallenges([]string{s, more})
		var written []string
		for _, c := range all {
			if c.Scheme == "" || c.Params == nil || c.Scheme != strings.ToLower(c.Scheme) || !isToken(c.Scheme) {
				t.Errorf("a challenge without a scheme or parameters: %v", c)
			}
			text := c.Scheme
			for i, name := range slices.Sorted(maps.Keys(c.Params)) {
				if name != strings.ToLower(name) || !isToken(name) {
					t.Errorf("a parameter that is called %q", name)
				}
				text += [2]string{" ", ", "}[min(i, 1)] + name + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(c.Params[name]) + `"`
			}
			written = append(written, text)
		}
		for _, again := range [][]Challenge{ParseChallenges(written), ParseChallenges([]string{strings.Join(written, ", ")})} {
			if len(again) != len(all) || len(all) > 0 && !reflect.DeepEqual(again, all) {
				t.Errorf("%q is %v, and written anew as %q is %v", s, all, written, again)
			}
		}
		c, realm, err := choose(all, &url.URL{Scheme: "https", Host: "h.example", Path: "/v2/"})
		switch {
		case err != nil:
		case c.Scheme == "basic":
		case c.Scheme != "bearer", realm.Scheme != "https", realm.Host == "", realm.User != nil:
			t.Errorf("%v leads to %v", c, realm)
		}
	})
}

func isToken(s string) bool {
	p := parser{s}
	return p.token() == s
}
