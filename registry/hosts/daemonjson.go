package hosts

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/ocifs/ocifs/registry/ref"
)

// daemonJSON is what docker's daemon.json says of registries.
// https://docs.docker.com/reference/cli/dockerd/#daemon-configuration-file
type daemonJSON struct {
	file     string
	mirrors  []settings     // registry-mirrors: those of docker.io
	insecure []string       // insecure-registries that are HOST[:PORT], as ref.ParseHost spells them
	networks []netip.Prefix // insecure-registries that are networks
	warnings []*Error       // entries that are left out
}

// utf8BOM is the byte order mark that editors on Windows write first.
var utf8BOM = []byte("\xef\xbb\xbf")

// parseDaemonJSON parses the text of a daemon.json. What makes no sense is left out with a
// warning: the file is the daemon's, and most of it means nothing here.
func parseDaemonJSON(file string, text []byte) *daemonJSON {
	d := &daemonJSON{file: file}
	warn := func(format string, args ...any) {
		d.warnings = append(d.warnings, &Error{File: file, Err: fmt.Errorf("daemon.json: "+format, args...)})
	}
	text = bytes.TrimSpace(bytes.TrimPrefix(text, utf8BOM))
	if len(text) == 0 {
		return d
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(text, &keys); err != nil {
		warn("left out, as it is no JSON object: %w", err)
		return d
	}
	entries := func(key string) (all []string) {
		raw, ok := keys[key]
		if !ok {
			return nil
		}
		var list []any
		if err := json.Unmarshal(raw, &list); err != nil {
			warn("%s is left out, as it is no list", key)
			return nil
		}
		for i, v := range list {
			s, ok := v.(string)
			if !ok {
				warn("entry %d of %s is left out, as it is no string", i+1, key)
				continue
			}
			all = append(all, s)
		}
		return all
	}
	for _, address := range entries("registry-mirrors") {
		if !strings.Contains(address, "://") {
			warn("an entry of registry-mirrors is left out: it needs http:// or https://")
			continue
		}
		base, err := parseBase(address, false)
		if err != nil {
			warn("an entry of registry-mirrors is left out: %w", err)
			continue
		}
		d.mirrors = append(d.mirrors, settings{base: base})
	}
	for _, name := range entries("insecure-registries") {
		if network, err := netip.ParsePrefix(name); err == nil {
			d.networks = append(d.networks, network.Masked())
			continue
		}
		// Docker cuts a scheme off too, and warns.
		bare := strings.TrimPrefix(strings.TrimPrefix(name, "https://"), "http://")
		host, err := ref.ParseHost(strings.TrimSuffix(bare, "/"))
		if err != nil {
			warn("an entry of insecure-registries is left out: it is neither HOST[:PORT] nor a network: %w", err)
			continue
		}
		d.insecure = append(d.insecure, host)
	}
	return d
}

// names says whether insecure-registries names the server at u. A network names servers by
// their address alone: no name is looked up here.
func (d *daemonJSON) names(u *url.URL) bool {
	name, _, _ := cutPort(u.Host)
	addr, err := netip.ParseAddr(strings.Trim(name, "[]"))
	if err == nil && slices.ContainsFunc(d.networks, func(p netip.Prefix) bool { return p.Contains(addr.Unmap()) }) {
		return true
	}
	return slices.ContainsFunc(d.insecure, func(h string) bool { return ref.APIHost(h) == u.Host })
}

// loadDaemonJSON reads the daemon.json that counts: the first that exists.
func (l *loader) loadDaemonJSON() *daemonJSON {
	for _, file := range l.finder.daemonJSON {
		text, err := l.shared(file)
		switch {
		case err != nil && absent(err):
			continue
		case err != nil && forbidden(err):
			l.warnClosed(file)
			continue
		case err != nil:
			l.warnf(file, 0, "daemon.json not read: going on without it: %w", errors.Unwrap(err))
			continue
		}
		d := parseDaemonJSON(file, text)
		l.warn(d.warnings...)
		return d
	}
	return &daemonJSON{}
}
