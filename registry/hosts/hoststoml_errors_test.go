package hosts

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// An error names the file, the line and what is wrong.
func TestWhatIsWrongInATextIsSaidWithItsLine(t *testing.T) {
	for _, c := range []struct {
		text string
		line int
		want string
	}{
		{"server = \"https://a.example\"\nserver = \"https://b.example\"\n", 2, "server"},
		{"server = \"https://a.example\n", 1, ""},
		{"\n\n[host.\"https://a.example\"\n", 3, ""},
		{"[host.\"https://a.example\"]\n[host.\"https://a.example\"]\n", 2, "https://a.example"},
		{"server = 5\n", 1, "server must be a string"},
		{"host = 'x'\n", 1, "host must be a table"},
		{"[[host]]\n", 1, "host must be a table"},
		{"[host]\n'https://a.example' = true\n", 2, "must be a table"},
		{"[host.'']\n", 1, "a mirror needs an address"},
		{"server = 'ftp://a.example'\n", 1, "must begin with https:// or http://"},
		{"\n[host.'https://']\n", 2, "names no host"},
		{"capabilities = 'pull'\n", 1, "capabilities must be a list of strings"},
		{"capabilities = [1]\n", 1, "capabilities must hold strings alone"},
		{"capabilities = true\n", 1, "capabilities must be a string or a list"},
		{"ca = 3\n", 1, "ca must be a string or a list of strings"},
		{"ca = ['a', '']\n", 1, "ca names no file"},
		{"client = 3\n", 1, "client must be a file"},
		{"client = [3]\n", 1, "client must be a file"},
		{"client = ''\n", 1, "client names no file"},
		{"# here\nclient = [['a', 'b', 'c']]\n", 2, "a pair of client has a certificate and a key, and not 3 files"},
		{"client = [['a', 2]]\n", 1, "client must hold strings alone"},
		{"skip_verify = 'yes'\n", 1, "skip_verify must be true or false"},
		{"override_path = 1\n", 1, "override_path must be true or false"},
		{"dial_timeout = '5'\n", 1, `"5" is no time to wait`},
		{"dial_timeout = '-5s'\n", 1, `"-5s" is no time to wait`},
		{"dial_timeout = 5\n", 1, "dial_timeout must be a string"},
		{"header = 'x'\n", 1, "header must be a table"},
		{"[host.'https://a.example'.header]\nA = 'b'\n'a b' = 'c'\n", 3, `"a b" can be no name of a header`},
		{"[header]\n'' = 'c'\n", 2, `"" can be no name of a header`},
		{"[header]\nA = ['b', 3]\n", 2, "A must hold strings alone"},
		{"[header]\nA = \"b\\r\\nC: d\"\n", 2, "the header A has a character that no header may have"},
	} {
		got, err := parseHostsTOML("/etc/hosts.toml", []byte(c.text))
		var e *Error
		if !errors.As(err, &e) || got != nil {
			t.Errorf("%q: got %v, %v", c.text, got, err)
			continue
		}
		if e.File != "/etc/hosts.toml" || e.Line != c.line || !strings.Contains(e.Err.Error(), c.want) || e.Err.Error() == "" {
			t.Errorf("%q: got %q, want line %d and %q", c.text, err, c.line, c.want)
		}
		if want := fmt.Sprintf("/etc/hosts.toml:%d: ", c.line); !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %q doesn't begin with %q", c.text, err, want)
		}
	}
}

// People write passwords into addresses and headers; an error doesn't repeat them.
func TestAnErrorTellsNoSecret(t *testing.T) {
	for _, text := range []string{
		"server = 'https://user:SECRET@a.example'",
		"server = 'https://user:SECRET/x@a.example'",
		"server = 'https://user:SECRET@a.example:port'",
		"server = 'user:SECRET@a.example'",
		"server = 'https://a.example/?token=SECRET'",
		"server = 'https://a.example/v2#SECRET'",
		"[host.'https://user:SECRET%zz@a.example']",
		"[header]\nAuthorization = ['Basic SECRET', 5]",
		"[header]\nAuthorization = \"Basic SECRET\\n\"",
	} {
		if _, err := parseHostsTOML("hosts.toml", []byte(text)); err == nil || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%q gives %v", text, err)
		}
	}
}
