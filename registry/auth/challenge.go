package auth

import (
	"maps"
	"strings"
)

// Challenge is one challenge of a WWW-Authenticate header.
type Challenge struct {
	Scheme string            // lower case
	Params map[string]string // names in lower case
}

// without gives the challenge without a parameter.
func (c *Challenge) without(param string) *Challenge {
	own := &Challenge{c.Scheme, maps.Clone(c.Params)}
	delete(own.Params, param)
	return own
}

// ParseChallenges reads all challenges of all headers. What doesn't follow the
// grammar of RFC 9110, section 11.2, is passed over:
//
//	challenge  = auth-scheme [ 1*SP ( token68 / #auth-param ) ]
//	auth-param = token BWS "=" BWS ( token / quoted-string )
func ParseChallenges(headers []string) []Challenge {
	var all []Challenge
	for _, h := range headers {
		p := parser{s: h}
		for p.s != "" {
			p.skip(" \t,")
			word := p.token()
			if word == "" {
				if p.s != "" { // nothing that can start here
					p.s = p.s[1:]
				}
				continue
			}
			if value, ok := p.value(); ok {
				if n := len(all); n > 0 {
					if _, twice := all[n-1].Params[strings.ToLower(word)]; !twice {
						all[n-1].Params[strings.ToLower(word)] = value
					}
				}
				continue
			}
			all = append(all, Challenge{strings.ToLower(word), map[string]string{}})
		}
	}
	return all
}

type parser struct{ s string }

func (p *parser) skip(chars string) { p.s = strings.TrimLeft(p.s, chars) }

// token reads a token of RFC 9110, section 5.6.2.
func (p *parser) token() string {
	i := 0
	for i < len(p.s) && isTokenChar(p.s[i]) {
		i++
	}
	t := p.s[:i]
	p.s = p.s[i:]
	return t
}

func isTokenChar(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// value reads "=" and what it gives, if that comes next.
func (p *parser) value() (string, bool) {
	before := p.s
	p.skip(" \t")
	if !strings.HasPrefix(p.s, "=") {
		p.s = before
		return "", false
	}
	p.s = p.s[1:]
	p.skip(" \t")
	if !strings.HasPrefix(p.s, `"`) {
		// Real servers leave the quotes off where the grammar wants them.
		i := strings.IndexAny(p.s, ", \t")
		if i < 0 {
			i = len(p.s)
		}
		v := p.s[:i]
		p.s = p.s[i:]
		return v, true
	}
	p.s = p.s[1:]
	var b strings.Builder
	for i := 0; i < len(p.s); i++ {
		switch c := p.s[i]; {
		case c == '\\' && i+1 < len(p.s):
			i++
			b.WriteByte(p.s[i])
		case c == '"':
			p.s = p.s[i+1:]
			return b.String(), true
		default:
			b.WriteByte(c)
		}
	}
	p.s = "" // never closed: take what there is
	return b.String(), true
}
