package registry

import (
	"slices"
	"time"
)

// HostState is how a registry is doing, as far as this client has seen.
type HostState struct {
	Host    string        `json:"-"`
	Servers []ServerState `json:"servers"`              // its mirrors in order, then itself
	Files   []string      `json:"-"`                    // the files that people configured it by
	Limit   *RateLimit    `json:"rate_limit,omitempty"` // nil: it tells none
}

// ServerState is how one server of a registry is doing.
type ServerState struct {
	URL    string     `json:"url"` // http where it is asked so, as far as is known
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

// State tells how the registries are doing that this client asked, sorted by host: the last few
// thousand of them. Where they led isn't among them. It asks nobody.
func (c *Client) State() []HostState {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []HostState
	for _, name := range slices.Sorted(slices.Values(c.hosts.Keys())) {
		if h, _ := c.hosts.Peek(name); h.server.asked.Load() {
			all = append(all, c.state(name, h))
		}
	}
	return all
}

// HostState tells how one registry is doing, used before or not: its servers, as people
// configured them, and what was seen of them. It asks nobody. ErrConfigured: what people
// configured can't be used.
func (c *Client) HostState(host string) (HostState, error) {
	h, err := c.host(host)
	if err != nil {
		return HostState{}, err
	}
	return c.state(host, h), nil
}

func (c *Client) state(name string, h *host) HostState {
	s := HostState{Host: name}
	for _, e := range h.servers() {
		s.Servers = append(s.Servers, e.state(c.address(e)))
	}
	if h.record != nil {
		s.Files = slices.Clone(h.record.Files)
	}
	if l, ok := c.learnt.limit(name); ok {
		s.Limit = &l
	}
	return s
}

// address is the URL of an endpoint, with the scheme by which it is asked.
func (c *Client) address(e *endpoint) string {
	u := *e.Base
	if c.plain.ByHTTP(u.Host) {
		u.Scheme = "http"
	}
	return u.String()
}

func (e *endpoint) state(url string) ServerState {
	s := ServerState{URL: url, Mirror: e.mirror, Can: e.Can.String(), From: e.From}
	e.health.mu.Lock()
	defer e.health.mu.Unlock()
	if e.health.err != nil {
		since := e.health.since.UTC()
		s.Down, s.Since = e.health.err.Error(), &since
	}
	return s
}
