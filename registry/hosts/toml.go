package hosts

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// config is what a hosts.toml says.
type config struct {
	server  settings // with a nil base where the registry itself is meant
	mirrors []settings
	// ignored are the keys that mean nothing here, with their lines.
	ignored []*Error
}

// settings are what a hosts.toml says of one server. Nothing that they name was read.
type settings struct {
	base        *url.URL
	can         Capability // 0 where none is named
	ca          []named
	client      []pair
	skipVerify  bool
	header      http.Header
	dialTimeout time.Duration
	said        bool // anything at all
}

// named is a path as it stands in a file, and the line that it stands on.
type named struct {
	path string
	line int
}

// pair is a client certificate and its key, which may be in the same file: then key is
// empty.
type pair struct {
	cert, key string
	line      int
}

// keys are those of one server. At the top there are server and host as well.
var keys = []string{"capabilities", "ca", "client", "skip_verify", "header", "override_path", "dial_timeout"}

// parse reads the text of the hosts.toml at file. An error is an *Error.
func parse(file string, text []byte) (*config, error) {
	values := map[string]any{}
	if err := toml.Unmarshal(text, &values); err != nil {
		line := 0
		if d := (*toml.DecodeError)(nil); errors.As(err, &d) {
			line, _ = d.Position()
		}
		return nil, &Error{File: file, Line: line, Err: errors.New(strings.TrimPrefix(err.Error(), "toml: "))}
	}
	top := table{file: file, outline: outlineOf(text), values: values}
	c := &config{}
	address, _, err := top.text("server")
	if err != nil {
		return nil, err
	}
	if c.server, err = top.settings(address, top, "server"); err != nil {
		return nil, err
	}
	c.ignored = append(c.ignored, top.ignored("server", "host")...)
	hosts, _, err := top.below("host")
	if err != nil {
		return nil, err
	}
	for _, address := range hosts.outline.hosts {
		t, there, err := hosts.below(address)
		if err != nil {
			return nil, err
		}
		if !there {
			continue
		}
		if address == "" {
			return nil, hosts.errorf(address, "a mirror needs an address: [host.\"https://mirror.example\"]")
		}
		s, err := t.settings(address, hosts, address)
		if err != nil {
			return nil, err
		}
		c.mirrors = append(c.mirrors, s)
		c.ignored = append(c.ignored, t.ignored()...)
	}
	return c, nil
}

// ignored gives the keys that mean nothing here: neither those of a server nor more.
func (t table) ignored(more ...string) []*Error {
	var unknown []*Error
	for _, k := range slices.Sorted(maps.Keys(t.values)) {
		if !slices.Contains(keys, k) && !slices.Contains(more, k) {
			unknown = append(unknown, t.errorf(k, "%q means nothing here", k))
		}
	}
	return unknown
}

// settings reads what a table says of the server at address, which stands at a key of
// another, or of the same; an empty address is the registry itself.
func (t table) settings(address string, in table, key string) (settings, error) {
	var s settings
	override, err := t.flag("override_path")
	if err != nil {
		return s, err
	}
	if address != "" {
		if s.base, err = parseBase(address, override); err != nil {
			return s, in.errorf(key, "%w", err)
		}
	}
	for _, read := range []func(*settings) error{t.readCapabilities, t.readCA, t.readClient, t.readHeader, t.readDialTimeout} {
		if err := read(&s); err != nil {
			return s, err
		}
	}
	if s.skipVerify, err = t.flag("skip_verify"); err != nil {
		return s, err
	}
	s.said = s.base != nil || s.can != 0 || s.ca != nil || s.client != nil || s.skipVerify || s.header != nil || s.dialTimeout != 0
	return s, nil
}

func (t table) readCapabilities(s *settings) error {
	names, err := t.list("capabilities")
	if err != nil {
		return err
	}
	for _, name := range names {
		known := false
		for _, k := range capabilities {
			if strings.EqualFold(name, k.name) {
				s.can, known = s.can|k.can, true
			}
		}
		if !known {
			return t.errorf("capabilities", "%q is no capability: there are pull, resolve and push", name)
		}
	}
	return nil
}

func (t table) readCA(s *settings) error {
	paths, err := t.texts("ca", t.values["ca"])
	if err != nil {
		return err
	}
	for _, p := range paths {
		if p == "" {
			return t.errorf("ca", "ca names no file")
		}
		s.ca = append(s.ca, named{p, t.errorf("ca", "").Line})
	}
	return nil
}

// readClient takes the three forms of client: a file, files, and pairs of files. One list
// may mix the last two.
func (t table) readClient(s *settings) error {
	v, ok := t.values["client"]
	if !ok {
		return nil
	}
	items, ok := v.([]any)
	if !ok {
		items = []any{v}
	}
	for _, item := range items {
		p := pair{line: t.errorf("client", "").Line}
		switch item := item.(type) {
		case string:
			p.cert = item
		case []any:
			both, err := t.texts("client", item)
			if err != nil {
				return err
			}
			if len(both) != 2 {
				return t.errorf("client", "a pair of client has a certificate and a key, and not %d files", len(both))
			}
			p.cert, p.key = both[0], both[1]
		default:
			return t.errorf("client", "client must be a file, a list of files or a list of [CERTIFICATE, KEY]")
		}
		if p.cert == "" {
			return t.errorf("client", "client names no file")
		}
		s.client = append(s.client, p)
	}
	return nil
}

func (t table) readHeader(s *settings) error {
	h, _, err := t.below("header")
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(h.values)) { // in order, as two may be one in different case
		if !validName(name) {
			return h.errorf(name, "%q can be no name of a header", name)
		}
		values, err := h.texts(name, h.values[name])
		if err != nil {
			return err
		}
		for _, v := range values {
			if strings.ContainsFunc(v, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
				return h.errorf(name, "the header %s has a character that no header may have", name)
			}
			if s.header == nil {
				s.header = http.Header{}
			}
			s.header.Add(name, v)
		}
	}
	return nil
}

// validName says whether s is a token (RFC 9110, 5.6.2).
func validName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}

func (t table) readDialTimeout(s *settings) error {
	v, ok, err := t.text("dial_timeout")
	if err != nil || !ok {
		return err
	}
	if s.dialTimeout, err = time.ParseDuration(v); err != nil || s.dialTimeout < 0 {
		return t.errorf("dial_timeout", "%q is no time to wait: write it as \"2s\"", v)
	}
	return nil
}
