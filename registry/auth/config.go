package auth

import (
	"encoding/base64"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/ocifs/ocifs/registry/ref"
)

const hubKey = "https://index.docker.io/v1/"

// config is docker's config.json, as far as it is about credentials.
type config struct {
	Auths       map[string]authEntry `json:"auths"`
	CredsStore  string               `json:"credsStore"`
	CredHelpers map[string]string    `json:"credHelpers"`
}

type authEntry struct {
	Auth          string `json:"auth"`
	Username      string `json:"username"`
	Password      string `json:"password"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

// helper gives the credential helper for a repository's host, and the key that
// it knows the host by.
func (c config) helper(r ref.Repository) (name, key string) {
	for _, k := range slices.Sorted(maps.Keys(c.CredHelpers)) {
		if host, _ := splitKey(k); c.CredHelpers[k] != "" && host == r.Host {
			return c.CredHelpers[k], k
		}
	}
	key = r.Host
	if r.Host == ref.DockerHub {
		key = hubKey
	}
	return c.CredsStore, key
}

// entry gives the entry of auths with the longest key that is the repository or
// leads to it.
func (c config) entry(r ref.Repository) (string, authEntry, bool) {
	best, length := "", -1
	for k, e := range c.Auths {
		if e == (authEntry{}) {
			continue // says that a helper has it
		}
		host, path := splitKey(k)
		if host != r.Host {
			continue
		}
		if path == "" || path == r.Path || strings.HasPrefix(r.Path, path+"/") {
			// Of two spellings of one key the lesser wins, so that it is always the same,
			// and /v1/ comes before /v1/access-token.
			if len(path) > length || len(path) == length && k < best {
				best, length = k, len(path)
			}
		}
	}
	return best, c.Auths[best], length >= 0
}

// hosts lists the registries that keys name.
func (c config) hosts() []string {
	var all []string
	for _, keys := range [][]string{slices.Collect(maps.Keys(c.Auths)), slices.Collect(maps.Keys(c.CredHelpers))} {
		for _, k := range keys {
			host, _ := splitKey(k)
			if _, err := ref.ParseHost(host); err == nil {
				all = append(all, host)
			}
		}
	}
	return all
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

func (e authEntry) credential() (Credential, error) {
	c := Credential{Username: e.Username, Password: e.Password, IdentityToken: e.IdentityToken, RegistryToken: e.RegistryToken}
	if e.Auth != "" {
		b, err := base64.StdEncoding.DecodeString(e.Auth)
		if err != nil {
			return Credential{}, errors.New("auth is not base64")
		}
		user, password, ok := strings.Cut(strings.TrimRight(string(b), "\x00"), ":")
		if !ok {
			return Credential{}, errors.New("auth is not USER:PASSWORD in base64")
		}
		c.Username, c.Password = user, password
	}
	return c, nil
}
