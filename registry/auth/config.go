package auth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/ocifs/ocifs/registry/ref"
)

// hubKey is how docker spells Docker Hub in auths, and for helpers.
const hubKey = "https://index.docker.io/v1/"

// config is docker's config.json, as far as it is about credentials. Podman's auth.json
// has the same form (containers-auth.json(5)).
type config struct {
	auths       map[string]Credential // by key; zero: the entry is empty, or can't be used
	credsStore  string                // the helper of all other hosts; "": none
	credHelpers map[string]string     // helpers by key; "": this key has none
}

// authEntry is one entry of auths.
type authEntry struct {
	Auth          string `json:"auth"` // USER:PASSWORD in base64
	Username      string `json:"username"`
	Password      string `json:"password"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

// parseConfig reads a file of docker's form. An entry that can't be used costs itself
// alone. Problems name each such entry and never hold a value.
func parseConfig(b []byte) (c config, problems []string) {
	c = config{auths: map[string]Credential{}, credHelpers: map[string]string{}}
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")) // PowerShell and Notepad write it (moby#44790)
	if bytes.HasPrefix(b, []byte("\xff\xfe")) || bytes.HasPrefix(b, []byte("\xfe\xff")) {
		bad("it is in UTF-16: save it as UTF-8")
		return c, problems
	}
	var file struct {
		Auths       json.RawMessage `json:"auths"`
		CredsStore  json.RawMessage `json:"credsStore"`
		CredHelpers json.RawMessage `json:"credHelpers"`
	}
	if err := json.Unmarshal(b, &file); err != nil {
		bad("it isn't a JSON object of docker's form")
		return c, problems
	}
	entries := func(name string, raw json.RawMessage) map[string]json.RawMessage {
		var m map[string]json.RawMessage
		if len(raw) > 0 && json.Unmarshal(raw, &m) != nil {
			bad("%s isn't an object", name)
		}
		return m
	}
	auths := entries("auths", file.Auths)
	for _, key := range slices.Sorted(maps.Keys(auths)) {
		cred, err := parseEntry(auths[key])
		if err != nil {
			bad("entry %q of auths: %v", key, err)
		}
		c.auths[key] = cred
	}
	if len(file.CredsStore) > 0 && json.Unmarshal(file.CredsStore, &c.credsStore) != nil {
		bad("credsStore isn't text")
	}
	helpers := entries("credHelpers", file.CredHelpers)
	for _, key := range slices.Sorted(maps.Keys(helpers)) {
		var name string
		if json.Unmarshal(helpers[key], &name) != nil {
			bad("entry %q of credHelpers: it isn't text", key)
			continue
		}
		c.credHelpers[key] = name
	}
	return c, problems
}

// parseEntry reads an entry of auths. Its error holds no value.
func parseEntry(raw json.RawMessage) (Credential, error) {
	var e authEntry
	var odd *json.UnmarshalTypeError
	switch err := json.Unmarshal(raw, &e); {
	case errors.As(err, &odd) && odd.Field != "":
		return Credential{}, fmt.Errorf("%s isn't text", odd.Field)
	case err != nil:
		return Credential{}, errors.New("it isn't an object")
	}
	c := Credential{Username: e.Username, Password: e.Password, IdentityToken: e.IdentityToken, RegistryToken: e.RegistryToken}
	if e.Auth == "" {
		return c, nil
	}
	b, err := base64.StdEncoding.DecodeString(e.Auth)
	if err != nil {
		return Credential{}, errors.New("auth isn't base64")
	}
	var ok bool
	// Some clients pad what they encode with NUL, as docker/cli allows for.
	if c.Username, c.Password, ok = strings.Cut(strings.TrimRight(string(b), "\x00"), ":"); !ok {
		return Credential{}, errors.New("auth isn't USER:PASSWORD in base64")
	}
	return c, nil
}

// helperOf is a credential helper that is configured for a repository.
type helperOf struct {
	name string // docker-credential-NAME; "": there is none
	key  string // that the helper is asked for
	own  bool   // configured for this key (credHelpers), and not for all hosts (credsStore)
}

// helper gives the credential helper for a repository. Of credHelpers the longest key
// that leads to the repository counts, as in auths. A key without a helper keeps
// credsStore from being asked, as in docker.
//
// The helper is asked for the key as it is written there, its path too. docker hands over
// the key that it found the helper by, which has no path there; podman uses keys without a
// path alone. Whoever writes a path (docker/cli#2928 asks for it) wants the helper to see
// it.
func (c config) helper(r ref.Repository) helperOf {
	if key, ok := closest(maps.Keys(c.credHelpers), r); ok {
		return helperOf{c.credHelpers[key], key, true}
	}
	key := r.Host
	if r.Host == ref.DockerHub {
		key = hubKey
	}
	return helperOf{c.credsStore, key, false}
}

// entry gives the entry of auths with the longest key that leads to the repository. ok is
// false if there is none, or none with a credential.
func (c config) entry(r ref.Repository) (key string, cred Credential, ok bool) {
	key, ok = closest(func(yield func(string) bool) {
		for k, cred := range c.auths {
			if !cred.Empty() && !yield(k) { // an empty one says that a helper has it
				return
			}
		}
	}, r)
	return key, c.auths[key], ok
}

// closest gives the longest key that is the repository or leads to it. Of two spellings
// of one key the lesser wins, so that it is always the same, and /v1/ comes before
// /v1/access-token.
func closest(keys iter.Seq[string], r ref.Repository) (best string, ok bool) {
	length := -1
	for k := range keys {
		host, path := splitKey(k)
		if host != r.Host || path != "" && path != r.Path && !strings.HasPrefix(r.Path, path+"/") {
			continue
		}
		if len(path) > length || len(path) == length && k < best {
			best, length = k, len(path)
		}
	}
	return best, length >= 0
}

// hosts lists the registries that keys name, sorted.
func (c config) hosts() []string {
	var all []string
	for _, keys := range []iter.Seq[string]{maps.Keys(c.auths), maps.Keys(c.credHelpers)} {
		for k := range keys {
			host, _ := splitKey(k)
			if _, err := ref.ParseHost(host); err == nil {
				all = append(all, host)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// splitKey gives the host, as it is spelled everywhere else, and the repositories
// that a key is for: without the scheme, and without the paths of old APIs.
func splitKey(k string) (host, path string) {
	for _, scheme := range []string{"https://", "http://"} {
		k = strings.TrimPrefix(k, scheme)
	}
	host, path, _ = strings.Cut(k, "/")
	if h, err := ref.ParseHost(host); err == nil {
		host = h
	}
	path = strings.Trim(path, "/")
	switch path {
	case "v1", "v2", "access-token", "refresh-token", "v1/access-token", "v1/refresh-token", "v2/access-token", "v2/refresh-token":
		path = ""
	}
	return host, path
}
