package auth

import (
	"context"

	"github.com/ocifs/ocifs/registry/ref"
)

// Static gives one credential for all repositories of one registry, and none for others.
// host is spelled as in references: "ghcr.io", "docker.io", "localhost:5000".
func Static(host, username, password string) Source {
	if h, err := ref.ParseHost(host); err == nil {
		host = h
	}
	c := Credential{Username: username, Password: password}
	c.Origin = owner(c) + "this program"
	return static{host, c}
}

type static struct {
	host       string
	credential Credential
}

var _ = (HostSource)(static{})

func (s static) Credential(_ context.Context, r ref.Repository) (Credential, error) {
	if r.Host != s.host {
		return Credential{}, nil
	}
	return s.credential, nil
}

func (s static) Hosts() []string { return []string{s.host} }
