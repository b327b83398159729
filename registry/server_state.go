package registry

import (
	"net/url"
	"slices"
	"time"
)

// HostState is how a registry is doing, as far as this client has seen.
type HostState struct {
	Host    string        `json:"-"`
	Servers []ServerState `json:"servers"`              // its mirrors in order, then itself
	Limit   *RateLimit    `json:"rate_limit,omitempty"` // nil: it tells none
}

// ServerState is how one server of a registry is doing.
type ServerState struct {
	URL    string     `json:"url"`
	Mirror bool       `json:"mirror"`
	Can    string     `json:"can"`             // what it is asked for: "pull, resolve"
	Down   string     `json:"down,omitempty"`  // why it couldn't be reached the last time
	Since  *time.Time `json:"since,omitempty"` // when that began
	From   string     `json:"from,omitempty"`  // the file that names it
}

// RateLimit is what a registry lets an account do in a window of time, as Docker Hub
// tells it (https://docs.docker.com/docker-hub/usage/pulls/).
type RateLimit struct {
	Limit     int       `json:"limit"`          // pulls in the window
	Remaining int       `json:"remaining"`      // that are left of them
	Window    int       `json:"window_seconds"` // 0: not told
	Source    string    `json:"source"`         // whom it counts by: an address or an account; "": not told
	Seen      time.Time `json:"seen"`
}

// State tells how the registries are doing that this client was used for, sorted by
// host: the last few thousand of them. It asks nobody.
func (c *Client) State() []HostState {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []HostState
	for _, name := range slices.Sorted(slices.Values(c.hosts.Keys())) {
		h, _ := c.hosts.Peek(name)
		s := HostState{Host: name}
		for _, e := range h.servers() {
			s.Servers = append(s.Servers, e.state())
		}
		if l, ok := c.learnt.limit(name); ok {
			s.Limit = &l
		}
		all = append(all, s)
	}
	return all
}

// Servers tells of the servers of a registry, its mirrors in order and then itself, and
// which files say so. It asks nobody.
func (c *Client) Servers(registry string) (servers []ServerState, files []string, err error) {
	h, err := c.host(registry)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range h.servers() {
		servers = append(servers, e.state())
	}
	if h.record != nil {
		files = h.record.Files
	}
	return servers, files, nil
}

// Server gives the address of the registry itself, or of what stands for it.
func (c *Client) Server(registry string) (*url.URL, error) {
	h, err := c.host(registry)
	if err != nil {
		return nil, err
	}
	u := *h.server.Base
	return &u, nil
}

func (e *endpoint) state() ServerState {
	s := ServerState{URL: e.Base.String(), Mirror: e.mirror, Can: e.Can.String(), From: e.From}
	e.health.mu.Lock()
	defer e.health.mu.Unlock()
	if e.health.err != nil {
		since := e.health.since.UTC()
		s.Down, s.Since = e.health.err.Error(), &since
	}
	return s
}
