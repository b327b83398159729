package hosts

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// hostsTOML is the content of a hosts.toml.
type hostsTOML struct {
	server   settings // its base is nil if the file names no server
	mirrors  []settings
	warnings []*Error // keys and capabilities that mean nothing here
}

// settings are what a file says of one server. The files that they name aren't read yet.
type settings struct {
	base         *url.URL
	httpFallback bool       // Endpoint.HTTPFallback
	can          Capability // what the file names; 0 also if it names none
	canNamed     bool       // the file names capabilities, though maybe unknown ones alone
	ca           []filePath
	client       []clientPair
	skipVerify   bool
	header       http.Header
	dialTimeout  time.Duration // 0: not named
	any          bool          // the file says anything at all of the server
}

// filePath is a path as it stands in a file.
type filePath struct {
	path string
	line int
}

// clientPair is the paths of a client certificate and its key. key is empty if one file
// holds both.
type clientPair struct {
	cert, key string
	line      int
}

// serverKeys are the keys for one server. The root of the file has server and host as well.
var serverKeys = []string{"capabilities", "ca", "client", "skip_verify", "header", "override_path", "dial_timeout"}

// parseHostsTOML parses the text of a hosts.toml. An error is an *Error.
func parseHostsTOML(file string, text []byte) (*hostsTOML, error) {
	root, err := parseTable(file, text)
	if err != nil {
		return nil, err
	}
	c := &hostsTOML{}
	address, _, err := root.text("server")
	if err != nil {
		return nil, err
	}
	if c.server, err = root.settings(address, root, "server"); err != nil {
		return nil, err
	}
	c.warnings = append(root.unknownCapabilities(), root.unknownKeys("hosts.toml", append(serverKeys, "server", "host"))...)
	if c.server.base == nil && c.server.canNamed {
		c.server.can, c.server.canNamed = 0, false
		c.warnings = append(c.warnings, root.errorf("capabilities", "hosts.toml: capabilities at the root are those of server, and it names none: they mean nothing"))
	}
	hosts, _, err := root.below("host")
	if err != nil {
		return nil, err
	}
	for _, address := range hosts.positions.hosts {
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
		c.warnings = append(append(c.warnings, t.unknownCapabilities()...), t.unknownKeys("hosts.toml", serverKeys)...)
	}
	return c, nil
}

// settings reads what a table says of the server at address, which stands at a key of in. An
// empty address is the registry itself.
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
	// Also skip_verify = false is about TLS, to containerd.
	_, skips := t.values["skip_verify"]
	if (skips || s.ca != nil || s.client != nil) && s.base != nil && s.base.Scheme == "http" && s.base.Port() != "80" {
		s.base.Scheme, s.httpFallback = "https", true
	}
	s.any = s.base != nil || s.canNamed || s.ca != nil || s.client != nil || s.skipVerify || s.header != nil || s.dialTimeout != 0
	return s, nil
}

// readCapabilities adds the capabilities that are known. An empty list names none, as to
// containerd.
func (t table) readCapabilities(s *settings) error {
	names, err := t.list("capabilities")
	if err != nil {
		return err
	}
	s.canNamed = len(names) > 0
	for _, name := range names {
		s.can |= parseCapability(name)
	}
	return nil
}

// unknownCapabilities gives a warning for each capability that isn't known. The list was
// read already.
func (t table) unknownCapabilities() (warnings []*Error) {
	names, _ := t.list("capabilities")
	for _, name := range names {
		if parseCapability(name) == 0 {
			warnings = append(warnings, t.errorf("capabilities", "hosts.toml: the capability %q isn't known (%v are): going on with the others", name, allCapabilities))
		}
	}
	return warnings
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
		s.ca = append(s.ca, filePath{p, t.line("ca")})
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
		p := clientPair{line: t.line("client")}
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
